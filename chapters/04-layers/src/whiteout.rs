//! Whiteouts: how a layer says that something below it is gone, in two languages.
//!
//! ```text
//!                        in an archive (OCI)            on disk (overlayfs)
//! `name` is gone         an empty file `.wh.name`       a character device 0/0 called `name`
//! all below `dir/` gone  an empty file `.wh..wh..opq`   attribute trusted.overlay.opaque=y on `dir`
//! ```
//!
//! In a user namespace the attribute is `user.overlay.opaque`; the device stays, for since Linux 5.8 anybody may make
//! this one device, which nothing can open. Only an overlay itself takes no such device, and that is what an engine finds
//! below itself when it runs in a container. There a whiteout is what overlayfs has for that case since Linux 6.7: an
//! empty file with the attribute `overlay.whiteout`, in a directory with `overlay.opaque=x`.
//!
//! # References
//! OCI image specification, layer.md, "Whiteouts"; Linux Documentation/filesystems/overlayfs.rst

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use process::{CallError, During, step};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::idmap::Ids;

/// What an archive member's name says about the layers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it is a member like any other.
    None,
    /// This name in this directory is gone.
    Gone(PathBuf, OsString),
    /// Everything that lower layers have in this directory is gone.
    Opaque(PathBuf),
    /// aufs wrote names like `.wh..wh.plnk` for itself; they mean nothing to others.
    Ignored,
}

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The names of overlayfs's attributes, without their prefix.
const OPAQUE_NAME: &str = "opaque";
const WHITEOUT: &str = "whiteout";

impl Mark {
    /// Reads a member's path.
    ///
    /// # Errors
    /// A whiteout of nothing, `.` or `..`: applied blindly, that one would remove the parent's parent. A member below a
    /// whiteout (`.wh.a/b`): what is gone has nothing inside.
    // hole: read-a-whiteout
    pub fn of(path: &Path) -> Result<Self, String> {
        let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return Ok(Self::None) };
        let parent = || path.parent().unwrap_or(Path::new("")).to_owned();
        if path.parent().is_some_and(|parent| parent.iter().any(|part| part.as_bytes().starts_with(PREFIX))) {
            return Err("it lies inside a whiteout".into());
        }
        match name.strip_prefix(PREFIX) {
            None => Ok(Self::None),
            Some(_) if name == OPAQUE => Ok(Self::Opaque(parent())),
            Some(b"" | b"." | b"..") => Err("a whiteout of no file".into()),
            Some(rest) if rest.starts_with(PREFIX) => Ok(Self::Ignored),
            Some(rest) => Ok(Self::Gone(parent(), OsStr::from_bytes(rest).to_owned())),
        }
    }
}

/// The archive's name for the whiteout of `path`.
pub(crate) fn archive_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(OsStr::from_bytes(&[PREFIX, name.as_bytes()].concat()))
}

/// The archive's name for the opaque mark of the directory `path`.
pub(crate) fn opaque_name(path: &Path) -> PathBuf {
    path.join(OsStr::from_bytes(OPAQUE))
}

/// Makes overlayfs's whiteout.
pub(crate) fn make(parent: impl AsFd, name: &OsStr) -> Result<(), CallError> {
    step!(4, "mknodat", "mknod(2)", "hide a name of the layers below", "{} c 0 0", name.display());
    match rustix::fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::PERM) => make_with_attribute(parent.as_fd(), name),
        result => result.during("mknod whiteout", name.display()),
    }
}

/// The other form, for a file system that takes no such device.
fn make_with_attribute(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), CallError> {
    step!(4, "fsetxattr", "setxattr(2)", "hide it with an attribute", "{} {WHITEOUT}", name.display());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty()).during("create whiteout", name.display())?;
    let marked = rustix::fs::fsetxattr(&file, attribute(WHITEOUT).as_str(), b"y", XattrFlags::empty()).and_then(|()| {
        let directory = rustix::fs::openat(parent, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::fs::fsetxattr(directory, attribute(OPAQUE_NAME).as_str(), b"x", XattrFlags::CREATE) {
            // It is opaque in the stronger sense, or has been marked already.
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    });
    if marked.is_err() {
        rustix::fs::unlinkat(parent, name, AtFlags::empty()).during("unlink", name.display())?;
    }
    marked.during("fsetxattr whiteout", name.display())
}

/// Whether this is overlayfs's whiteout, in either form. No archive can plant one: see `may_travel`.
pub(crate) fn is_whiteout(parent: impl AsFd, name: &OsStr, stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::RegularFile if stat.st_size == 0 => {
            let path = crate::attributes::name_of(parent.as_fd()).join(name);
            rustix::fs::lgetxattr(path, attribute(WHITEOUT).as_str(), &mut [0_u8; 1][..]).is_ok()
        }
        _ => false,
    }
}

/// Marks an open directory opaque.
pub(crate) fn make_opaque(directory: impl AsFd, path: &Path) -> Result<(), CallError> {
    let name = attribute(OPAQUE_NAME);
    step!(4, "fsetxattr", "setxattr(2)", "hide all that layers below have here", "{} {name}=y", path.display());
    rustix::fs::fsetxattr(directory, name.as_str(), b"y", XattrFlags::empty())
        .during("fsetxattr opaque on", path.display())
}

/// Whether an open directory is marked opaque.
pub(crate) fn is_opaque(directory: impl AsFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(directory, attribute(OPAQUE_NAME).as_str(), &mut value[..]) == Ok(1) && value == *b"y"
}

fn attribute(name: &str) -> String {
    format!("{}{name}", Ids::here().overlay_prefix())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<Mark, String> {
        Mark::of(Path::new(path))
    }

    #[test]
    fn names_of_whiteouts_are_read() {
        assert_eq!(of("etc/passwd").unwrap(), Mark::None);
        assert_eq!(of("").unwrap(), Mark::None);
        assert_eq!(of("etc/.whistle").unwrap(), Mark::None);
        assert_eq!(of("etc/.wh.passwd").unwrap(), Mark::Gone("etc".into(), "passwd".into()));
        assert_eq!(of(".wh.x").unwrap(), Mark::Gone("".into(), "x".into()));
        assert_eq!(of("etc/.wh..hidden").unwrap(), Mark::Gone("etc".into(), ".hidden".into()));
        assert_eq!(of("etc/.wh..wh..opq").unwrap(), Mark::Opaque("etc".into()));
        assert_eq!(of(".wh..wh.plnk").unwrap(), Mark::Ignored);
    }

    #[test]
    fn a_whiteout_of_no_file_or_with_something_inside_is_refused() {
        for path in ["etc/.wh.", "etc/.wh..", "etc/.wh...", ".wh.etc/passwd", "a/.wh..wh..opq/b"] {
            assert!(of(path).is_err(), "{path}");
        }
    }

    #[test]
    fn whiteouts_are_written_as_they_are_read() {
        assert_eq!(of(archive_name(Path::new("a/b")).to_str().unwrap()).unwrap(), Mark::Gone("a".into(), "b".into()));
        assert_eq!(of(opaque_name(Path::new("a/b")).to_str().unwrap()).unwrap(), Mark::Opaque("a/b".into()));
    }
}
