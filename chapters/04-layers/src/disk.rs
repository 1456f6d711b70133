//! Trees on disk: walking them in order, measuring and removing them, never through a link.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NOATIME);

/// One thing in a tree.
pub(crate) struct Found<'a> {
    /// The directory it is in.
    pub(crate) parent: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a OsStr,
    /// Its path below the tree's root.
    pub(crate) path: &'a Path,
    /// The thing itself, never what it links to.
    pub(crate) stat: Stat,
}

/// Visits everything below a root except the root itself: each directory before what is in it, and names in the order
/// of their bytes, so that one tree gives one sequence on every machine.
///
/// # Errors
/// Those of reading directories, and the visitor's.
pub(crate) fn walk<E: From<CallError>>(
    root: &Root,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let top = open_directory(root.as_fd(), OsStr::new(".")).during("open", "/")?;
    walk_below(&top, &mut PathBuf::new(), visit)
}

fn walk_below<E: From<CallError>>(
    directory: &OwnedFd,
    path: &mut PathBuf,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for name in names(directory).during("readdir", path.display())? {
        path.push(&name);
        let stat = rustix::fs::statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW).during("stat", path.display())?;
        visit(&Found { parent: directory.as_fd(), name: &name, path, stat })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let below = open_directory(directory.as_fd(), &name).during("open", path.display())?;
            walk_below(&below, path, visit)?;
        }
        path.pop();
    }
    Ok(())
}

/// Opens a directory to read it, without leaving a trace in its access time where we may.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(parent, name, DIRECTORY.difference(OFlags::NOATIME), Mode::empty()),
        result => result,
    }
}

/// What is in a directory, sorted.
fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

/// Bytes of the regular files below a root, each hard-linked file once.
pub(crate) fn bytes_below(root: &Root) -> Result<u64, CallError> {
    let mut linked = HashSet::new();
    let mut bytes = 0;
    walk::<CallError>(root, &mut |found| {
        let stat = &found.stat;
        let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if file && (stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino))) {
            bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Removes whatever is at a name, with all that is below it. Links are removed, not followed.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        // Linux says EISDIR, POSIX would have EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return result,
    }
    let directory = open_directory(parent, name)?;
    for child in names(&directory)? {
        remove(directory.as_fd(), &child)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes a tree of our own. Not being there is fine.
///
/// A directory without write permission stops its owner too, unless that is root; so such bits are given back first.
pub(crate) fn remove_all(path: &Path) -> Result<(), CallError> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    let path_is_file = path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir());
    if path_is_file {
        return gone(std::fs::remove_file(path)).during("unlink", path.display());
    }
    match gone(std::fs::remove_dir_all(path)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path).during("chmod", path.display())?;
            gone(std::fs::remove_dir_all(path)).during("remove", path.display())
        }
        result => result.during("remove", path.display()),
    }
}

/// Lets the owner of a tree's directories do with them as he likes.
fn unlock(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}
