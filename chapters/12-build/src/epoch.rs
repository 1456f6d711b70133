//! `SOURCE_DATE_EPOCH`: no file of a layer is younger than the moment that the user named.
//!
//! Two builds of the same sources differ in one thing that nobody meant: when they ran. With an
//! epoch each newer time is set back to it, so the same build gives the same archive, the same
//! diff id, the same image. Older times carry meaning (they came with the sources) and stay.
//!
//! # References
//! <https://reproducible-builds.org/docs/source-date-epoch/>, utimensat(2)

use std::os::fd::OwnedFd;
use std::path::Path;

use jiff::Timestamp;
use process::{CallError, During};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};

/// Deeper trees are not ours to touch; the archive writer refuses them too.
const MAX_DEPTH: usize = 512;

/// Sets every newer modification time below `directory`, and its own, to `epoch`.
///
/// # Errors
/// Those of reading directories and setting times.
pub fn clamp(directory: &Path, epoch: Timestamp) -> Result<(), CallError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(CWD, directory, flags, Mode::empty()).during("open", directory.display())?;
    below(&handle, directory, epoch, 0)?;
    set(&handle, ".", epoch, directory)
}

/// Children first: nothing in here changes a directory's time, but order costs nothing and stays
/// right should that change.
fn below(handle: &OwnedFd, path: &Path, epoch: Timestamp, depth: usize) -> Result<(), CallError> {
    if depth > MAX_DEPTH {
        return Err(CallError::refused("clamp times", path.display(), format!("deeper than {MAX_DEPTH} directories")));
    }
    for entry in Dir::read_from(handle).during("readdir", path.display())? {
        let entry = entry.during("readdir", path.display())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let child = path.join(name.to_string_lossy().as_ref());
        if entry.file_type() == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(handle, name, flags, Mode::empty()).during("open", child.display())?;
            below(&directory, &child, epoch, depth + 1)?;
        }
        set(handle, name, epoch, &child)?;
    }
    Ok(())
}

/// Sets one file's time back, if it is newer; a link's own, not its target's.
fn set(parent: &OwnedFd, name: impl rustix::path::Arg + Copy, epoch: Timestamp, path: &Path) -> Result<(), CallError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statat(parent, name, flags).during("stat", path.display())?;
    if (stat.st_mtime, stat.st_mtime_nsec as i64) <= (epoch.as_second(), i64::from(epoch.subsec_nanosecond())) {
        return Ok(());
    }
    let time = Timespec { tv_sec: epoch.as_second(), tv_nsec: epoch.subsec_nanosecond() as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(parent, name, &times, flags).during("utimensat", path.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn newer_times_are_set_back_and_older_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/new"), "").unwrap();
        fs::write(dir.path().join("old"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        fs::File::open(dir.path().join("old")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        clamp(dir.path(), Timestamp::from_second(1_000).unwrap()).unwrap();
        let time = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap().mtime();
        assert_eq!((time(""), time("d"), time("d/new"), time("link"), time("old")), (1000, 1000, 1000, 1000, 0));
    }
}
