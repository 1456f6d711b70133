//! Garbage collection: what nothing names goes.
//!
//! Two kinds of things are collected together, because one image needs both: blobs, and the extracted layers that its
//! containers stand on. Whoever is just making an image holds a [`Lease`](crate::Lease), and nothing is collected
//! while anybody does: what a pull has brought so far is named by nothing yet, and what it found here already, and so
//! did not bring, must stay too.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;

use layers::{DiffId, Digest, Snapshots};
use process::During;

use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::manifest::{Document, LARGEST_DOCUMENT};
use crate::spare;
use crate::store::{Store, blob_directories};
use crate::taken::taken;

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The blobs that are gone.
    pub blobs: Vec<Digest>,
    /// The extracted layers that are gone.
    pub layers: Vec<DiffId>,
    /// The bytes of disk that they took.
    pub bytes: u64,
    /// True if nothing was done because somebody holds a [`Lease`](crate::Lease): the next run will do it.
    pub postponed: bool,
}

/// What images are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Documents and layers as they travel.
    pub blobs: HashSet<Digest>,
    /// Layers as they lie extracted.
    pub layers: HashSet<DiffId>,
    /// Documents that could not be read, so that something may be missing here.
    pub unreadable: Vec<Digest>,
}

impl Store {
    /// Removes every blob that nothing in the index reaches, and no extracted layer.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn gc(&self) -> Result<Collected> {
        self.collecting(|reached| {
            let mut collected = Collected::default();
            self.sweep_blobs(&reached.blobs, None, &mut collected)?;
            Ok(collected)
        })
    }

    /// Removes the blobs and the extracted layers that neither the index reaches nor `in_use` names: all of them, or
    /// those `among` what a removed image was made of. What a build remembers is not named by any image, so only the
    /// former takes that away.
    ///
    /// `in_use` is asked when nothing new can come into use any more.
    ///
    /// # Errors
    /// Those of the file system, and of `in_use`; nothing was removed then.
    pub fn collect<E: From<Error>>(
        &self,
        snapshots: &Snapshots,
        among: Option<&Parts>,
        in_use: impl FnOnce() -> Result<HashSet<DiffId>, E>,
    ) -> Result<Collected, E> {
        self.collecting(|reached| {
            let in_use = in_use()?;
            let mut collected = Collected::default();
            self.sweep_blobs(&reached.blobs, among.map(|parts| &parts.blobs), &mut collected)?;
            // Whose config cannot be read, of that image nobody can say which layers it needs.
            let known = reached.unreadable.is_empty();
            for layer in snapshots.list().map_err(Error::from)? {
                let spared = !known || among.is_some_and(|parts| !parts.layers.contains(&layer));
                if spared || reached.layers.contains(&layer) || in_use.contains(&layer) {
                    continue;
                }
                collected.bytes += snapshots.dir(&layer).parent().map_or(0, taken);
                snapshots.remove(&layer).map_err(Error::from)?;
                collected.layers.push(layer);
            }
            Ok(collected)
        })
    }

    /// What a target is made of, as far as it can be read: documents that are missing or damaged are named.
    ///
    /// # Errors
    /// One that just cannot be read now.
    pub fn parts(&self, target: &Descriptor) -> Result<Parts> {
        let mut parts = Parts::default();
        self.mark(target, &mut parts)?;
        Ok(parts)
    }

    /// Calls `sweep` with everything that the index reaches, while nobody holds a lease and nobody writes the index.
    fn collecting<E: From<Error>>(&self, sweep: impl FnOnce(Parts) -> Result<Collected, E>) -> Result<Collected, E> {
        let path = self.dir().join(".lease");
        let lease = File::options().write(true).create(true).truncate(false).open(&path);
        let lease = lease.during("open", path.display()).map_err(Error::from)?;
        match lease.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Collected { postponed: true, ..Collected::default() }),
            Err(TryLockError::Error(error)) => {
                return Err(error).during("flock", path.display()).map_err(|error| Error::from(error).into());
            }
        }
        let _index = self.lock()?;
        let mut reached = Parts::default();
        for entry in &self.index()?.manifests {
            self.mark(entry, &mut reached)?;
        }
        // An index that was never finished.
        process::state::sweep(self.dir()).map_err(Error::from)?;
        let collected = sweep(reached)?;
        // What was given away to get here is kept again, now that there is room.
        spare::keep(self, &self.dir().join("index.json"));
        Ok(collected)
    }

    /// Removes blobs that are not `reached`: those `among` some, or all of them and the beginnings of others, too. (A
    /// download that goes on holds a lease.)
    fn sweep_blobs(
        &self,
        reached: &HashSet<Digest>,
        among: Option<&HashSet<Digest>>,
        collected: &mut Collected,
    ) -> Result<()> {
        if among.is_none() {
            collected.bytes += self.forget_ingests()?;
        }
        for (digest, _) in blob_directories(self)? {
            if reached.contains(&digest) || among.is_some_and(|among| !among.contains(&digest)) {
                continue;
            }
            let path = self.blob_path(&digest);
            let bytes = self.disk_usage(&digest);
            fs::remove_file(&path).during("unlink", path.display())?;
            collected.blobs.push(digest);
            collected.bytes += bytes;
        }
        Ok(())
    }

    /// Marks a descriptor and what its document names. Each digest is visited once, so a ring ends too.
    ///
    /// A document that is missing or damaged names nothing. One that just cannot be read now (no descriptor left, a
    /// disk that stutters) must end the collection: taken for empty, it would cost an image all its layers.
    fn mark(&self, entry: &Descriptor, parts: &mut Parts) -> Result<()> {
        let mut open = vec![entry.clone()];
        while let Some(descriptor) = open.pop() {
            if !parts.blobs.insert(descriptor.digest) {
                continue;
            }
            match lost(self.document(&descriptor))? {
                Some(Document::Manifest(manifest)) => {
                    parts.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
                    let config = manifest.config.digest;
                    parts.blobs.insert(config);
                    let read = self.blob_bytes(&config, LARGEST_DOCUMENT);
                    match lost(read.and_then(|bytes| ImageConfig::parse(&bytes)))? {
                        Some(config) => parts.layers.extend(config.rootfs.diff_ids),
                        // Charts and signatures have configs of other kinds, and no layers to be extracted.
                        None if !crate::media::is_image_config(&manifest.config.media_type) => {}
                        None => parts.unreadable.push(config),
                    }
                }
                Some(Document::Index(index)) => {
                    // Of the other machines' manifests, most were never fetched.
                    open.extend(index.manifests.into_iter().filter(|entry| self.has(&entry.digest)));
                }
                None => parts.unreadable.push(descriptor.digest),
            }
        }
        Ok(())
    }
}

/// `None` for what is missing or damaged for good; an error for what may be readable the next time.
fn lost<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Error::NoBlob(_) | Error::Document { .. } | Error::Blob { .. }) => Ok(None),
        Err(Error::Transfer { reason, .. }) if reason.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "gc_tests.rs"]
mod tests;
