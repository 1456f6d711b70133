//! Directories under way: locked while their writers live, swept once they do not.
//!
//! ```text
//! birth (shared lock on .sweep) -> its own lock -> written -> renamed away: committed
//!                                                          -> dropped: removed
//!                                                          -> killed: the kernel lets the lock go, the sweep removes
//! ```

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use process::state::Lock;
use process::{CallError, During, step};

use crate::disk;

/// A directory under way. Dropped, it is removed, unless it was renamed away by then.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    lock: File,
}

impl Staging {
    /// A new directory in the store `dir`, with a directory for files in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn new(dir: &Path) -> Result<Self, CallError> {
        let tmp = dir.join("tmp");
        // Shared with other writers: between a directory's birth and its lock, no sweep may come.
        let _birth = Lock::shared(&dir.join(".sweep"))?;
        step!(4, "mkdir", "mkdir(2)", "begin where nobody looks", "{}", tmp.display());
        let path = tempfile::tempdir_in(&tmp).during("mkdir", tmp.display())?.keep();
        let lock = File::open(&path).during("open", path.display())?;
        step!(4, "flock", "flock(2)", "say that its writer lives", "{}", path.display());
        lock.lock().during("flock", path.display())?;
        let staging = Self { path, lock };
        let files = staging.files();
        step!(4, "mkdir", "mkdir(2)", "make the layer's root", "{}", files.display());
        fs::create_dir(&files).during("mkdir", files.display())?;
        // Not left to the umask: this is the layer's `/`.
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755)).during("chmod", files.display())?;
        Ok(staging)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An open handle of it, which holds its lock.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// Where the layer's files go.
    pub(crate) fn files(&self) -> PathBuf {
        self.path.join("fs")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.path.exists() {
            step!(4, "unlink", "unlink(2)", "remove what is not wanted any more", "{}", self.path.display());
        }
        // After a commit it is not there; after a failure that one is worth more than this; the sweep comes anyway.
        let _ = disk::remove_all(&self.path);
    }
}

/// Removes directories under way whose writers are gone: their locks went with them. Says how many those were.
///
/// # Errors
/// Those of reading the directory.
pub(crate) fn sweep(dir: &Path) -> Result<u64, CallError> {
    let gate = dir.join(".sweep");
    let gate = File::options().write(true).create(true).truncate(false).open(&gate).during("open", gate.display())?;
    if let Err(TryLockError::WouldBlock) = gate.try_lock() {
        // Somebody is just making one. Sweeping can wait for the next time.
        return Ok(0);
    }
    let tmp = dir.join("tmp");
    let mut swept = 0;
    for entry in fs::read_dir(&tmp).during("readdir", tmp.display())? {
        let path = entry.during("readdir", tmp.display())?.path();
        if File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok()) {
            step!(4, "unlink", "unlink(2)", "remove what a killed process left", "{}", path.display());
            // What cannot be removed must not keep every command from opening the store; the next sweep tries again.
            swept += u64::from(disk::remove_all(&path).is_ok());
        }
    }
    Ok(swept)
}
