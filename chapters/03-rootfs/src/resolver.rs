//! Two ways to resolve a path inside a root: the kernel's own, and a walk that is as strict.
//!
//! `openat2` exists since Linux 5.6, and a sandbox around the engine may forbid it (old seccomp profiles answer ENOSYS, or
//! EPERM, to what they do not know). Then this process walks by itself, one component at a time:
//!
//! ```text
//! a/../link/x      held: root                     "a"     open O_PATH|O_NOFOLLOW, hold it
//!                  held: root, a                  ".."    let go of a; never open ".."
//!                  held: root                     "link"  a link to /etc: begin again at root, with etc/x
//!                  held: root, etc                "x"     the last: open with the caller's flags, O_NOFOLLOW
//! ```
//!
//! Nothing is ever opened but one name in a directory that is held, and never through a link. So whoever renames and
//! exchanges meanwhile can change *which* file inside the root is found, but never lead outside. What the walk does not
//! have: the kernel's check of links in sticky directories (`fs.protected_symlinks`).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// How paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// By the kernel, in one call.
    Openat2,
    /// By this process, component by component.
    Walk,
}

/// What a path may lead through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// Links, as long as they stay inside the root. Never magic links (`/proc/PID/fd/N`), which lead anywhere.
    Links,
    /// No link at all.
    NoLink,
    /// No link, and no mount: all of it is the file system that the root is.
    NoLinkNoMount,
}

/// How often a lookup is tried again when somebody renames directories under it.
const RACES: usize = 128;
/// How many links one path may lead through, as the kernel's own limit.
const LINKS: usize = 40;
/// The longest path, with all its links written out, in bytes: a bound for the walk, well above PATH_MAX.
const LENGTH: usize = 64 * 1024;

impl Resolver {
    /// The kernel's, where it has one and we may use it.
    pub fn of_this_kernel() -> Self {
        static FOUND: OnceLock<Resolver> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::openat2(rustix::fs::CWD, ".", flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                Err(Errno::NOSYS | Errno::PERM) => Self::Walk,
                _ => Self::Openat2,
            }
        })
    }

    /// Opens `path` inside `root`. It opens what is there and makes nothing.
    pub(crate) fn open(
        self,
        root: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        through: Through,
    ) -> Result<OwnedFd, Errno> {
        if flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE) {
            return Err(Errno::INVAL);
        }
        for _ in 0..RACES {
            let opened = match self {
                Self::Openat2 => openat2(root, path, flags, through),
                Self::Walk => Walk::begin(root, path, flags, through).and_then(Walk::run),
            };
            match opened {
                // openat2 could not prove that ".." stayed inside, or the walk found its last name exchanged.
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

fn openat2(root: BorrowedFd<'_>, path: &Path, flags: OFlags, through: Through) -> Result<OwnedFd, Errno> {
    // An empty path means the root itself; openat2 would say ENOENT.
    let within = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT
        | match through {
            Through::Links => ResolveFlags::NO_MAGICLINKS,
            Through::NoLink => ResolveFlags::NO_SYMLINKS,
            Through::NoLinkNoMount => ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        };
    rustix::fs::openat2(root, within, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// A walk on its way.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    flags: OFlags,
    through: Through,
    /// Directories below the root that lead to where we are.
    held: Vec<OwnedFd>,
    /// What is still to be walked.
    rest: VecDeque<OsString>,
    /// Whether the path ends in a slash: its last name then means a directory, and a link there is followed.
    slash: bool,
    links: usize,
    length: usize,
}

impl<'a> Walk<'a> {
    fn begin(root: BorrowedFd<'a>, path: &Path, flags: OFlags, through: Through) -> Result<Self, Errno> {
        let mut walk = Self {
            root,
            flags: flags | OFlags::CLOEXEC,
            through,
            held: Vec::new(),
            rest: VecDeque::new(),
            slash: false,
            links: 0,
            length: 0,
        };
        walk.put_before(path.as_os_str())?;
        Ok(walk)
    }

    /// Puts a path before what is left to walk: at the beginning all of it, and later a link's target.
    ///
    /// A path with a slash in front begins at the root, whatever was held. Whether the whole ends in a slash is remembered:
    /// it then means a directory. If its last name is a link, the slash behind that still counts, whatever the target ends in.
    ///
    /// # Errors
    /// ENAMETOOLONG when all that was put here is longer than [`LENGTH`].
    // hole: walk-a-path
    fn put_before(&mut self, path: &OsStr) -> Result<(), Errno> {
        let bytes = path.as_bytes();
        self.length += bytes.len();
        if self.length > LENGTH {
            return Err(Errno::NAMETOOLONG);
        }
        if self.rest.is_empty() {
            self.slash |= bytes.ends_with(b"/");
        }
        if bytes.starts_with(b"/") {
            self.held.clear();
        }
        let names = bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        for name in names.rev() {
            self.rest.push_front(OsStr::from_bytes(name).to_owned());
        }
        Ok(())
    }

    fn run(mut self) -> Result<OwnedFd, Errno> {
        while let Some(name) = self.rest.pop_front() {
            match name.as_bytes() {
                b"." => {}
                // At the root there is nothing to let go of: the way up ends there.
                b".." => drop(self.held.pop()),
                _ => {
                    if let Some(found) = self.enter(&name)? {
                        return Ok(found);
                    }
                }
            }
        }
        // It ended in a directory that we hold.
        rustix::fs::openat(self.here(), ".", self.flags & !OFlags::NOFOLLOW, Mode::empty())
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.held.last().map_or(self.root, AsFd::as_fd)
    }

    /// Takes one name: holds a directory, begins a link, or opens the last.
    fn enter(&mut self, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
        let last = self.rest.is_empty() && !self.slash;
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(self.here(), name, look, Mode::empty())?;
        if self.through == Through::NoLinkNoMount && mount_of(found.as_fd())? != mount_of(self.root)? {
            return Err(Errno::XDEV);
        }
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::Symlink if last && self.flags.contains(OFlags::NOFOLLOW) => self.open_last(name).map(Some),
            FileType::Symlink => self.follow(&found).map(|()| None),
            FileType::Directory if !last => {
                self.held.push(found);
                Ok(None)
            }
            _ if last => self.open_last(name).map(Some),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Opens the last name with the caller's flags. If it has become a link since we looked, the lookup begins anew.
    fn open_last(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        let opened = rustix::fs::openat(self.here(), name, self.flags | OFlags::NOFOLLOW, Mode::empty());
        if self.flags.contains(OFlags::NOFOLLOW) {
            return opened;
        }
        match opened {
            Err(Errno::LOOP) => Err(Errno::AGAIN),
            // O_PATH|O_NOFOLLOW opens a link itself instead of refusing it.
            Ok(fd) if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Symlink => {
                Err(Errno::AGAIN)
            }
            opened => opened,
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.through != Through::Links || self.links > LINKS || leads_anywhere(self.here(), link)? {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        self.put_before(&OsString::from_vec(target.into_bytes()))
    }
}

/// Whether a link may be a magic one: the kernel then jumps, whatever text the link shows.
///
/// They live in procfs and AppArmor's file system. In the root directory of a procfs (inode 1) there are plain
/// links only (`self`, `mounts`); elsewhere in it every link is taken for a magic one.
fn leads_anywhere(directory: BorrowedFd<'_>, link: &OwnedFd) -> Result<bool, Errno> {
    const APPARMORFS: i64 = 0x5a3c_69f0;
    const NOSYMFOLLOW: i64 = 0x2000;
    let filesystem = rustix::fs::fstatfs(link)?;
    if filesystem.f_flags & NOSYMFOLLOW != 0 || filesystem.f_type == APPARMORFS {
        return Ok(true);
    }
    Ok(filesystem.f_type == libc::PROC_SUPER_MAGIC && rustix::fs::fstat(directory)?.st_ino != 1)
}

/// What tells mounts apart: the mount's number, since Linux 5.8; before that the device alone.
fn mount_of(fd: BorrowedFd<'_>) -> Result<(u32, u32, u64), Errno> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((stat.stx_dev_major, stat.stx_dev_minor, if known { stat.stx_mnt_id } else { 0 }))
}
