//! The registry's directory: plain files that `ls` and `cat` explain.
//!
//! ```text
//! ROOT/lock                                        held while a registry serves ROOT
//! ROOT/blobs/sha256/HEX                            every blob and manifest, once
//! ROOT/repositories/NAME/_blobs/sha256/HEX         empty: NAME may hand out that blob
//! ROOT/repositories/NAME/_manifests/sha256/HEX     the media type: NAME has that manifest
//! ROOT/repositories/NAME/_tags/TAG                 the digest that TAG stands for
//! ROOT/repositories/NAME/_referrers/sha256/HEX/HEX a descriptor of what points at a manifest
//! ROOT/uploads/*                                   half-received blobs, removed at the start
//! ```
//!
//! A blob is stored once and *linked* into each repository that has it. The links matter:
//! knowing a digest must not be enough to read another repository's content.
//!
//! Every file is written beside its place, flushed, renamed, and its directory flushed, always
//! content before the link, the link before the tag. Whenever the power goes, a name that is
//! there leads to bytes that are there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use layers::Digest;
use tempfile::NamedTempFile;

use crate::error::Error;
use crate::name::RepositoryName;

/// What a repository may have by digest; the name is the directory's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// An empty file: the blob belongs to the repository.
    Blob,
    /// A file with the manifest's media type.
    Manifest,
}

impl Link {
    fn directory(self) -> &'static str {
        match self {
            Link::Blob => "_blobs",
            Link::Manifest => "_manifests",
        }
    }
}

/// The open directory of a registry. While it lives no other process can open it.
#[derive(Debug)]
pub struct Storage {
    root: PathBuf,
    /// Only held: the lock goes when the file is closed, however the process ends.
    _lock: File,
}

impl Storage {
    /// Opens or makes a registry's directory, and clears away uploads that a crash left.
    ///
    /// # Errors
    /// The directory cannot be made or read, or another registry serves it.
    pub fn open(root: &Path) -> Result<Storage, Error> {
        for directory in ["blobs/sha256", "repositories", "uploads"] {
            let directory = root.join(directory);
            durable_directory(&directory).map_err(Error::io("create", &directory))?;
        }
        let path = root.join("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        // Only now: before the lock they could be another server's, in use.
        let uploads = root.join("uploads");
        for entry in fs::read_dir(&uploads).map_err(Error::io("list", &uploads))? {
            let path = entry.map_err(Error::io("list", &uploads))?.path();
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(Storage { root: root.to_owned(), _lock: lock })
    }

    /// A fresh file for bytes that are not yet known to be good. Dropping it removes it.
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.root.join("uploads"))
    }

    /// Where the bytes of a digest are, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Makes received bytes the content of `digest`. The caller has verified them.
    pub(crate) fn keep(&self, file: NamedTempFile, digest: &Digest) -> io::Result<()> {
        install(file, &self.blob_path(digest))
    }

    /// Stores a small object under its digest and returns that digest.
    pub(crate) fn keep_bytes(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        self.keep(file, &digest)?;
        Ok(digest)
    }

    /// Writes a small file of a repository whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            durable_directory(directory)?;
        }
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        install(file, path)
    }

    /// The directory of a repository. The name's grammar keeps it below `ROOT/repositories`.
    pub(crate) fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    /// The directory above all repositories.
    pub(crate) fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    /// The file that says that a repository has a digest.
    pub(crate) fn link_path(&self, name: &RepositoryName, link: Link, digest: &Digest) -> PathBuf {
        let directory = self.repository(name).join(link.directory());
        directory.join("sha256").join(digest.hex())
    }

    /// Gives a repository a blob that is stored already.
    pub(crate) fn link(&self, name: &RepositoryName, digest: &Digest) -> io::Result<()> {
        self.write(&self.link_path(name, Link::Blob, digest), b"")
    }

    /// Opens a blob for reading if the repository has it. The second value is its size in bytes.
    pub(crate) fn open_blob(&self, name: &RepositoryName, digest: &Digest) -> io::Result<Option<(File, u64)>> {
        // A manifest is a blob too: some clients fetch it by that path.
        let linked = self.link_path(name, Link::Blob, digest).try_exists()?
            || self.link_path(name, Link::Manifest, digest).try_exists()?;
        if !linked {
            return Ok(None);
        }
        let Some(file) = found(File::open(self.blob_path(digest)))? else {
            return Ok(None);
        };
        let size = file.metadata()?.len();
        Ok(Some((file, size)))
    }

    /// Takes a blob away from a repository; the bytes stay for others. False if it had none.
    pub(crate) fn unlink(&self, name: &RepositoryName, link: Link, digest: &Digest) -> io::Result<bool> {
        remove(&self.link_path(name, link, digest))
    }
}

/// Turns "there is none" from an error into an answer.
pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file durably; false if there was none.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    if found(fs::remove_file(path))?.is_none() {
        return Ok(false);
    }
    flush_parent(path)?;
    Ok(true)
}

/// Flush, rename, flush the directory: after this returns a power cut changes nothing, and
/// before it nobody sees half a file.
fn install(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    flush_parent(path)
}

/// Makes a directory and those above it, private to the registry's user. Each new name is
/// flushed: a file can be no more durable than the directories that lead to it.
fn durable_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        durable_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => flush_parent(path),
        // Two requests may make the same repository at once.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn flush_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_readable_only_where_it_is_linked() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open(root.path()).unwrap();
        let digest = storage.keep_bytes(b"hello").unwrap();
        let (mine, other) = ("mine".parse().unwrap(), "other".parse().unwrap());
        storage.link(&mine, &digest).unwrap();
        assert_eq!(storage.open_blob(&mine, &digest).unwrap().unwrap().1, 5);
        assert!(storage.open_blob(&other, &digest).unwrap().is_none());
        assert!(storage.unlink(&mine, Link::Blob, &digest).unwrap());
        assert!(storage.open_blob(&mine, &digest).unwrap().is_none());
    }

    #[test]
    fn only_one_registry_serves_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let first = Storage::open(root.path()).unwrap();
        assert!(matches!(Storage::open(root.path()), Err(Error::InUse(_))));
        drop(first);
        Storage::open(root.path()).unwrap();
    }

    #[test]
    fn what_a_crash_left_of_an_upload_is_cleared_away() {
        let root = tempfile::tempdir().unwrap();
        drop(Storage::open(root.path()).unwrap());
        fs::write(root.path().join("uploads/half"), b"half").unwrap();
        drop(Storage::open(root.path()).unwrap());
        assert_eq!(fs::read_dir(root.path().join("uploads")).unwrap().count(), 0);
    }
}
