//! The layers below: what a path means in a stack, if it means anything.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::disk;
use crate::whiteout;

/// A stack of layers to look into, topmost first.
pub(crate) struct Lower {
    layers: Vec<PathBuf>,
    /// The directory that was asked about last: whoever walks a tree asks about all of its names in turn.
    last: RefCell<Option<(PathBuf, Vec<OwnedFd>)>>,
}

/// Something that the layers below show.
pub(crate) struct Shown {
    /// The directory that it is in, in the layer that has it.
    pub(crate) parent: OwnedFd,
    /// Its name there.
    pub(crate) name: OsString,
    /// What it is.
    pub(crate) stat: Stat,
}

impl Lower {
    /// Looks into the layers in these directories.
    ///
    /// # Errors
    /// A layer that is not there: it must not look like an empty one.
    pub(crate) fn open(layers: &[PathBuf]) -> Result<Self, CallError> {
        for layer in layers {
            Root::open(layer)?;
        }
        Ok(Self { layers: layers.to_vec(), last: RefCell::default() })
    }

    /// Whether the layers below show anything at `path`.
    pub(crate) fn has(&self, path: &Path) -> Result<bool, CallError> {
        Ok(self.find(path)?.is_some())
    }

    /// Whether they show a directory at `path`.
    pub(crate) fn has_directory(&self, path: &Path) -> Result<bool, CallError> {
        Ok(self.find(path)?.is_some_and(|shown| shown.is_directory()))
    }

    /// What they show at `path`: the topmost layer that says something about it decides, by having or by hiding it.
    /// Links on the way are not followed, as the kernel's own lookup of a merged directory follows none.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Shown>, CallError> {
        let Some(name) = path.file_name() else { return Ok(None) };
        let above = path.parent().unwrap_or(Path::new(""));
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(directory, _)| directory != above) {
            *last = Some((above.to_owned(), self.merged(above)?));
        }
        for directory in last.iter().flat_map(|(_, directories)| directories) {
            match stat(directory, name)? {
                None => {}
                Some(found) if whiteout::is_whiteout(directory, name, &found) => return Ok(None),
                Some(stat) => {
                    let parent = directory.try_clone().during("dup", path.display())?;
                    return Ok(Some(Shown { parent, name: name.to_owned(), stat }));
                }
            }
        }
        Ok(None)
    }

    /// What they show in the directory `path`; nothing, if it is none.
    pub(crate) fn names(&self, path: &Path) -> Result<Vec<OsString>, CallError> {
        let mut seen = HashSet::new();
        let mut shown = Vec::new();
        for directory in self.merged(path)? {
            for name in disk::names(&directory).during("readdir", path.display())? {
                // The topmost that has the name decides whether it is shown.
                if seen.insert(name.clone())
                    && stat(&directory, &name)?.is_some_and(|stat| !whiteout::is_whiteout(&directory, &name, &stat))
                {
                    shown.push(name);
                }
            }
        }
        shown.sort_unstable();
        Ok(shown)
    }

    /// The directories that together make up the directory `path`, topmost first.
    fn merged(&self, path: &Path) -> Result<Vec<OwnedFd>, CallError> {
        let mut directories = Vec::new();
        for layer in &self.layers {
            let (directory, hides) = part_of(layer, path)?;
            directories.extend(directory);
            if hides {
                break;
            }
        }
        Ok(directories)
    }
}

/// What one layer adds to the directory `path`, and whether it hides what the layers below it would add.
fn part_of(layer: &Path, path: &Path) -> Result<(Option<OwnedFd>, bool), CallError> {
    let top = Root::open(layer)?;
    let mut directory = disk::open_directory(top.as_fd(), OsStr::new(".")).during("open", layer.display())?;
    let mut hides = whiteout::is_opaque(&directory);
    for part in path {
        match stat(&directory, part)? {
            None => return Ok((None, hides)),
            Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                directory = disk::open_directory(directory.as_fd(), part).during("open", path.display())?;
                hides = hides || whiteout::is_opaque(&directory);
            }
            // A whiteout; or a file or a link, where a directory would have to be.
            Some(_) => return Ok((None, true)),
        }
    }
    Ok((Some(directory), hides))
}

impl Shown {
    pub(crate) fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Opens it, if it is a regular file.
    pub(crate) fn open(&self) -> Result<File, CallError> {
        open_file(&self.parent, &self.name)
    }
}

/// Opens a regular file to read it, and nothing that a link points to.
pub(crate) fn open_file(parent: impl AsFd, name: &OsStr) -> Result<File, CallError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map(File::from).during("open", name.display())
}

/// What is at a name, itself and not what it links to; `None` for nothing.
pub(crate) fn stat(parent: impl AsFd, name: &OsStr) -> Result<Option<Stat>, CallError> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        result => result.map(Some).during("stat", name.display()),
    }
}
