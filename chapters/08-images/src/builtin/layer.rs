//! A layer made of files that this program names, not of a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use layers::{Attributes, Tarball};
use process::{CallError, During};

/// One file of a layer. Paths are keys of a map, so the archive is in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Directory {
        mode: u32,
    },
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    /// A file with the content of one of this machine's.
    Copy {
        from: PathBuf,
        mode: u32,
    },
    Symlink {
        to: String,
    },
}

/// Writes the layer. Everything belongs to root and is of 1970, so the bytes depend on names and contents alone.
///
/// # Errors
/// Reading a file, or writing the archive.
pub(super) fn write(files: &BTreeMap<String, Entry>, out: impl Write) -> Result<(), CallError> {
    let mut tarball = Tarball::new(io::BufWriter::with_capacity(1 << 20, out));
    for (path, entry) in files {
        add(&mut tarball, Path::new(path), entry)?;
    }
    let mut out = tarball.finish().during("write", "layer")?;
    out.flush().during("write", "layer")
}

fn add(tarball: &mut Tarball<impl Write>, path: &Path, entry: &Entry) -> Result<(), CallError> {
    let added = match entry {
        Entry::Directory { mode } => tarball.directory(path, &Attributes::plain(*mode)),
        Entry::File { bytes, mode } => tarball.file(path, bytes.len() as u64, &Attributes::plain(*mode), &bytes[..]),
        Entry::Symlink { to } => tarball.symlink(path, to.as_bytes(), &Attributes::plain(0o777)),
        Entry::Copy { from, mode } => {
            let file = File::open(from).during("open", from.display())?;
            let size = file.metadata().during("stat", from.display())?.len();
            tarball.file(path, size, &Attributes::plain(*mode), file)
        }
    };
    added.during("write to the layer", path.display())
}
