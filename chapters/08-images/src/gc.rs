//! Garbage collection: what nothing names goes.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;

use layers::Digest;
use process::During;

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::manifest::Document;
use crate::store::{Store, blob_directories};

/// What [`Store::gc`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The blobs that are gone.
    pub blobs: Vec<Digest>,
    /// Their bytes.
    pub bytes: u64,
    /// True if nothing was done because somebody holds a [`Lease`](crate::Lease): the next run will do it.
    pub postponed: bool,
}

impl Store {
    /// Removes every blob that nothing in the index reaches.
    ///
    /// Mark and sweep: from the index through indexes and manifests to configs and layers. A document that
    /// cannot be read keeps itself, and nothing else: reachability is what can be followed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn gc(&self) -> Result<Collected> {
        let path = self.dir().join(".lease");
        let lease = File::options().write(true).create(true).truncate(false).open(&path);
        let lease = lease.during("open", path.display())?;
        match lease.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Collected { postponed: true, ..Collected::default() }),
            Err(TryLockError::Error(error)) => return Err(error).during("flock", path.display())?,
        }
        let _index = self.lock()?;
        let mut reached = HashSet::new();
        for entry in &self.index()?.manifests {
            self.mark(entry, &mut reached)?;
        }
        // Beginnings of blobs, too: a download that goes on holds a lease.
        let mut collected = Collected { bytes: self.forget_ingests()?, ..Collected::default() };
        for (digest, size) in blob_directories(self)? {
            if !reached.contains(&digest) {
                let path = self.blob_path(&digest);
                fs::remove_file(&path).during("unlink", path.display())?;
                collected.blobs.push(digest);
                collected.bytes += size;
            }
        }
        Ok(collected)
    }

    /// Marks a descriptor and what its document names. Each digest is visited once, so a ring ends too.
    ///
    /// A document that is missing or damaged names nothing. One that just cannot be read now (no descriptor left, a
    /// disk that stutters) must end the collection: taken for empty, it would cost an image all its layers.
    fn mark(&self, entry: &Descriptor, reached: &mut HashSet<Digest>) -> Result<()> {
        let mut open = vec![entry.clone()];
        while let Some(descriptor) = open.pop() {
            if !reached.insert(descriptor.digest) {
                continue;
            }
            match self.document(&descriptor) {
                Ok(Document::Manifest(manifest)) => {
                    reached.insert(manifest.config.digest);
                    reached.extend(manifest.layers.iter().map(|layer| layer.digest));
                }
                Ok(Document::Index(index)) => open.extend(index.manifests),
                Err(Error::NoBlob(_) | Error::Document { .. } | Error::Blob { .. }) => {}
                Err(Error::Transfer { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
