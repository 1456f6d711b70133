//! State that a reader can `cat`: JSON files that are either the old version or the new, never half of one.
//!
//! There are two kinds. What must survive a power cut is synced to the disk before anybody is told that it is written.
//! What a reboot makes meaningless (who runs, at which pid) or ends (a container that goes away at its end) is not: nobody waits for a
//! disk on its behalf.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, During};
use crate::kernel_file;

/// Writes `value` as JSON: a draft beside `path`, synced, then renamed over it.
///
/// After a power cut the file has its old content or its new one. The mode is 0600. A writer that is killed leaves its
/// draft; the next one of the same file takes it over, and [`sweep`] removes it.
///
/// # Errors
/// Those of the file system (ENOSPC leaves the old file as it was).
///
/// # References
/// rename(2), fsync(2)
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), CallError> {
    write(path, &encode(path, value)?)
}

/// Writes `value` as [`write_json`] does, but syncs nothing: for run directories, which a reboot empties or makes stale.
///
/// Whoever reads sees the old content or the new; after a power cut perhaps an empty file, which [`read_run_json`] takes for none.
///
/// # Errors
/// Those of the file system.
pub fn write_run_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), CallError> {
    write_run(path, &encode(path, value)?)
}

/// Reads what [`write_run_json`] wrote; `None` for a file that does not exist, or that a power cut has left empty.
///
/// # Errors
/// As [`read_json`].
pub fn read_run_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CallError> {
    let decoded = look(path, |bytes| (!bytes.is_empty()).then(|| decode(path, bytes)).transpose());
    match decoded {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => Ok(None),
        decoded => decoded?,
    }
}

fn encode<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<Vec<u8>, CallError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| CallError::refused("encode", path.display(), error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes bytes as [`write_json`] writes a value.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CallError> {
    replace(path, bytes, Sync::Yes)
}

/// Writes bytes as [`write_run_json`] writes a value.
///
/// # Errors
/// Those of the file system.
pub fn write_run(path: &Path, bytes: &[u8]) -> Result<(), CallError> {
    replace(path, bytes, Sync::No)
}

/// Whether a file is on the disk when its writer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Yes,
    No,
}

fn replace(path: &Path, bytes: &[u8], sync: Sync) -> Result<(), CallError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}{DRAFT}"));
    let written: std::io::Result<()> = (|| {
        let mut file = draft(&temporary)?;
        let result = (|| {
            // What a killed writer left goes. An empty file is not emptied again: ext4 takes that for a file which is
            // written anew, and waits for the disk when it is closed.
            if file.metadata()?.len() > 0 {
                file.set_len(0)?;
            }
            file.write_all(bytes)?;
            if sync == Sync::Yes {
                file.sync_all()?;
            }
            std::fs::rename(&temporary, path)
        })();
        if result.is_err() {
            // It is ours as long as we hold its lock; what matters is that none is left.
            let _ = std::fs::remove_file(&temporary);
        }
        result?;
        if sync == Sync::Yes {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    })();
    written.during("write", path.display())
}

/// What the name of a file ends with that is being written. It begins with a dot.
const DRAFT: &str = ".new";

/// Opens a draft and locks it. One that a killed writer left is taken over; one that somebody is just writing is waited for.
fn draft(path: &Path) -> std::io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        // Whoever had the lock before us has renamed or removed what we opened: then it is not the draft any more.
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())),
    }
}

/// Removes what killed writers left in a directory, and nothing that somebody is just writing. A directory that is not
/// there has nothing in it.
///
/// Who writes the same file again takes such a draft over; this is for those that nobody ever writes again.
///
/// # Errors
/// Those of the file system.
pub fn sweep(directory: &Path) -> Result<(), CallError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.during("read", directory.display())?,
    };
    for entry in entries {
        let entry = entry.during("read", directory.display())?;
        let name = entry.file_name();
        let is_draft = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(DRAFT));
        if is_draft && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove_abandoned(&entry.path()).during("unlink", entry.path().display())?;
        }
    }
    Ok(())
}

fn remove_abandoned(path: &Path) -> std::io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if file.try_lock().is_ok() && is_at(&file, path)? {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// ENOENT and the like; a malformed file is named with line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CallError> {
    look(path, |bytes| decode(path, bytes))?
}

/// Such files are short, like the kernel's own: one read gives them whole.
pub(crate) fn look<T>(path: &Path, what: impl FnOnce(&[u8]) -> T) -> Result<T, CallError> {
    kernel_file::glance(path, what).during("read", path.display())
}

pub(crate) fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(bytes).map_err(|error| CallError::refused("read", path.display(), error))
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

/// A lock on a file or a directory, let go when dropped or when the process ends, however it ends.
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

    /// Waits until nobody else holds the lock of a directory, which must be there.
    ///
    /// # Errors
    /// ENOENT and the like.
    pub fn of_directory(path: &Path) -> Result<Self, CallError> {
        let file = File::open(path).during("open", path.display())?;
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
    fn what_a_killed_writer_left_is_taken_over_by_the_next_and_swept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let left = directory.path().join(".state.json.new");
        std::fs::write(&left, "longer than what comes, and half of so").unwrap();
        write_json(&path, &vec![1]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), [1]);
        assert!(!left.exists());
        std::fs::write(&left, "half of so").unwrap();
        let working = draft(&directory.path().join(".other.json.new")).unwrap();
        sweep(directory.path()).unwrap();
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, [".other.json.new", "state.json"], "a writer at work keeps its draft");
        drop(working);
        sweep(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        sweep(&directory.path().join("none")).unwrap();
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        std::thread::scope(|scope| {
            for writer in 0..8_u32 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        write_run_json(path, &vec![writer; 1000 * writer as usize]).unwrap();
                        sweep(path.parent().unwrap()).unwrap();
                        read_json::<Vec<u32>>(path).unwrap();
                    }
                });
            }
        });
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
    fn what_a_power_cut_left_of_a_run_file_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write_run_json(&path, &7).unwrap();
        assert_eq!(read_run_json::<u8>(&path).unwrap(), Some(7));
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_run_json::<u8>(&path).unwrap(), None);
        assert!(read_json::<u8>(&path).is_err(), "elsewhere, an empty file is damage");
    }

    #[test]
    fn a_missing_file_can_be_nothing() {
        assert_eq!(read_json_if_there::<u8>(Path::new("/nonexistent/file")).unwrap(), None);
    }
}
