//! What an overlay's upper directory changes, against the layers below it.

use std::path::{Path, PathBuf};

use rootfs::Root;
use rustix::fs::FileType;

use crate::below::Lower;
use crate::disk::{self, Found};
use crate::error::Result;
use crate::whiteout;

/// How a path changed, with the letter that `docker diff` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `A`: it was not there.
    Added,
    /// `C`: it was there and is another one, or something below it changed.
    Changed,
    /// `D`: it is gone.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path, absolute inside the container.
    pub path: PathBuf,
    /// How it changed.
    pub kind: ChangeKind,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", self.path.display())
    }
}

/// The changes in `upper` against the layers `lower` (topmost first), in the order of their paths.
///
/// # Errors
/// Those of the file system.
pub fn changes(upper: &Root, lower: &[PathBuf]) -> Result<Vec<Change>> {
    let lower = Lower::open(lower)?;
    let mut changes = Vec::new();
    visit_changes(upper, &lower, &mut |found, seen| {
        let there = lower.has(found.path)?;
        let path = Path::new("/").join(found.path);
        match (seen, there) {
            (Seen::Whiteout, _) => changes.push(Change { path, kind: ChangeKind::Deleted }),
            (_, true) => changes.push(Change { path, kind: ChangeKind::Changed }),
            (_, false) => changes.push(Change { path, kind: ChangeKind::Added }),
        }
        Ok(())
    })?;
    Ok(changes)
}

/// What the walk over an upper directory found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A file, a link, a device.
    File,
    /// A directory through which the layers below are seen.
    Directory,
    /// A directory that hides what the layers below have in the same place.
    Opaque,
    /// Something below is gone.
    Whiteout,
}

/// Visits everything in `upper` that means a change.
///
/// overlayfs notes more than it must: a new directory may be marked opaque although nothing is below it,
/// and a file made and removed again may leave a whiteout of nothing. Such notes say nothing about the
/// container, depend on the kernel's version, and would give one change two digests, so they are left out.
pub(crate) fn visit_changes(
    upper: &Root,
    lower: &Lower,
    visit: &mut dyn FnMut(&Found<'_>, Seen) -> Result<()>,
) -> Result<()> {
    disk::walk(upper, &mut |found| {
        let seen = match FileType::from_raw_mode(found.stat.st_mode) {
            // A socket means nothing without the process that made it.
            FileType::Socket => return Ok(()),
            FileType::CharacterDevice | FileType::RegularFile
                if whiteout::is_whiteout(found.parent, found.name, &found.stat) =>
            {
                Seen::Whiteout
            }
            FileType::Directory if is_opaque(found) && lower.has_directory(found.path)? => Seen::Opaque,
            FileType::Directory => Seen::Directory,
            _ => Seen::File,
        };
        if seen == Seen::Whiteout && !lower.has(found.path)? {
            return Ok(());
        }
        visit(found, seen)
    })
}

/// Whether a directory hides what lies below it.
pub(crate) fn is_opaque(found: &Found<'_>) -> bool {
    disk::open_directory(found.parent, found.name).is_ok_and(whiteout::is_opaque)
}
