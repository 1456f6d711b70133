//! An image that is made for the occasion: so many layers, so many megabytes, the same on every machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use images::{Descriptor, Manifest, Reference, Store, media};
use layers::Digest;
use serde_json::json;

use crate::layers::{run, write_layer};

/// The name of the image in its layout.
pub(crate) const NAME: &str = "bench.invalid/made:1";

/// The image, as an OCI layout.
pub(crate) struct Made {
    /// The layout's directory.
    pub(crate) layout: PathBuf,
    /// The compressed layers, as files.
    pub(crate) layers: Vec<PathBuf>,
}

impl Made {
    /// Makes it below `dir`: `count` layers that have `megabytes` MiB of files together.
    ///
    /// # Errors
    /// Those of writing files; gzip is not installed.
    pub(crate) fn new(dir: &Path, count: u64, megabytes: u64) -> Result<Self> {
        let layout = dir.join("layout");
        let store = Store::open(&layout)?;
        let (mut parts, mut diff_ids, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..count {
            let archive = dir.join("layer.tar");
            write_layer(&archive, (megabytes << 20) / count, number + 1)?;
            diff_ids.push(digest_of(&archive)?);
            run(Command::new("gzip").args(["-6", "--no-name", "--force"]).arg(&archive))?;
            let mut writer = store.writer()?;
            let mut file = File::open(dir.join("layer.tar.gz")).context("cannot open a layer")?;
            io::copy(&mut file, &mut writer).context("cannot store a layer")?;
            let (digest, size) = writer.commit(None)?;
            parts.push(Descriptor::new(media::OCI_LAYER_GZIP, digest, size));
            layers.push(layout.join("blobs/sha256").join(digest.hex()));
        }
        fs::remove_file(dir.join("layer.tar.gz")).context("cannot remove the last layer's archive")?;
        let config = json!({
            "architecture": images::Platform::host().architecture, "os": "linux", "config": { "Cmd": ["/none"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        store.put(&config)?;
        let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), parts).to_bytes();
        store.put(&manifest)?;
        let name: Reference = NAME.parse().context("the image's own name")?;
        store.tag(&name, &Descriptor::of(media::OCI_MANIFEST, &manifest))?;
        Ok(Self { layout, layers })
    }
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut hasher = layers::Hasher::new();
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    hasher.flush().context("hash")?;
    Ok(hasher.finish())
}
