//! Images in one file: what `save` writes and `load` reads.
//!
//! Two formats grew up side by side. Docker's own has a `manifest.json` that names a config and layers by their paths in the
//! archive; the OCI's is an image layout, the very directory that the store is, in a tar. What is written here is both at
//! once, as Docker does it since version 25, so that every tool finds the one it knows:
//!
//! ```text
//! blobs/sha256/HEX     manifests, configs, layers: each once, however many images share it
//! index.json           the OCI's way in: a descriptor for each name
//! manifest.json        Docker's way in: config, layers, names
//! oci-layout           {"imageLayoutVersion":"1.0.0"}
//! ```
//!
//! Reading, what came with a manifest keeps its bytes: its digests were promised to somebody. What came without (Docker's and
//! podman's older format) gets a manifest of ours, and its layers, which those tools keep and write uncompressed, are stored
//! with gzip: so a push sends what a push of theirs would send, and the disk does not hold every file twice.
//!
//! # References
//! OCI image specification, image-layout.md; Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format"

mod contents;
mod load;
mod save;

use serde::{Deserialize, Serialize};

pub use load::{Loaded, load};
pub use save::{Saved, save};

/// The full name of an image in an archive's `index.json`, as containerd and Docker write it; the OCI's own annotation may
/// hold only a tag.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image in Docker's `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    /// Path of the config.
    config: String,
    /// `name:tag` each; null where it has none.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// Paths of the layers, lowest first.
    #[serde(default)]
    layers: Option<Vec<String>>,
}
