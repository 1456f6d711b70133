//! Blobs: read only with verification, visible only when whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use layers::{Digest, Hasher, VerifyingReader};
use process::During;
use process::state::Lock;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::store::{Store, blob_directories, open_blob};

impl Store {
    /// Whether a blob is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Every blob that is here, named by something or not.
    ///
    /// # Errors
    /// Those of reading the directories.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        Ok(blob_directories(self)?.into_iter().map(|(digest, _)| digest).collect())
    }

    /// Bytes of disk that a blob takes; 0 if it is not here.
    pub fn disk_usage(&self, digest: &Digest) -> u64 {
        fs::symlink_metadata(self.blob_path(digest)).map_or(0, |metadata| metadata.blocks() * 512)
    }

    /// The blob, verified while it is read: its end comes only after its digest was compared.
    ///
    /// # Errors
    /// [`Error::NoBlob`]. Other bytes than its name promises are found while reading.
    pub fn blob(&self, digest: &Digest) -> Result<VerifyingReader<File>> {
        let (file, size) = open_blob(self, digest)?;
        Ok(VerifyingReader::new(file, *digest, size))
    }

    /// The blob's bytes as they are on disk, for somebody who will verify them himself: a registry does.
    ///
    /// # Errors
    /// [`Error::NoBlob`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        Ok(open_blob(self, digest)?.0)
    }

    /// A small blob at once, verified.
    ///
    /// # Errors
    /// A blob that is missing, larger than `limit` bytes, or damaged.
    pub fn blob_bytes(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let (file, size) = open_blob(self, digest)?;
        if size > limit {
            let reason = format!("it has {size} bytes; at most {limit} are read at once");
            return Err(Error::Blob { digest: *digest, reason });
        }
        let mut bytes = Vec::new();
        VerifyingReader::new(file, *digest, size)
            .read_to_end(&mut bytes)
            .map_err(|reason| Error::Transfer { digest: *digest, reason })?;
        Ok(bytes)
    }

    /// A writer for a new blob.
    ///
    /// # Errors
    /// Those of making a file.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        self.writer_of(Hasher::new())
    }

    /// A writer for a blob of which the digest is known, with that digest's algorithm.
    ///
    /// # Errors
    /// Those of making a file.
    pub fn writer_for(&self, digest: &Digest) -> Result<BlobWriter<'_>> {
        self.writer_of(Hasher::like(digest))
    }

    fn writer_of(&self, hasher: Hasher) -> Result<BlobWriter<'_>> {
        let dir = self.dir().join("tmp");
        // Shared with other writers: between a file's birth and its lock, no sweep may come.
        let _birth = Lock::shared(&self.dir().join(".sweep"))?;
        let file = NamedTempFile::new_in(&dir).during("create", dir.display())?;
        file.as_file().lock().during("flock", file.path().display())?;
        Ok(BlobWriter { store: self, file, hasher })
    }

    /// Stores `bytes`.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn put(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        self.put_as(&Digest::of(bytes), bytes)
    }

    /// Stores `bytes` under a digest that somebody else gave them, with that digest's algorithm.
    ///
    /// # Errors
    /// [`Error::Blob`] if they are others; those of writing a file.
    pub fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<(Digest, u64)> {
        if self.has(digest) {
            return Ok((*digest, bytes.len() as u64));
        }
        let mut writer = self.writer_for(digest)?;
        writer.write_all(bytes).map_err(|reason| Error::Transfer { digest: *digest, reason })?;
        writer.commit(Some(digest))
    }
}

/// Writes one blob: hashed on the way, visible only when whole. Dropped without a commit it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a Store,
    file: NamedTempFile,
    hasher: Hasher,
}

impl BlobWriter<'_> {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// Makes the blob visible under its digest, and returns that and its size in bytes.
    ///
    /// The order is the point: the bytes reach the disk before the name does, and the name before anybody
    /// is told. A power cut leaves a whole blob or none.
    ///
    /// # Errors
    /// Bytes that are not `expected`; those of the file system.
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let size = self.hasher.size();
        let digest = self.hasher.finish();
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(Error::Blob { digest: *expected, reason: format!("the bytes received are {digest}") });
        }
        let path = self.store.blob_path(&digest);
        self.file.as_file().sync_data().during("fdatasync", path.display())?;
        self.file.persist(&path).map_err(|error| error.error).during("rename", path.display())?;
        sync_directory(path.parent().unwrap_or(self.store.dir()))?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Removes blobs under way whose writers are gone: their locks went with them.
pub(crate) fn sweep(store: &Store) -> Result<()> {
    let gate = store.dir().join(".sweep");
    let file = File::options().write(true).create(true).truncate(false).open(&gate).during("open", gate.display())?;
    match file.try_lock() {
        Ok(()) => {}
        // Somebody is just making one. Sweeping can wait for the next time.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error).during("flock", gate.display())?,
    }
    let dir = store.dir().join("tmp");
    for entry in fs::read_dir(&dir).during("readdir", dir.display())? {
        let path = entry.during("readdir", dir.display())?.path();
        if abandoned(&path) {
            // What cannot be removed must not keep every command from opening the store; the next sweep tries again.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

fn abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

pub(crate) fn sync_directory(dir: &Path) -> Result<()> {
    Ok(File::open(dir).and_then(|dir| dir.sync_all()).during("fsync", dir.display())?)
}
