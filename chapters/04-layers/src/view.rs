//! Layers side by side: what each of them says about a path, and who is heard.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use process::During as _;
use rootfs::Root;
use rustix::fs::{FileType, Stat};

use crate::below::Lower;
use crate::disk::{self, Found};
use crate::error::Result;
use crate::whiteout;

/// What one layer has at a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cell {
    /// Nothing: ask the next one below.
    #[default]
    Silent,
    /// A file.
    File,
    /// A link.
    Link,
    /// A directory, through which those below are seen.
    Directory,
    /// A directory that hides what those below have in it.
    Opaque,
    /// A whiteout: it is gone.
    Whiteout,
    /// A device, a FIFO, a socket.
    Node,
}

/// One path, in all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The path below the root.
    pub path: PathBuf,
    /// What each layer says, topmost first.
    pub cells: Vec<Cell>,
    /// Whose word counts: the layer whose file is seen, or, for a directory, the one that gives it mode and owner. `None` if
    /// nothing is seen.
    pub seen: Option<usize>,
}

/// Looks at layers, topmost first, as one stack. The rows are in the order of their paths.
///
/// # Errors
/// Those of reading the layers.
pub fn side_by_side(layers: &[PathBuf]) -> Result<Vec<Row>> {
    let mut found: BTreeMap<PathBuf, Vec<(Cell, Inode)>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        disk::walk::<crate::Error>(&Root::open(layer)?, &mut |here| {
            let row = found.entry(here.path.to_owned()).or_insert_with(|| vec![Default::default(); layers.len()]);
            row[index] = (cell(here)?, inode(&here.stat));
            Ok(())
        })?;
    }
    let stack = Lower::open(layers)?;
    let row = |(path, row): (PathBuf, Vec<(Cell, Inode)>)| {
        let shown = stack.find(&path)?.map(|shown| inode(&shown.stat));
        let seen = row.iter().position(|(cell, inode)| *cell != Cell::Silent && Some(*inode) == shown);
        Ok(Row { path, cells: row.into_iter().map(|(cell, _)| cell).collect(), seen })
    };
    found.into_iter().map(row).collect()
}

/// Device and number.
type Inode = (u64, u64);

fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

fn cell(found: &Found<'_>) -> Result<Cell> {
    if whiteout::is_whiteout(found.parent, found.name, &found.stat) {
        return Ok(Cell::Whiteout);
    }
    Ok(match FileType::from_raw_mode(found.stat.st_mode) {
        FileType::RegularFile => Cell::File,
        FileType::Symlink => Cell::Link,
        FileType::Directory if is_opaque(found.parent.as_fd(), found.name, found.path)? => Cell::Opaque,
        FileType::Directory => Cell::Directory,
        _ => Cell::Node,
    })
}

fn is_opaque(parent: std::os::fd::BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<bool> {
    Ok(whiteout::is_opaque(disk::open_directory(parent, name).during("open", path.display())?))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Silent => "",
            Self::File => "file",
            Self::Link => "link",
            Self::Directory => "dir",
            Self::Opaque => "opaque",
            Self::Whiteout => "whiteout",
            Self::Node => "node",
        })
    }
}
