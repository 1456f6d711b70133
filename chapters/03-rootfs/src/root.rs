//! The resolver: paths that stay inside a root, whatever links lie on the way.
//!
//! A path that comes from an image, an archive or a container is hostile. `/etc/../../x`, a symbolic link to
//! `/`, a directory that is exchanged for a link between check and use: with path strings each of them needs
//! its own defence, and one is always forgotten. Here a root is a *directory handle*, and the kernel itself
//! resolves every path relative to it, as if the process had been chrooted there for that one call. Where the kernel
//! cannot, [`resolver`](crate::resolver) walks by itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use process::{CallError, During};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::resolver::{Resolver, Through};

/// How many dangling links `mkdir_all` follows, as the kernel's own limit for a path.
const LINKS: usize = 40;

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    resolver: Resolver,
}

impl Root {
    /// Opens a directory of this process's own file system as a root. `path` itself is trusted.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR and the like.
    pub fn open(path: &Path) -> Result<Self, CallError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self::from).during("open", path.display())
    }

    /// Opens `path` inside the root: `..` stops at the root, absolute links start there, and magic links
    /// (`/proc/PID/fd/N`, which lead anywhere) are refused.
    ///
    /// # Errors
    /// ELOOP for magic links and too many links, EAGAIN when the tree is being renamed without end, and those
    /// of `open(2)`.
    ///
    /// # References
    /// openat2(2), `RESOLVE_IN_ROOT`
    pub fn open_in(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, CallError> {
        self.resolver.open(self.as_fd(), path, flags, Through::Links).during("openat2", path.display())
    }

    /// Opens `path` inside the root if nothing on the way is a link.
    ///
    /// # Errors
    /// ELOOP where a link is met, and those of [`Root::open_in`].
    pub fn open_plain(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, CallError> {
        self.resolver.open(self.as_fd(), path, flags, Through::NoLink).during("openat2", path.display())
    }

    /// Opens `path` inside the root if nothing on the way is a link or mounted on it.
    ///
    /// # Errors
    /// ELOOP where a link is met, EXDEV where something is mounted, and those of [`Root::open_in`].
    pub fn open_same_mount(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, CallError> {
        self.resolver.open(self.as_fd(), path, flags, Through::NoLinkNoMount).during("openat2", path.display())
    }

    /// The same root, whose paths are resolved in this way from now on. Without, it is the kernel's where there is one.
    #[must_use]
    pub fn resolved_by(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Opens the directory that holds `path`'s last component, and returns that component: for `*at` calls
    /// that must act on the name itself and not on what it links to.
    ///
    /// # Errors
    /// When `path` ends in `..` or names the root; those of [`Root::open_in`].
    pub fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), CallError> {
        let (directory, name) = split(path)?;
        Ok((self.open_in(directory, OFlags::PATH | OFlags::DIRECTORY)?, name.to_owned()))
    }

    /// Makes a new file. Nothing may be there yet, not even a link.
    ///
    /// # Errors
    /// EEXIST, and those of [`Root::parent`].
    pub fn create_file(&self, path: &Path, mode: Mode) -> Result<File, CallError> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name.as_os_str(), flags, mode).during("create", path.display())?;
        Ok(file.into())
    }

    /// Makes a directory and those above it that are missing, and opens it. A dangling link on the way gets
    /// the directory that it points to, inside the root.
    ///
    /// # Errors
    /// ENOTDIR when a file is in the way, ELOOP after too many dangling links.
    pub fn mkdir_all(&self, path: &Path, mode: Mode) -> Result<OwnedFd, CallError> {
        self.mkdir_through_links(path, mode, LINKS)
    }

    fn mkdir_through_links(&self, path: &Path, mode: Mode, links: usize) -> Result<OwnedFd, CallError> {
        let wanted = OFlags::PATH | OFlags::DIRECTORY;
        let (mut so_far, mut here) = self.deepest(path)?;
        let missing = path.components().skip(so_far.components().count());
        for component in missing {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            let above = so_far.clone();
            so_far.push(name);
            here = match self.open_in(&so_far, wanted) {
                Err(error) if error.errno() == nix::errno::Errno::ENOENT => {
                    self.mkdir_one(&here, name, &above, mode, links)?
                }
                opened => opened?,
            };
        }
        Ok(here)
    }

    /// The longest part of `path` that is there already, open. As a rule that is all but the last component.
    fn deepest(&self, path: &Path) -> Result<(PathBuf, OwnedFd), CallError> {
        for part in path.ancestors() {
            match self.open_in(part, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.errno() == nix::errno::Errno::ENOENT => {}
                opened => return Ok((part.to_owned(), opened?)),
            }
        }
        Ok((PathBuf::new(), self.open_in(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?))
    }

    /// Makes `above`/`name`, which did not resolve: it is missing, or a link to something missing.
    fn mkdir_one(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        above: &Path,
        mode: Mode,
        links: usize,
    ) -> Result<OwnedFd, CallError> {
        let path = above.join(name);
        match rustix::fs::mkdirat(parent, name, mode) {
            Ok(()) => self.open_in(&path, OFlags::PATH | OFlags::DIRECTORY),
            Err(Errno::EXIST) if links == 0 => Err(Errno::LOOP).during("mkdir", path.display()),
            Err(Errno::EXIST) => match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => {
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    self.mkdir_through_links(&above.join(target), mode, links - 1)
                }
                // Somebody else made the directory a moment ago.
                Err(_) => self.open_in(&path, OFlags::PATH | OFlags::DIRECTORY),
            },
            Err(errno) => Err(errno).during("mkdir", path.display()),
        }
    }

    /// Reads a file, at most `limit` bytes of it: `/etc/passwd` of an image may be a link or without end.
    ///
    /// # Errors
    /// When it is longer, or not a regular file; those of [`Root::open_in`].
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, CallError> {
        // O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
        let file: File = self.open_in(path, OFlags::RDONLY | OFlags::NONBLOCK)?.into();
        let metadata = file.metadata().during("stat", path.display())?;
        if !metadata.is_file() {
            return Err(CallError::refused("read", path.display(), "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).during("read", path.display())?;
        if bytes.len() as u64 > limit {
            return Err(CallError::refused("read", path.display(), format!("longer than {limit} bytes")));
        }
        Ok(bytes)
    }
}

impl From<OwnedFd> for Root {
    fn from(directory: OwnedFd) -> Self {
        Self { directory, resolver: Resolver::of_this_kernel() }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The directory part and the last component of a path.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr), CallError> {
    let refuse = |reason| CallError::refused("resolve", path.display(), reason);
    // `Path::file_name` looks past a final "/." and would make "a/." mean "a": harmless, as both are the same
    // directory. A final ".." is not: it names something by where it lies, not by its name.
    if path.as_os_str().as_bytes().ends_with(b"..") && path.file_name().is_none() {
        return Err(refuse("ends in .."));
    }
    let name = path.file_name().ok_or_else(|| refuse("names the root itself"))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// Opens a directory handle of this process's current directory tree, for callers that need one to start from.
///
/// # Errors
/// Those of `open(2)`.
pub fn here() -> Result<Root, CallError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, ".", flags, Mode::empty()).map(Root::from).during("open", ".")
}
