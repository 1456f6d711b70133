//! A blob on its way in, of which there is only one: who else wants it waits, and who comes after a crash goes on with it.
//!
//! ```text
//! DIR/ingest/HEX         the bytes so far; a crash leaves them for the next who wants this blob
//! DIR/ingest/HEX.lock    locked by whoever fetches it, in whatever process
//! ```
//!
//! A [`BlobWriter`](crate::BlobWriter) is for bytes whose digest nobody knows yet. Here the digest is known before the first
//! byte comes, so it can be the name under which everybody meets.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::{Digest, Hasher};
use process::During;

use crate::blob::sync_directory;
use crate::error::{Error, Result};
use crate::store::Store;

/// Bytes that are read at a time of what is here already.
const PIECE: usize = 256 << 10;

/// What stands at the end of a lock's name.
const LOCK: &str = "lock";

/// The only one who brings a blob in, until it is dropped. What was written and not committed stays for the next one;
/// [`Ingest::discard`] is for bytes that are not worth it.
#[derive(Debug)]
pub struct Ingest<'a> {
    store: &'a Store,
    digest: Digest,
    path: PathBuf,
    lock: PathBuf,
    _locked: File,
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    file: File,
    hasher: Hasher,
}

impl Store {
    /// Becomes the one who brings this blob in; `None` if somebody is at it now. Then it pays to wait: the blob may be
    /// here soon, and its bytes come once.
    ///
    /// Hold a [`Lease`](crate::Lease) meanwhile, as for every blob that nothing names yet.
    ///
    /// # Errors
    /// Those of making and locking a file.
    pub fn ingest(&self, digest: &Digest) -> Result<Option<Ingest<'_>>> {
        let dir = self.ingest_dir();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).during("mkdir", dir.display())?;
        let path = dir.join(digest.hex());
        let lock = path.with_extension(LOCK);
        loop {
            let locked = File::options().write(true).create(true).truncate(false).open(&lock);
            let locked = locked.during("open", lock.display())?;
            match locked.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).during("flock", lock.display())?,
            }
            // Whoever had it before took the name away, perhaps after we had opened it: that lock would lock nobody out.
            let here = locked.metadata().during("fstat", lock.display())?.ino();
            if fs::metadata(&lock).is_ok_and(|named| named.ino() == here) {
                let (digest, store) = (*digest, self);
                return Ok(Some(Ingest { store, digest, path, lock, _locked: locked, writing: None }));
            }
        }
    }

    /// Removes the bytes of downloads that nobody goes on with. Returns how many there were. Only under the collector's lock.
    pub(crate) fn forget_ingests(&self) -> Result<u64> {
        let dir = self.ingest_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries.during("readdir", dir.display())?,
        };
        let mut bytes = 0;
        for entry in entries {
            let path = entry.during("readdir", dir.display())?.path();
            let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => {
                    removed.during("unlink", path.display())?;
                    bytes += size;
                }
            }
        }
        Ok(bytes)
    }

    fn ingest_dir(&self) -> PathBuf {
        self.dir().join("ingest")
    }
}

impl Ingest<'_> {
    /// Opens what is here already and hands it to `each`, piece by piece, for it is needed for more than its hash. Returns
    /// the number of bytes: that is where to go on. More than `most` cannot be a beginning, and is forgotten.
    ///
    /// # Errors
    /// Those of the file system, and of `each`.
    pub fn resume(&mut self, most: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> Result<u64> {
        let (path, digest) = (&self.path, self.digest);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.during("open", path.display())?;
        let mut hasher = Hasher::like(&digest);
        if file.metadata().during("fstat", path.display())?.len() > most {
            file.set_len(0).during("ftruncate", path.display())?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            let n = file.read(&mut piece).during("read", path.display())?;
            if n == 0 {
                break;
            }
            hasher.update(&piece[..n]);
            each(&piece[..n]).map_err(|reason| Error::Transfer { digest, reason })?;
        }
        let size = hasher.size();
        self.writing = Some(Writing { file, hasher });
        Ok(size)
    }

    /// Forgets what is here and begins again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn restart(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        writing.file.set_len(0).during("ftruncate", self.path.display())?;
        writing.file.seek(SeekFrom::Start(0)).during("lseek", self.path.display())?;
        writing.hasher = Hasher::like(&self.digest);
        Ok(())
    }

    /// Makes the blob visible: the bytes reach the disk before the name does. This stays the only one until it is dropped,
    /// so that others wait also for what is made of the blob.
    ///
    /// # Errors
    /// Bytes that are not the digest's, which are then gone; those of the file system.
    pub fn commit(&mut self) -> Result<()> {
        let Some(Writing { file, hasher }) = self.writing.take() else { return Err(Error::NoBlob(self.digest)) };
        let found = hasher.finish();
        if found != self.digest {
            self.remove();
            return Err(Error::Blob { digest: self.digest, reason: format!("the bytes received are {found}") });
        }
        let path = self.store.blob_path(&self.digest);
        file.sync_data().during("fdatasync", self.path.display())?;
        fs::rename(&self.path, &path).during("rename", path.display())?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }

    /// Lets go, and keeps no byte for the next one.
    pub fn discard(mut self) {
        self.writing = None;
        self.remove();
    }

    fn remove(&self) {
        // What stays is found to be wrong by the next one, and removed by the garbage collector.
        let _ = fs::remove_file(&self.path);
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(writing) = &mut self.writing else { return Err(io::ErrorKind::NotConnected.into()) };
        let n = writing.file.write(bytes)?;
        writing.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        // An empty beginning is worth nothing to anybody.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == 0) {
            self.remove();
        }
        // While it is still locked: see `Store::ingest`. If it cannot be removed, it is only a file without bytes.
        let _ = fs::remove_file(&self.lock);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn nothing(_: &[u8]) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn one_fetches_and_the_next_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = Digest::of(b"a blob in two parts");
        let mut first = store.ingest(&digest).unwrap().unwrap();
        assert!(store.ingest(&digest).unwrap().is_none(), "two at once");
        assert_eq!(first.resume(19, nothing).unwrap(), 0);
        first.write_all(b"a blob in ").unwrap();
        drop(first);

        let mut seen = Vec::new();
        let mut second = store.ingest(&digest).unwrap().unwrap();
        let here = second.resume(19, |piece| seen.write_all(piece)).unwrap();
        assert_eq!((here, seen.as_slice()), (10, &b"a blob in "[..]));
        second.write_all(b"two parts").unwrap();
        second.commit().unwrap();
        assert!(store.has(&digest) && store.ingest(&digest).unwrap().is_none());
        drop(second);
        assert_eq!(fs::read_dir(store.ingest_dir()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_wrong_is_not_kept_and_what_is_abandoned_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = Digest::of(b"right");
        let mut ingest = store.ingest(&digest).unwrap().unwrap();
        ingest.resume(5, nothing).unwrap();
        ingest.write_all(b"wrong").unwrap();
        assert!(matches!(ingest.commit(), Err(Error::Blob { .. })));
        drop(ingest);
        assert_eq!(fs::read_dir(store.ingest_dir()).unwrap().count(), 0);

        // More bytes than the blob has are no beginning of it.
        fs::write(store.ingest_dir().join(digest.hex()), b"right and more").unwrap();
        let mut ingest = store.ingest(&digest).unwrap().unwrap();
        assert_eq!(ingest.resume(5, nothing).unwrap(), 0);
        ingest.write_all(b"ri").unwrap();
        drop(ingest);
        assert_eq!(store.gc().unwrap().bytes, 2);
        assert_eq!(fs::read_dir(store.ingest_dir()).unwrap().count(), 0);
    }
}
