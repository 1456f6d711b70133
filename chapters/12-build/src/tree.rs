//! What COPY reads: a tree of files that cannot be climbed out of.
//!
//! The build context and another stage's root are the same thing to COPY: a directory handle,
//! below which every path is resolved by the kernel ([`rootfs::Root`]). A context may come from a
//! stranger's repository and a stage from a stranger's image, so a link that points to `/etc`
//! means the tree's own `/etc`, and `..` stops at its top.
//!
//! A source that is *named* is followed if it is a link (`COPY current/app /`); what is *found*
//! below a directory is copied as it is, links as links.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::ignore::Ignore;
use crate::pattern::{Dialect, Pattern, is_pattern};

/// The most files that one COPY may move, and how deep they may lie.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_DEPTH: usize = 512;

/// As many links as the kernel itself would follow in one path.
const MAX_LINKS: usize = 40;

/// A tree to copy from.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    ignore: Ignore,
    owners: Owners,
}

/// Whose files a tree's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Root's: who owns a file in the context is an accident of the machine that builds.
    Root,
    /// As recorded: in another stage or an image the owner is part of the content.
    Kept,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link, and what it says.
    Link(PathBuf),
}

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, from the tree's top, without a leading slash.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits: `07777`.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was modified: seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
}

/// An entry, and the path by which it was named: another one, if that was a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As named, from the tree's top, without a leading slash. Its last component is the name in the image.
    pub named: PathBuf,
    /// What is there, links followed.
    pub entry: Entry,
}

impl Tree {
    /// A tree below `root`, without what `ignore` excludes.
    pub fn new(root: Root, ignore: Ignore, owners: Owners) -> Tree {
        Tree { root, ignore, owners }
    }

    /// Whose files its files are.
    pub fn owners(&self) -> Owners {
        self.owners
    }

    /// The entries that a source names: one, or for a pattern all that match, sorted by path.
    ///
    /// # Errors
    /// A bad pattern, and a path that is not there (or that `.dockerignore` hides, which is said).
    pub fn find(&self, source: &str) -> Result<Vec<Found>, CallError> {
        let refused = |why: String| CallError::refused("copy", source, why);
        let parts = components(Path::new(source));
        if !is_pattern(source) {
            let path: PathBuf = parts.iter().collect();
            let entry = self.named(&path)?;
            return Ok(vec![Found { named: path, entry }]);
        }
        let mut found: BTreeSet<PathBuf> = BTreeSet::from([PathBuf::new()]);
        for part in &parts {
            let part = part.to_string_lossy();
            let mut next = BTreeSet::new();
            if is_pattern(&part) {
                let pattern = Pattern::new(&part, Dialect::Go).map_err(refused)?;
                for directory in found {
                    let names = self.list(&directory)?;
                    let matching = names.into_iter().filter(|name| pattern.matches(&name.to_string_lossy()));
                    next.extend(matching.map(|name| directory.join(name)));
                }
            } else {
                next.extend(found.into_iter().map(|directory| directory.join(&*part)));
            }
            found = next;
        }
        let mut entries = Vec::new();
        for path in found {
            match self.named(&path) {
                // A pattern's middle may match directories that do not hold the rest.
                Err(error) if is(&error, Errno::NOENT) => {}
                entry => entries.push(Found { entry: entry?, named: path }),
            }
        }
        match entries.is_empty() {
            true => Err(refused("no file matches the pattern".to_owned())),
            false => Ok(entries),
        }
    }

    /// Everything below a directory, parents before children, each directory sorted.
    ///
    /// # Errors
    /// Those of reading directories; devices and FIFOs, and trees beyond all bounds.
    pub fn below(&self, directory: &Path) -> Result<Vec<Entry>, CallError> {
        let mut entries = Vec::new();
        self.descend(directory, 0, &mut entries)?;
        Ok(entries)
    }

    /// Opens a regular file of the tree for reading.
    ///
    /// # Errors
    /// Those of open(2); `ELOOP` if it has become a link since it was found.
    pub fn open(&self, path: &Path) -> Result<File, CallError> {
        // NONBLOCK: should it have become a FIFO meanwhile, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(File::from(self.root.open_in(path, flags)?))
    }

    fn descend(&self, directory: &Path, depth: usize, entries: &mut Vec<Entry>) -> Result<(), CallError> {
        if depth > MAX_DEPTH || entries.len() > MAX_ENTRIES {
            let why = format!("more than {MAX_DEPTH} directories deep, or more than {MAX_ENTRIES} files");
            return Err(CallError::refused("copy", directory.display(), why));
        }
        for name in self.list(directory)? {
            let path = directory.join(name);
            let Some(entry) = self.entry(&path)? else { continue };
            let excluded = self.ignore.excludes(&path);
            if entry.kind != Kind::Directory {
                if !excluded {
                    entries.push(entry);
                }
                continue;
            }
            // An excluded directory appears only around something that was brought back.
            if excluded && !self.ignore.brings_back_any() {
                continue;
            }
            let before = entries.len();
            entries.push(entry);
            self.descend(&path, depth + 1, entries)?;
            if excluded && entries.len() == before + 1 {
                entries.pop();
            }
        }
        Ok(())
    }

    /// The entry at `path`, links followed inside the tree.
    fn named(&self, path: &Path) -> Result<Entry, CallError> {
        let path = self.canonical(path)?;
        let hidden = !path.as_os_str().is_empty() && self.ignore.excludes(&path);
        let entry = self
            .entry(&path)?
            .filter(|entry| !hidden || (entry.kind == Kind::Directory && self.ignore.brings_back_any()));
        entry.ok_or_else(|| CallError::refused("copy", path.display(), "excluded by .dockerignore"))
    }

    /// The path without links. What stands between this look and the later use may change; the
    /// use resolves inside the root again and follows no link, so a change leads to an error only.
    fn canonical(&self, path: &Path) -> Result<PathBuf, CallError> {
        let mut todo: Vec<OsString> = components(path).into_iter().rev().collect();
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            let stat = self.stat(&next)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                done = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(CallError::refused("copy", path.display(), "too many symbolic links"));
            }
            let target = self.link(&next)?;
            if target.is_absolute() {
                done = PathBuf::new();
            }
            todo.extend(raw_components(&target).into_iter().rev());
        }
        Ok(done)
    }

    /// Reads one entry without following it. Sockets are nobody's content: none.
    fn entry(&self, path: &Path) -> Result<Option<Entry>, CallError> {
        let stat = self.stat(path)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File(stat.st_size.unsigned_abs()),
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link(self.link(path)?),
            FileType::Socket => return Ok(None),
            // Overlayfs's whiteout: in a lone layer it hides nothing, so nothing is what it is.
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(None),
            other => {
                let why = format!("a {other:?} can not be copied");
                return Err(CallError::refused("copy", path.display(), why));
            }
        };
        let (uid, gid) = match self.owners {
            Owners::Root => (0, 0),
            Owners::Kept => (stat.st_uid, stat.st_gid),
        };
        let modified = (stat.st_mtime, stat.st_mtime_nsec as i64);
        Ok(Some(Entry { path: path.to_owned(), kind, mode: stat.st_mode & 0o7777, uid, gid, modified }))
    }

    fn stat(&self, path: &Path) -> Result<Stat, CallError> {
        if path.as_os_str().is_empty() {
            return rustix::fs::fstat(&self.root).during("fstat", "/");
        }
        let (parent, name) = self.root.parent(path)?;
        rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).during("stat", path.display())
    }

    fn link(&self, path: &Path) -> Result<PathBuf, CallError> {
        let (parent, name) = self.root.parent(path)?;
        let target = rustix::fs::readlinkat(&parent, &name, Vec::new()).during("readlink", path.display())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The names in a directory, sorted; none if it is no directory.
    fn list(&self, directory: &Path) -> Result<Vec<OsString>, CallError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let handle = match self.root.open_in(directory, flags) {
            Err(error) if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|e| is(&error, *e)) => {
                return Ok(Vec::new());
            }
            handle => handle?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&handle).during("readdir", directory.display())? {
            let name = entry.during("readdir", directory.display())?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A path's names from the top; `..` takes one back and stops at the top.
pub fn components(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts
}

/// The same for a link's target, in which `..` has to wait until the links before it are followed.
fn raw_components(path: &Path) -> Vec<OsString> {
    let named = |component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(named).collect()
}

fn is(error: &CallError, errno: Errno) -> bool {
    error.errno == errno.raw_os_error()
}
