//! Is everything still what its name says? Disks forget bits, and people edit files.

use std::collections::BTreeSet;
use std::io;

use layers::{DiffId, Digest, Snapshots, archive_layer};
use rootfs::Root;

use crate::descriptor::Descriptor;
use crate::error::Result;
use crate::manifest::Document;
use crate::store::{Store, blob_directories};

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that are what their names say.
    pub sound: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are something else.
    pub damaged: Vec<Digest>,
    /// Blobs that a name reaches and that are not here.
    pub missing: Vec<Digest>,
}

/// What [`Store::verify_layers`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifiedLayers {
    /// Extracted layers whose files are those of their archives.
    pub sound: u64,
    /// Those of which a file, its name or anything about it is another one.
    pub damaged: Vec<DiffId>,
    /// Those whose archive is not here or damaged, so that there is nothing to hold them against.
    pub unknown: Vec<DiffId>,
}

impl Store {
    /// Reads every blob and compares it with its name, and looks for what is named and not here.
    ///
    /// An index may name manifests of other machines that were never fetched: those are not missing.
    ///
    /// # Errors
    /// Those of reading directories. Damage is a result, not an error.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for (digest, size) in blob_directories(self)? {
            match self.blob(&digest).map(|mut blob| io::copy(&mut blob, &mut io::sink())) {
                Ok(Ok(_)) => {
                    verified.sound += 1;
                    verified.bytes += size;
                }
                _ => verified.damaged.push(digest),
            }
        }
        for entry in self.list()? {
            if !self.has(&entry.target.digest) {
                verified.missing.push(entry.target.digest);
            }
            for manifest in self.manifests(&entry.target) {
                let parts = manifest.layers.iter().chain([&manifest.config]);
                verified.missing.extend(parts.map(|part| part.digest).filter(|digest| !self.has(digest)));
            }
        }
        verified.missing.sort();
        verified.missing.dedup();
        Ok(verified)
    }

    /// Extracts every layer once more and compares the two trees: contents, names, modes, owners, times, attributes,
    /// and what was noted beside them.
    ///
    /// The copy is made in `scratch`, a directory on any file system with room for the largest layer; it is empty again
    /// afterwards.
    ///
    /// # Errors
    /// Those of reading directories and of `scratch`. Damage is a result, not an error.
    pub fn verify_layers(&self, snapshots: &Snapshots, scratch: &std::path::Path) -> Result<VerifiedLayers> {
        let scratch = Snapshots::open(scratch)?;
        let archives = self.layer_archives()?;
        let mut verified = VerifiedLayers::default();
        for layer in snapshots.list()? {
            let mut copies = archives.iter().filter(|(diff_id, _)| *diff_id == layer);
            let copied = copies.any(|(_, blob)| {
                let copy = self.blob(&blob.digest).map(|blob| scratch.extract(&layer, blob));
                matches!(copy, Ok(Ok(())))
            });
            match copied {
                false => verified.unknown.push(layer),
                true if same(&scratch, snapshots, &layer) => verified.sound += 1,
                true => verified.damaged.push(layer),
            }
            scratch.remove(&layer)?;
        }
        Ok(verified)
    }

    /// All layers of all images that can be read, with the blobs that they are extracted from.
    pub(crate) fn layer_archives(&self) -> Result<BTreeSet<(DiffId, LayerBlob)>> {
        let mut archives = BTreeSet::new();
        for entry in self.list()? {
            let Ok(image) = self.image(&entry.target) else { continue };
            let blobs = image.manifest.layers.iter().map(LayerBlob::of);
            archives.extend(image.diff_ids().iter().copied().zip(blobs));
        }
        Ok(archives)
    }

    /// The manifests behind a target that can be read.
    pub(crate) fn manifests(&self, target: &Descriptor) -> Vec<crate::Manifest> {
        let manifest = |entry| match self.document(entry) {
            Ok(Document::Manifest(manifest)) => Some(manifest),
            _ => None,
        };
        match self.document(target) {
            Ok(Document::Manifest(manifest)) => vec![manifest],
            Ok(Document::Index(index)) => index.manifests.iter().filter_map(manifest).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// A layer's blob, in an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LayerBlob {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

impl LayerBlob {
    fn of(layer: &Descriptor) -> Self {
        Self { digest: layer.digest, media_type: layer.media_type.clone() }
    }
}

/// Whether two stores hold the same layer: one archive for both trees, and one note.
fn same(one: &Snapshots, other: &Snapshots, layer: &DiffId) -> bool {
    let archive = |store: &Snapshots| {
        let root = Root::open(&store.dir(layer)).ok()?;
        archive_layer(&root, io::sink()).ok()
    };
    let note = |store: &Snapshots| store.note(layer).ok();
    archive(one).is_some_and(|archive_of_one| archive(other) == Some(archive_of_one)) && note(one) == note(other)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
