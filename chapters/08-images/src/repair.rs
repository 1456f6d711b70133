//! Healing: bytes that are not what their name says are taken away, and brought again from wherever they can be had.
//!
//! ```text
//! a blob             1. made anew from the extracted layer, where this engine made it in the first place
//!                    2. fetched again, by digest, under the names of the images that need it
//! an extracted layer    extracted again, from a blob that is sound by then
//! ```
//!
//! Nothing sound is touched, and nothing is believed: what comes back is hashed as everything is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use layers::{DiffId, Digest, Snapshots, archive_layer};
use process::During as _;
use rootfs::Root;

use crate::descriptor::Descriptor;
use crate::error::Result;
use crate::media;
use crate::reference::Reference;
use crate::store::Store;
use crate::verify::{Verified, VerifiedLayers};

/// What a repair has to work with.
pub struct Repair<'a> {
    /// Where layers lie extracted.
    pub snapshots: &'a Snapshots,
    /// Brings an image again: its name, and what that points to. What it brings it stores; why it cannot is a sentence.
    pub fetch: &'a dyn Fn(&Reference, &Descriptor) -> Result<(), String>,
    /// Layers that running containers stand on: these are not replaced under their feet.
    pub standing: &'a BTreeSet<DiffId>,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// Blobs that are sound again.
    pub blobs: Vec<Digest>,
    /// Extracted layers that are sound again.
    pub layers: Vec<DiffId>,
    /// Damaged blobs that nothing needed: they are gone.
    pub dropped: Vec<Digest>,
    /// What could not be healed, and why.
    pub lost: BTreeMap<String, String>,
}

impl Repair<'_> {
    /// Heals what [`Store::verify`] and [`Store::verify_layers`] found.
    ///
    /// # Errors
    /// Those of the file system. What cannot be healed is a result, not an error.
    pub fn run(&self, store: &Store, found: &Verified, layers: &VerifiedLayers) -> Result<Mended> {
        let _lease = store.lease()?;
        let mut mended = Mended::default();
        // Read before the documents go that say who needs what.
        let archives = store.layer_archives()?;
        for digest in &found.damaged {
            let path = store.blob_path(digest);
            fs::remove_file(&path).during("unlink", path.display())?;
        }
        for (diff_id, blob) in &archives {
            if !store.has(&blob.digest) && !layers.damaged.contains(diff_id) {
                self.rewrite(store, diff_id, &blob.digest, &blob.media_type)?;
            }
        }
        let mut reasons = BTreeMap::new();
        for entry in store.list()? {
            // Twice: only when the manifest is back does it say which config and layers are missing.
            for _ in 0..2 {
                if self.missing(store, &entry.target).is_empty() {
                    break;
                }
                let said = match &entry.reference {
                    Some(name) => (self.fetch)(name, &entry.target),
                    None => Err("the image has no name under which it could be pulled again".to_owned()),
                };
                if let Err(reason) = said {
                    reasons
                        .extend(self.missing(store, &entry.target).into_iter().map(|digest| (digest, reason.clone())));
                }
            }
        }
        for digest in found.damaged.iter().chain(&found.missing) {
            match (store.has(digest), reasons.get(digest)) {
                (true, _) => mended.blobs.push(*digest),
                (false, Some(reason)) => drop(mended.lost.insert(digest.to_string(), reason.clone())),
                (false, None) => mended.dropped.push(*digest),
            }
        }
        self.layers(store, layers, &mut mended)?;
        Ok(mended)
    }

    /// What of a target's parts is not in the store. Of an index, the one image for this machine counts.
    fn missing(&self, store: &Store, target: &Descriptor) -> Vec<Digest> {
        if !store.has(&target.digest) {
            return vec![target.digest];
        }
        let manifests = store.manifests(target);
        let parts = manifests.iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]));
        let mut missing: Vec<Digest> = parts.map(|part| part.digest).filter(|digest| !store.has(digest)).collect();
        if manifests.is_empty() {
            // An index of which no manifest is here.
            missing.push(target.digest);
        }
        missing
    }

    /// Makes a layer's blob anew from its files, if that gives the same bytes: it does where this engine has written it.
    fn rewrite(&self, store: &Store, diff_id: &DiffId, digest: &Digest, media_type: &str) -> Result<()> {
        if !self.snapshots.has(diff_id) {
            return Ok(());
        }
        let files = Root::open(&self.snapshots.dir(diff_id))?;
        let same = archive_layer(&files, io::sink())?.diff_id == *diff_id;
        match media_type {
            media::OCI_LAYER_GZIP if same => {
                let mut layer = store.layer_writer()?;
                archive_layer(&files, &mut layer)?;
                // Of other bytes nobody knows the name: the next collection takes them.
                layer.commit()?;
            }
            media::OCI_LAYER if same => {
                let mut blob = store.writer_for(digest)?;
                archive_layer(&files, &mut blob)?;
                blob.commit(Some(digest))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Extracts anew what was damaged.
    fn layers(&self, store: &Store, found: &VerifiedLayers, mended: &mut Mended) -> Result<()> {
        let archives = store.layer_archives()?;
        for layer in &found.damaged {
            let blob = archives.iter().find(|(diff_id, blob)| diff_id == layer && store.has(&blob.digest));
            let outcome = match blob {
                _ if self.standing.contains(layer) => {
                    Err("a running container stands on it: stop that, and repair again".to_owned())
                }
                None => Err("its archive is not here".to_owned()),
                Some((_, blob)) => {
                    self.snapshots.remove(layer)?;
                    let archive = store.blob(&blob.digest)?;
                    self.snapshots.extract(layer, archive).map_err(|error| error.to_string())
                }
            };
            match outcome {
                Ok(()) => mended.layers.push(*layer),
                Err(reason) => drop(mended.lost.insert(format!("extracted layer {layer}"), reason)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
