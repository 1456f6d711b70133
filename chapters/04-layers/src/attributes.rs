//! Owner, mode, attributes and times of one file, set on the file itself and never through a link.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use process::{CallError, During};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::member::{Kind, Member, Time};

/// A file that exists: open, or a name in an open directory (for what cannot be opened without effects).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node<'a> {
    Open(BorrowedFd<'a>),
    Name(BorrowedFd<'a>, &'a OsStr),
}

/// What could not be set, where that was allowed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) owner: bool,
    pub(crate) xattrs: u64,
}

/// Sets everything that the member says about a file.
///
/// The order matters. `chown` clears setuid and `security.capability`, so it comes first; times come last, because
/// everything else may change them. A file that could not be given to its owner belongs to us, and a setuid
/// bit would now lend *our* rights: it goes.
pub(crate) fn dress(node: Node<'_>, member: &Member, where_possible: bool) -> Result<Left, CallError> {
    let mut left = Left::default();
    match set_owner(node, member.uid, member.gid) {
        Err(Errno::PERM | Errno::INVAL) if where_possible => left.owner = true,
        result => result.during("chown", member.path.display())?,
    }
    if !matches!(member.kind, Kind::Symlink(_)) {
        let mode = if left.owner { member.mode & 0o1777 } else { member.mode };
        set_mode(node, Mode::from_raw_mode(mode)).during("chmod", member.path.display())?;
    }
    for (name, value) in &member.xattrs {
        if !may_travel(name) {
            left.xattrs += 1;
            continue;
        }
        match set_xattr(node, OsStr::from_bytes(name), value) {
            // Linux has user attributes on files and directories only, and some file systems have none.
            Err(Errno::OPNOTSUPP) => left.xattrs += 1,
            Err(Errno::PERM | Errno::INVAL) if where_possible || name.starts_with(b"user.") => left.xattrs += 1,
            result => result.during("setxattr on", member.path.display()).map_err(|e| e.with(lossy(name)))?,
        }
    }
    set_times(node, member.mtime, &member.path)?;
    Ok(left)
}

/// Whether an attribute may come out of an archive or go into one.
///
/// Capabilities of programs and what users noted: yes. `trusted.` and `system.` are the kernel's; and an attribute that
/// overlayfs itself reads could redirect a name to any other file of the layers below.
pub(crate) fn may_travel(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Sets both times of a file.
pub(crate) fn set_times(node: Node<'_>, time: Time, path: &Path) -> Result<(), CallError> {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    match node {
        Node::Open(file) => rustix::fs::futimens(file, &times),
        Node::Name(parent, name) => rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW),
    }
    .during("utimensat", path.display())
}

fn set_owner(node: Node<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match node {
        Node::Open(file) => rustix::fs::fchown(file, uid, gid),
        Node::Name(parent, name) => rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
    }
}

fn set_mode(node: Node<'_>, mode: Mode) -> Result<(), Errno> {
    match node {
        Node::Open(file) => rustix::fs::fchmod(file, mode),
        Node::Name(parent, name) => {
            // There is no fchmodat that does not follow, before Linux 6.6; but a handle follows nothing.
            let handle = path_handle(parent, name)?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode)
        }
    }
}

fn set_xattr(node: Node<'_>, name: &OsStr, value: &[u8]) -> Result<(), Errno> {
    match node {
        Node::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
        Node::Name(parent, file) => {
            let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(file);
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        }
    }
}

/// A handle of the thing itself; never of what a link points to.
fn path_handle(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let handle = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(handle),
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_travel() {
        for name in ["security.capability", "user.comment", "user.overlayish"] {
            assert!(may_travel(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "user.overlay.redirect",
            "user.overlay.whiteout",
            "security.selinux",
            "system.posix_acl_access",
            "",
        ] {
            assert!(!may_travel(name.as_bytes()), "{name}");
        }
    }
}
