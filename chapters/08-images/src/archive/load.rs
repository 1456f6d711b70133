//! `load`: images out of an archive, into the store.

use std::io::Read;

use layers::{Digest, Snapshots};

use super::contents::{Contents, refused};
use super::{DockerEntry, FULL_NAME};
use crate::descriptor::Descriptor;
use crate::error::Result;
use crate::image::{Image, unpack};
use crate::manifest::{Index, Manifest};
use crate::media;
use crate::reference::Reference;
use crate::store::{REF_NAME, Store};

/// An image that an archive held.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that it has now.
    pub names: Vec<Reference>,
}

/// Reads an archive, as Docker, podman, skopeo, buildah and this engine write them, compressed or not.
///
/// No image is named before all images of the archive are whole: verified, and their layers extracted. What a failure
/// leaves behind are blobs that nothing names, for the garbage collector.
///
/// # Errors
/// An archive that is damaged, hostile, or no image archive at all.
pub fn load(store: &Store, snapshots: &Snapshots, archive: impl Read) -> Result<Vec<Loaded>> {
    let _lease = store.lease()?;
    let contents = Contents::read(store, archive)?;
    let docker: Vec<DockerEntry> = contents.document("manifest.json")?.unwrap_or_default();
    let mut all = match contents.document::<Index>("index.json")? {
        Some(index) => of_layout(store, &index)?,
        None if !docker.is_empty() => {
            docker.iter().map(|entry| of_docker(store, &contents, entry)).collect::<Result<_>>()?
        }
        None => return Err(refused("it has neither an index.json nor a manifest.json: no image archive")),
    };
    adopt_tags(&mut all, &docker)?;
    for loaded in &all {
        unpack(store, snapshots, &loaded.image)?;
    }
    for Loaded { image, names } in &all {
        store.keep(&image.target)?;
        names.iter().try_for_each(|name| store.tag(name, &image.target))?;
    }
    Ok(all)
}

/// The images of an OCI layout: one for each digest in its index, with all of its names.
fn of_layout(store: &Store, index: &Index) -> Result<Vec<Loaded>> {
    let mut all: Vec<Loaded> = Vec::new();
    for entry in &index.manifests {
        let name = full_name(entry)?;
        if let Some(known) = all.iter_mut().find(|known| known.image.target.digest == entry.digest) {
            known.names.extend(name);
            continue;
        }
        let target = Descriptor::new(entry.media_type.clone(), entry.digest, entry.size);
        let image = store.image(&target)?;
        all.push(Loaded { image, names: name.into_iter().collect() });
    }
    Ok(all)
}

/// The name that an index gives an entry. The OCI's annotation counts only if it is more than a tag.
fn full_name(entry: &Descriptor) -> Result<Option<Reference>> {
    if let Some(name) = entry.annotation(FULL_NAME) {
        return Ok(Some(name.parse()?));
    }
    match entry.annotation(REF_NAME).filter(|name| name.contains([':', '/'])) {
        Some(name) => Ok(Some(name.parse()?)),
        None => Ok(None),
    }
}

/// An image of Docker's `manifest.json`, which names no manifest: it gets one.
fn of_docker(store: &Store, contents: &Contents, entry: &DockerEntry) -> Result<Loaded> {
    let config = contents.named(store, &entry.config)?;
    let (digest, size) = store.put(&config)?;
    // These very bytes, whatever fields they have: they are the image's id.
    let config = Descriptor::new(media::OCI_CONFIG, digest, size);
    let layers = entry.layers.iter().flatten().map(|path| contents.layer(path)).collect::<Result<_>>()?;
    let manifest = Manifest::new(config, layers);
    let bytes = manifest.to_bytes();
    let (digest, size) = store.put(&bytes)?;
    let target = Descriptor::new(media::OCI_MANIFEST, digest, size);
    let image = Image::read(store, target.clone(), target, manifest)?;
    Ok(Loaded { image, names: Vec::new() })
}

/// Gives images the tags of `manifest.json`, which lists them by their configs.
fn adopt_tags(all: &mut [Loaded], docker: &[DockerEntry]) -> Result<()> {
    for entry in docker {
        // `HEX.json`, or `blobs/sha256/HEX`: the config's path ends in the image's id.
        let name = entry.config.rsplit('/').next().unwrap_or_default();
        let id = format!("sha256:{}", name.trim_end_matches(".json")).parse::<Digest>();
        let by_id = |loaded: &Loaded| id.as_ref().is_ok_and(|id| *id == loaded.image.id);
        let single = docker.len() == 1 && all.len() == 1;
        let Some(loaded) = all.iter_mut().find(|loaded| by_id(loaded) || single) else { continue };
        for tag in entry.repo_tags.iter().flatten() {
            let name: Reference = tag.parse()?;
            if !loaded.names.contains(&name) {
                loaded.names.push(name);
            }
        }
    }
    Ok(())
}
