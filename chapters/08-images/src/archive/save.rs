//! `save`: images out of the store, into one stream.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use layers::{Attributes, Digest, Tarball};
use process::{CallError, During};
use serde_json::json;

use super::{DockerEntry, FULL_NAME};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::manifest::Index;
use crate::reference::Reference;
use crate::store::{REF_NAME, Store};

/// An image to save, under these names.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The image. Of an index, the archive gets the one image that suits this machine.
    pub image: Image,
    /// Its names in the archive; none is fine.
    pub names: Vec<Reference>,
}

/// Writes an archive of `images`. The same images give the same bytes.
///
/// Blobs are verified on their way: a damaged store makes no archive that looks whole.
///
/// # Errors
/// A blob that is missing or damaged; those of `out`.
pub fn save(store: &Store, images: &[Saved], out: impl Write) -> Result<()> {
    let mut tarball = Tarball::new(std::io::BufWriter::with_capacity(1 << 20, out));
    // Sorted, and each blob once: layers are what images share.
    let mut blobs: BTreeMap<String, Digest> = BTreeMap::new();
    let (mut index, mut docker) = (Index::new(Vec::new()), Vec::new());
    for Saved { image, names } in images {
        let parts = [image.manifest_descriptor.digest, image.id].into_iter();
        for digest in parts.chain(image.manifest.layers.iter().map(|layer| layer.digest)) {
            blobs.insert(path_of(&digest), digest);
        }
        describe(image, names, &mut index);
        docker.push(docker_entry(image, names));
    }

    directories(&mut tarball, blobs.values()).during("write", "archive")?;
    for (path, digest) in &blobs {
        let (_, size) = crate::store::open_blob(store, digest)?;
        let written = tarball.file(Path::new(path), size, &Attributes::plain(0o444), store.blob(digest)?);
        written.map_err(|reason| Error::Transfer { digest: *digest, reason })?;
    }
    let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
    let documents = [
        ("index.json", index.to_bytes()),
        ("manifest.json", encode("manifest.json", &docker)?),
        ("oci-layout", layout.into_bytes()),
    ];
    for (name, bytes) in documents {
        let written = tarball.file(Path::new(name), bytes.len() as u64, &Attributes::plain(0o444), &bytes[..]);
        written.during("write", name)?;
    }
    let mut out = tarball.finish().during("write", "archive")?;
    Ok(out.flush().during("write", "archive")?)
}

/// The image's entries in the OCI's index: one a name, or one without.
fn describe(image: &Image, names: &[Reference], index: &mut Index) {
    if names.is_empty() {
        index.manifests.push(image.manifest_descriptor.clone());
    }
    for name in names {
        let mut entry = image.manifest_descriptor.clone();
        let annotations = entry.annotations.get_or_insert_default();
        annotations.insert(FULL_NAME.to_owned(), name.to_string());
        annotations.extend(name.tag().map(|tag| (REF_NAME.to_owned(), tag.to_owned())));
        index.manifests.push(entry);
    }
}

fn docker_entry(image: &Image, names: &[Reference]) -> DockerEntry {
    // A name by digest is no tag, and Docker would refuse the archive for it.
    let tags: Vec<String> = names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect();
    DockerEntry {
        config: path_of(&image.id),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: Some(image.manifest.layers.iter().map(|layer| path_of(&layer.digest)).collect()),
    }
}

/// `blobs/` and a directory for each algorithm: some readers insist on them.
fn directories<'a>(
    tarball: &mut Tarball<impl Write>,
    digests: impl Iterator<Item = &'a Digest>,
) -> std::io::Result<()> {
    let mut directories: Vec<PathBuf> = digests.map(|digest| Path::new("blobs").join(digest.algorithm())).collect();
    directories.push("blobs".into());
    directories.sort();
    directories.dedup();
    directories.iter().try_for_each(|directory| tarball.directory(directory, &Attributes::plain(0o755)))
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn encode(name: &str, value: &impl serde::Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value).map_err(|error| CallError::refused("encode", name, error))?)
}
