//! Owner, mode, attributes and times of one file, set on the file itself and never through a link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::acl;
use crate::member::{Kind, Member, Time};
use crate::tarball::Xattrs;

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
///
/// What an open file is already is not set again. Most are: the archive's owner is often who applies it, and one look costs
/// less than two changes that a journal has to write down.
pub(crate) fn dress(node: Node<'_>, member: &Member, where_possible: bool) -> Result<Left, CallError> {
    let mut left = Left::default();
    let there = match node {
        Node::Open(file) => Some(rustix::fs::fstat(file).during("fstat", member.path.display())?),
        Node::Name(..) => None,
    };
    let owned = there.as_ref().is_some_and(|there| (there.st_uid, there.st_gid) == (member.uid, member.gid));
    if !owned {
        match set_owner(node, member.uid, member.gid) {
            Err(Errno::PERM | Errno::INVAL) if where_possible => left.owner = true,
            result => result.during("chown", member.path.display())?,
        }
    }
    let mode = if left.owner { member.mode & 0o1777 } else { member.mode };
    // A change of owner may have changed the mode, too.
    let has_mode = owned && there.is_some_and(|there| there.st_mode & 0o7777 == mode);
    if !has_mode && !matches!(member.kind, Kind::Symlink(_)) {
        set_mode(node, Mode::from_raw_mode(mode)).during("chmod", member.path.display())?;
    }
    for (name, value) in &member.xattrs {
        if *name == acl::DEFAULT {
            // What is made in the directory later would inherit it: `Tree` sets it last.
            continue;
        }
        if !may_travel(name) {
            left.xattrs += 1;
            continue;
        }
        match set_xattr(node, OsStr::from_bytes(name), value) {
            // Linux has user attributes on files and directories only, and some file systems have none.
            Err(Errno::OPNOTSUPP) => left.xattrs += 1,
            Err(Errno::PERM | Errno::INVAL) if where_possible || name.starts_with(b"user.") => left.xattrs += 1,
            // A list of access that names nobody whom this machine could know.
            Err(Errno::INVAL | Errno::RANGE) if *name == acl::ACCESS => left.xattrs += 1,
            result => result.during("setxattr on", member.path.display()).map_err(|e| e.with(lossy(name)))?,
        }
    }
    set_times(node, member.mtime, &member.path)?;
    Ok(left)
}

/// Takes from a directory that is there the attributes that the member does not have: what comes later describes all of it, as
/// a layer's directory does that an overlay shows instead of another's.
pub(crate) fn strip(parent: BorrowedFd<'_>, name: &OsStr, member: &Member) -> Result<(), CallError> {
    let there = read_xattrs(parent, name).during("listxattr", member.path.display())?;
    let unsaid = |(name, _): &&(Vec<u8>, Vec<u8>)| !member.xattrs.iter().any(|(said, _)| said == name);
    there.iter().filter(unsaid).try_for_each(|(attribute, _)| {
        let path = name_of(parent).join(name);
        let removed = rustix::fs::lremovexattr(path, OsStr::from_bytes(attribute));
        removed.during("removexattr from", member.path.display()).map_err(|error| error.with(lossy(attribute)))
    })
}

/// Attributes that a user may set and an overlay, the kernel's or the program's, reads.
const OVERLAYS: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];

/// Whether an attribute may come out of an archive or go into one.
///
/// Capabilities of programs, lists of access, and what users noted: yes. `trusted.` and the rest of `system.` are the
/// kernel's, `security.` labels those of one machine's policy; and an attribute that overlayfs itself reads could
/// redirect a name to any other file of the layers below.
pub(crate) fn may_travel(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | acl::ACCESS | acl::DEFAULT)
        || (name.starts_with(b"user.") && !OVERLAYS.iter().any(|overlay| name.starts_with(overlay)))
}

/// The attributes of a file that travel, in the order of their names.
pub(crate) fn read_xattrs(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Xattrs, Errno> {
    let path = name_of(parent).join(name);
    // The kernel's own limit for a list of names, and for a value.
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(&path, &mut names[..]) {
        // A file system without attributes.
        Err(Errno::OPNOTSUPP) => 0,
        result => result?,
    };
    let mut xattrs = Vec::new();
    for name in names[..length].split(|&b| b == 0).filter(|name| may_travel(name)) {
        // A record's key ends at the first "=": no archive can hold such a name.
        if name.contains(&b'=') {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(&path, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    Ok(xattrs)
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
            rustix::fs::chmod(name_of(handle.as_fd()), mode)
        }
    }
}

pub(crate) fn set_xattr(node: Node<'_>, name: &OsStr, value: &[u8]) -> Result<(), Errno> {
    match node {
        Node::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
        Node::Name(parent, file) => {
            let path = name_of(parent).join(file);
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

/// The name of what a descriptor is open on, for calls that take only names. It leads there and nowhere else.
pub(crate) fn name_of(descriptor: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_travel() {
        for name in ["security.capability", "system.posix_acl_access", "user.comment", "user.overlayish"] {
            assert!(may_travel(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "user.overlay.redirect",
            "user.overlay.whiteout",
            "user.fuseoverlayfs.origin",
            "user.containers.override_stat",
            "security.selinux",
            "system.nfs4_acl",
            "",
        ] {
            assert!(!may_travel(name.as_bytes()), "{name}");
        }
    }
}
