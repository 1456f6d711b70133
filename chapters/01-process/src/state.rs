//! State that a reader can `cat`: JSON files that are either the old version or the new, never half of one.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, During};
use crate::pid::Pid;

/// Writes `value` as JSON: a temporary file beside `path`, synced, then renamed over it.
///
/// After a power cut the file has its old content or its new one. The mode is 0600.
///
/// # Errors
/// Those of the file system (ENOSPC leaves the old file as it was).
///
/// # References
/// rename(2), fsync(2)
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), CallError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| CallError::refused("encode", path.display(), error))?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes bytes in the same way.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CallError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}.new", Pid::this()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // It may never have been created, or be renamed already; what matters is that none is left.
        let _ = std::fs::remove_file(&temporary);
    }
    written.during("write", path.display())
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// ENOENT and the like; a malformed file is named with line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CallError> {
    let bytes = std::fs::read(path).during("read", path.display())?;
    serde_json::from_slice(&bytes).map_err(|error| CallError::refused("read", path.display(), error))
}

/// Like [`read_json`], with `None` for a file that does not exist.
///
/// # Errors
/// All of [`read_json`]'s but ENOENT.
pub fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CallError> {
    match read_json(path) {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => Ok(None),
        result => result.map(Some),
    }
}

/// A lock on a file, let go when dropped or when the process ends, however it ends.
///
/// # References
/// flock(2)
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn exclusive(path: &Path) -> Result<Self, CallError> {
        let file = open_lock(path)?;
        file.lock().during("flock", path.display())?;
        Ok(Self { _file: file })
    }

    /// Waits until nobody holds the lock exclusively.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn shared(path: &Path) -> Result<Self, CallError> {
        let file = open_lock(path)?;
        file.lock_shared().during("flock", path.display())?;
        Ok(Self { _file: file })
    }
}

fn open_lock(path: &Path) -> Result<File, CallError> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).during("open", path.display())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write_json(&path, &vec![1, 2, 3]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1, 2, 3]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_malformed_file_is_an_error_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        std::fs::write(&path, "{\n  oops").unwrap();
        let error = read_json::<Vec<u8>>(&path).unwrap_err().to_string();
        assert!(error.contains("state.json") && error.contains("line"), "{error}");
    }

    #[test]
    fn a_missing_file_can_be_nothing() {
        assert_eq!(read_json_if_there::<u8>(Path::new("/nonexistent/file")).unwrap(), None);
    }
}
