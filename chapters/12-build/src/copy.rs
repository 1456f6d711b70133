//! COPY: writing gathered files into the image's root.
//!
//! Where a source lands is Docker's rule, not `cp`'s:
//!
//! | destination | one file | one directory | several sources |
//! |---|---|---|---|
//! | `/x` | becomes `/x`, or goes into `/x` if that is a directory | its *contents* go into `/x` | refused |
//! | `/x/` | becomes `/x/NAME` | its *contents* go into `/x/` | go into `/x/` |
//!
//! The root is an image's, so its links are hostile: `COPY key /etc/key` on an image whose `/etc`
//! links to `/../../../root` must not write to the building machine. Every path is resolved by
//! [`rootfs::Root`], and the last component is never followed.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use crate::sources::{Source, Sources, base_name};
use crate::tree::{Entry, Kind, Owners, Tree, components};

/// Where to write, and what to write over the files' own owners and modes.
#[derive(Debug)]
pub struct Target {
    /// An absolute path in the image.
    pub path: PathBuf,
    /// Whether it is written as a directory: `x/`, `.` or `/`.
    pub is_directory: bool,
    /// `--chown`.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub mode: Option<u32>,
}

impl Target {
    /// Reads a destination as written, relative to the working directory.
    pub fn new(workdir: &str, written: &str, owner: Option<(u32, u32)>, mode: Option<u32>) -> Target {
        let last = written.rsplit('/').next().unwrap_or_default();
        let mut path = PathBuf::from("/");
        path.extend(components(&Path::new(workdir).join(written)));
        Target { path, is_directory: matches!(last, "" | "." | ".."), owner, mode }
    }
}

/// Writes all sources into `root`.
///
/// # Errors
/// A destination that is a file where a directory is due or the other way round, a hostile
/// archive, and those of the file system.
pub fn write(root: &Root, tree: &Tree, sources: &Sources, target: &Target) -> Result<(), CallError> {
    let mut writer = Writer { root, tree, target, directories: Vec::new() };
    for source in &sources.found {
        writer.source(source)?;
    }
    writer.finish()
}

struct Writer<'a> {
    root: &'a Root,
    tree: &'a Tree,
    target: &'a Target,
    /// Directories whose times are set last, because writing into one changes them.
    directories: Vec<(PathBuf, (i64, i64))>,
}

impl Writer<'_> {
    fn source(&mut self, source: &Source) -> Result<(), CallError> {
        match source {
            Source::Tree { top, below } if top.entry.kind == Kind::Directory => {
                self.directory(&self.target.path, None)?;
                for entry in below {
                    let inside = entry.path.strip_prefix(&top.entry.path).unwrap_or(&entry.path);
                    self.entry(entry, &self.target.path.join(inside))?;
                }
                Ok(())
            }
            Source::Tree { top, .. } => {
                let path = self.place(&base_name(&top.named))?;
                self.entry(&top.entry, &path)
            }
            Source::Archive(found) => self.archive(&found.entry),
            Source::Inline(name, content) => {
                let path = self.place(Path::new(name))?;
                let entry = Entry {
                    path: PathBuf::from(name),
                    kind: Kind::File(content.len() as u64),
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    modified: (0, 0),
                };
                let mut file = self.new_file(&path)?;
                file.write_all(content).during("write", path.display())?;
                self.attributes(&file, &entry, &path)
            }
        }
    }

    /// Where a source that is no directory lands.
    fn place(&mut self, name: &Path) -> Result<PathBuf, CallError> {
        if self.target.is_directory || self.is_directory(&self.target.path) {
            self.directory(&self.target.path, None)?;
            return Ok(self.target.path.join(name));
        }
        if let Some(parent) = self.target.path.parent() {
            self.directory(parent, None)?;
        }
        Ok(self.target.path.clone())
    }

    fn entry(&mut self, entry: &Entry, path: &Path) -> Result<(), CallError> {
        match &entry.kind {
            Kind::Directory => self.directory(path, Some(entry)),
            Kind::Link(to) => {
                self.clear(path)?;
                let (parent, name) = self.root.parent(path)?;
                rustix::fs::symlinkat(to, &parent, &name).during("symlink", path.display())?;
                let (uid, gid) = self.owner(entry);
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(&parent, &name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)
                    .during("chown", path.display())?;
                rustix::fs::utimensat(&parent, &name, &times(entry.modified), flags).during("utimens", path.display())
            }
            Kind::File(_) => {
                let mut from = self.tree.open(&entry.path)?;
                let mut file = self.new_file(path)?;
                std::io::copy(&mut from, &mut file).during("copy", path.display())?;
                self.attributes(&file, entry, path)?;
                self.capabilities(&from, &file, path)
            }
        }
    }

    /// Makes sure that `path` is a directory. One that `entry` describes takes its owner and mode;
    /// one that had to be made on the way is the owner's of `--chown`, or root's, with mode 0755.
    fn directory(&mut self, path: &Path, entry: Option<&Entry>) -> Result<(), CallError> {
        let missing: Vec<PathBuf> = path
            .ancestors()
            .take_while(|above| self.root.open_in(above, OFlags::PATH).is_err())
            .map(Path::to_owned)
            .collect();
        self.root.mkdir_all(path, Mode::from_raw_mode(0o755))?;
        for made in missing.iter().rev() {
            let made_entry =
                Entry { path: made.clone(), kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, modified: (0, 0) };
            let handle = self.root.open_in(made, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.own(&handle, &made_entry, made, None)?;
        }
        if let Some(entry) = entry {
            let handle = self.root.open_in(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.own(&handle, entry, path, self.target.mode)?;
            self.directories.push((path.to_owned(), entry.modified));
        }
        Ok(())
    }

    /// Unpacks an archive at the destination, which it takes for a directory.
    fn archive(&mut self, entry: &Entry) -> Result<(), CallError> {
        self.directory(&self.target.path, None)?;
        let into = Root::from(self.root.open_in(&self.target.path, OFlags::RDONLY | OFlags::DIRECTORY)?);
        let mut file = self.tree.open(&entry.path)?;
        file.rewind().during("seek", entry.path.display())?;
        crate::draft::unpack(file, &into).map_err(|error| CallError::refused("unpack", entry.path.display(), error))
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.root.open_in(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    fn new_file(&self, path: &Path) -> Result<File, CallError> {
        self.clear(path)?;
        self.root.create_file(path, Mode::from_raw_mode(0o600))
    }

    /// Removes what a file or link is to replace. A directory is never replaced by one.
    fn clear(&self, path: &Path) -> Result<(), CallError> {
        let (parent, name) = self.root.parent(path)?;
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(rustix::io::Errno::ISDIR) => {
                Err(CallError::refused("copy", path.display(), "cannot replace a directory by a file"))
            }
            Err(errno) => Err(errno).during("unlink", path.display()),
        }
    }

    fn owner(&self, entry: &Entry) -> (u32, u32) {
        self.target.owner.unwrap_or((entry.uid, entry.gid))
    }

    fn attributes(&self, file: &File, entry: &Entry, path: &Path) -> Result<(), CallError> {
        self.own(file, entry, path, self.target.mode)?;
        rustix::fs::futimens(file, &times(entry.modified)).during("futimens", path.display())
    }

    /// Owner first, mode second: changing the owner clears the set-id bits.
    fn own(
        &self,
        file: impl std::os::fd::AsFd,
        entry: &Entry,
        path: &Path,
        mode: Option<u32>,
    ) -> Result<(), CallError> {
        let (uid, gid) = self.owner(entry);
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .during("fchown", path.display())?;
        let mode = Mode::from_raw_mode(mode.unwrap_or(entry.mode));
        rustix::fs::fchmod(&file, mode).during("fchmod", path.display())
    }

    /// File capabilities are part of a program; of one in a stage, that is. A context's have none:
    /// root on the building machine is not root of the image.
    fn capabilities(&self, from: &File, to: &File, path: &Path) -> Result<(), CallError> {
        const NAME: &str = "security.capability";
        if self.tree.owners() == Owners::Root {
            return Ok(());
        }
        let mut value = [0; 64];
        match rustix::fs::fgetxattr(from, NAME, &mut value[..]) {
            Ok(length) => rustix::fs::fsetxattr(to, NAME, &value[..length], rustix::fs::XattrFlags::empty())
                .during("setxattr", path.display()),
            // Not there, or a file system that has none.
            Err(_) => Ok(()),
        }
    }

    /// Sets the directories' times, children before parents.
    fn finish(self) -> Result<(), CallError> {
        for (path, modified) in self.directories.iter().rev() {
            let handle = self.root.open_in(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::futimens(&handle, &times(*modified)).during("futimens", path.display())?;
        }
        Ok(())
    }
}

/// Access and modification time alike: nobody has read the new file yet.
fn times((seconds, nanoseconds): (i64, i64)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
