//! One member of an archive, as typed data: what a header says after everything in it was checked.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rustix::fs::{FileType, Stat};

use crate::attributes::read_xattrs;
use crate::sparse::SparseMap;
use crate::tarball::Xattrs;

/// A member of an archive. Its body, if it is a file, is read from [`Members`](crate::archive::Members).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it stands in the archive, from 1. Extension headers count too.
    pub number: u64,
    /// Its path below the root: relative, without `.` and `..`; empty for the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was changed last.
    pub mtime: Time,
    /// Extended attributes, from PAX records `SCHILY.xattr.NAME`.
    pub xattrs: Xattrs,
}

/// A moment: seconds since 1970 and the nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A regular file with holes; its body is the data of its segments, one after the other.
    Sparse(SparseMap),
    /// Another name for an earlier member, given by its path below the root.
    HardLink(PathBuf),
    /// A symbolic link with this text, which is never interpreted here.
    Symlink(PathBuf),
    /// A directory.
    Directory,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
}

impl Member {
    /// What is on disk, as an archive would describe it. Sockets and hard links are not told: the one means nothing
    /// without its process, the other nothing without the rest of the tree.
    pub(crate) fn found(parent: impl AsFd, name: &OsStr, path: &Path, stat: &Stat) -> Result<Self, CallError> {
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(&parent, name, Vec::new()).during("readlink", path.display())?;
                Kind::Symlink(OsStr::from_bytes(text.as_bytes()).into())
            }
            FileType::CharacterDevice => Kind::CharDevice(device.0, device.1),
            FileType::BlockDevice => Kind::BlockDevice(device.0, device.1),
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
        };
        Ok(Self {
            number: 0,
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time::of(stat),
            xattrs: read_xattrs(parent.as_fd(), name).during("listxattr", path.display())?,
        })
    }
}

impl Time {
    /// When a file was changed last.
    pub(crate) fn of(stat: &Stat) -> Self {
        // The kernel never says more than 999,999,999 nanoseconds.
        Self { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) }
    }
}

/// The longest path that Linux takes in one piece, without its final zero byte.
pub(crate) const LONGEST_PATH: usize = 4095;
/// The longest name of one file on every Linux file system of note.
const LONGEST_NAME: usize = 255;

/// A member's name as a path below the root.
///
/// Absolute names lose their slash, as every tar program does it, and `./` is the root itself: an empty path. `..` is
/// refused wherever it stands, even where it would stay inside: no program that writes layers needs it, and `a/..`
/// means something else once `a` is a symbolic link. Refused are also what [`checked`] refuses, the empty name, a
/// component longer than [`LONGEST_NAME`], and more than `depth` components.
///
/// # Errors
/// The reason, to be shown with the member's number.
// hole: path-inside
pub(crate) fn path_inside(name: &[u8], depth: usize) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("it has no name".into());
    }
    let mut path = PathBuf::new();
    let mut components = 0;
    for component in checked(name)?.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err("its name climbs out with \"..\"".into()),
            _ if component.len() > LONGEST_NAME => {
                return Err(format!("a part of its name is longer than {LONGEST_NAME} bytes"));
            }
            _ => path.push(OsStr::from_bytes(component)),
        }
        components += 1;
        if components > depth {
            return Err(format!("it lies more than {depth} directories deep"));
        }
    }
    Ok(path)
}

/// The text of a symbolic link. It may say anything: whoever follows it does so inside the root.
pub(crate) fn link_text(text: &[u8]) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("a symbolic link to nothing".into());
    }
    Ok(Path::new(OsStr::from_bytes(checked(text)?)).to_owned())
}

fn checked(name: &[u8]) -> Result<&[u8], String> {
    if name.contains(&0) {
        return Err("its name has a zero byte".into());
    }
    if name.len() > LONGEST_PATH {
        return Err(format!("its name is longer than {LONGEST_PATH} bytes"));
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_below_the_root() {
        for (name, path) in [
            ("etc/passwd", "etc/passwd"),
            ("./etc//passwd/", "etc/passwd"),
            ("/etc/passwd", "etc/passwd"),
            ("./", ""),
            ("/", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(path_inside(name.as_bytes(), 9).unwrap(), Path::new(path), "{name}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_nowhere_are_refused() {
        let long = "x".repeat(256);
        let endless = "x/".repeat(2048);
        let deep = "x/".repeat(10);
        for name in ["", "..", "../x", "a/../../x", "a/..", "a\0b", &long, &endless, &deep] {
            assert!(path_inside(name.as_bytes(), 9).is_err(), "{name:?}");
        }
        assert!(link_text(b"").is_err());
        assert_eq!(link_text(b"../../etc").unwrap(), Path::new("../../etc"));
    }
}
