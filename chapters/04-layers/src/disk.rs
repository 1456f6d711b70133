//! Trees on disk: walking them in order, measuring and removing them, never through a link.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NOATIME);

/// How many directories one walk holds open. `RLIMIT_NOFILE` is 1,024 on many machines, and others need some too.
const OPEN: usize = 32;

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
    let mut descent = Descent::default();
    descent.enter(top).during("readdir", "/")?;
    let mut path = PathBuf::new();
    loop {
        let Some((parent, name)) = descent.next_name() else {
            if descent.leave().during("return from", path.display())?.is_none() {
                return Ok(());
            }
            path.pop();
            continue;
        };
        path.push(&name);
        let stat = rustix::fs::statat(parent, &*name, AtFlags::SYMLINK_NOFOLLOW).during("stat", path.display())?;
        visit(&Found { parent, name: &name, path: &path, stat })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let below = open_directory(parent, &name).during("open", path.display())?;
            descent.enter(below).during("readdir", path.display())?;
        } else {
            path.pop();
        }
    }
}

/// A way down into a tree: the directories from its top to the current one, of which only the last few are open.
///
/// A container can nest directories deeper than a process may have descriptors or a thread has stack. So this is a
/// loop's state and no recursion; a directory far above is closed, and opened again on the way back through `..`,
/// where its inode says whether it still is the one that it was.
#[derive(Default)]
struct Descent {
    levels: Vec<Level>,
}

struct Level {
    directory: Option<OwnedFd>,
    inode: (u64, u64),
    /// What was not visited yet, the next one last.
    names: Vec<OsString>,
}

impl Descent {
    fn enter(&mut self, directory: OwnedFd) -> Result<(), Errno> {
        let mut names = names(&directory)?;
        names.reverse();
        let inode = inode(&directory)?;
        if let Some(far) = self.levels.len().checked_sub(OPEN) {
            self.levels[far].directory = None;
        }
        self.levels.push(Level { directory: Some(directory), inode, names });
        Ok(())
    }

    /// The next name in the current directory, with that directory.
    fn next_name(&mut self) -> Option<(BorrowedFd<'_>, OsString)> {
        let level = self.levels.last_mut()?;
        let name = level.names.pop()?;
        Some((level.directory.as_ref()?.as_fd(), name))
    }

    /// Goes up one level, and returns the directory there; `None` at the top.
    fn leave(&mut self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        let left = self.levels.pop();
        let Some((above, left)) = self.levels.last_mut().zip(left.and_then(|level| level.directory)) else {
            return Ok(None);
        };
        if above.directory.is_none() {
            let directory = open_directory(left.as_fd(), OsStr::new(".."))?;
            // Somebody moved the directory that we were in to somewhere else.
            if inode(&directory)? != above.inode {
                return Err(Errno::STALE);
            }
            above.directory = Some(directory);
        }
        Ok(above.directory.as_ref().map(AsFd::as_fd))
    }
}

fn inode(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Opens a directory to read it, without leaving a trace in its access time where we may.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(parent, name, DIRECTORY.difference(OFlags::NOATIME), Mode::empty()),
        result => result,
    }
}

/// What is in a directory, sorted.
pub(crate) fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
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

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its regular files, each hard-linked file once, as `ls` counts them.
    pub bytes: u64,
    /// Bytes that the file system spends on them, as `du` counts them.
    pub disk: u64,
    /// Files, directories, links and whatever else has an inode.
    pub inodes: u64,
}

/// What the tree below a root takes, without the root itself.
pub(crate) fn usage_below(root: &Root) -> Result<Usage, CallError> {
    let mut linked = HashSet::new();
    let mut usage = Usage::default();
    walk::<CallError>(root, &mut |found| {
        let stat = &found.stat;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let again = kind != FileType::Directory && stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino));
        if !again {
            usage.inodes += 1;
            // In blocks of 512 bytes, whatever the file system's own are.
            usage.disk += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
        if !again && kind == FileType::RegularFile {
            usage.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        Ok(())
    })?;
    Ok(usage)
}

/// Removes whatever is at a name, with all that is below it, however deep. Links are removed, not followed.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let Some(top) = unlink_or_open(parent, name)? else { return Ok(()) };
    let mut descent = Descent::default();
    descent.enter(top)?;
    let mut way = Vec::new();
    loop {
        if let Some((here, child)) = descent.next_name() {
            if let Some(below) = unlink_or_open(here, &child)? {
                descent.enter(below)?;
                way.push(child);
            }
            continue;
        }
        match (descent.leave()?, way.pop()) {
            (Some(above), Some(empty)) => rustix::fs::unlinkat(above, &*empty, AtFlags::REMOVEDIR)?,
            _ => return rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR),
        }
    }
}

/// Removes a name, or opens the directory that is there, so that it can be emptied.
fn unlink_or_open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let refused = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        // Linux says EISDIR, POSIX would have EPERM.
        Err(errno @ (Errno::ISDIR | Errno::PERM)) => errno,
        result => return result.map(|()| None),
    };
    let directory = match open_directory(parent, name) {
        Err(Errno::ACCESS) => {
            unlock(parent, name)?;
            open_directory(parent, name)?
        }
        // It is no directory: that it may not be removed was said about itself.
        Err(Errno::NOTDIR) => return Err(refused),
        result => result?,
    };
    // Without these bits an owner who is not root cannot empty it. Who may not change them need not, or fails there.
    if rustix::fs::fstat(&directory)?.st_mode & 0o700 != 0o700 {
        let _ = rustix::fs::fchmod(&directory, Mode::RWXU);
    }
    Ok(Some(directory))
}

/// Lets a directory's owner look into it.
fn unlock(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // fchmod takes no handle of this kind, but the handle's name follows nothing.
    rustix::fs::chmod(crate::attributes::name_of(handle.as_fd()), Mode::RWXU)
}

/// Removes a tree of our own. Not being there is fine.
pub(crate) fn remove_all(path: &Path) -> Result<(), CallError> {
    match remove(CWD, path.as_os_str()) {
        Err(Errno::NOENT) => Ok(()),
        result => result.during("remove", path.display()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Nests `depth` directories, far past what a path may be long, with a file in the innermost.
    fn nest(top: &Path, depth: usize) {
        let mut here = rustix::fs::open(top, DIRECTORY.difference(OFlags::NOATIME), Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = open_directory(here.as_fd(), OsStr::new("d")).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::io::write(rustix::fs::openat(&here, "file", flags, Mode::RWXU).unwrap(), b"deep").unwrap();
    }

    #[test]
    fn a_tree_of_five_thousand_levels_is_walked_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir(&top).unwrap();
        nest(&top, 5_000);
        let usage = usage_below(&Root::open(&top).unwrap()).unwrap();
        assert_eq!((usage.bytes, usage.inodes), (4, 5_001));
        remove_all(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn what_its_owner_locked_is_removed_too_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("top/locked/inner")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/file"), b"alive").unwrap();
        symlink("../outside", dir.path().join("top/link")).unwrap();
        std::fs::set_permissions(dir.path().join("top/locked"), PermissionsExt::from_mode(0o0)).unwrap();
        remove_all(&dir.path().join("top")).unwrap();
        remove_all(&dir.path().join("top")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(dir.path().join("outside/file").exists());
    }
}
