//! From an overlay's upper directory back to an archive: what `commit` and every build step need.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{FileType, Mode, OFlags};

use crate::attributes::read_xattrs;
use crate::below::Lower;
use crate::changes::{Seen, is_opaque, visit_changes};
use crate::digest::DiffId;
use crate::disk::{self, Found};
use crate::error::{Error, Result};
use crate::hashing::Hasher;
use crate::member::LONGEST_PATH;
use crate::tarball::{Attributes, Tarball};
use crate::whiteout;

/// An archive that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diff {
    /// The archive's digest.
    pub diff_id: DiffId,
    /// The archive's bytes.
    pub size: u64,
}

/// Writes what `upper` changes against the layers `lower` (topmost first) as an uncompressed archive.
///
/// One tree gives one archive: names in the order of their bytes, no names of users, no access times, and PAX records
/// only where a header has no room. Times keep their nanoseconds, so that the tree that comes back is the one that
/// was (Docker and containerd cut them off). Hard links stay hard links, capabilities, lists of access and `user.`
/// attributes travel, whiteouts take their archive form.
///
/// # Errors
/// Those of reading the tree, and [`Error::Write`].
///
/// # References
/// OCI image specification, layer.md, "Creating"
pub fn diff(upper: &Root, lower: &[PathBuf], out: impl Write) -> Result<Diff> {
    let lower = Lower::open(lower)?;
    let mut writing = Writing::new(out);
    visit_changes(upper, &lower, &mut |found, seen| match seen {
        Seen::Whiteout => writing.empty(&whiteout::archive_name(found.path)),
        Seen::File | Seen::Directory => writing.member(found),
        Seen::Opaque => {
            writing.member(found)?;
            writing.empty(&whiteout::opaque_name(found.path))
        }
    })?;
    writing.finish()
}

/// Writes a layer as it lies in the store, on its own: every whiteout and every opaque mark, whether it hides anything
/// or not. Two stores that hold the same layer write the same archive.
///
/// # Errors
/// Those of [`diff`].
pub fn archive_layer(layer: &Root, out: impl Write) -> Result<Diff> {
    let mut writing = Writing::new(out);
    disk::walk(layer, &mut |found| match FileType::from_raw_mode(found.stat.st_mode) {
        FileType::Socket => Ok(()),
        FileType::CharacterDevice | FileType::RegularFile
            if whiteout::is_whiteout(found.parent, found.name, &found.stat) =>
        {
            writing.empty(&whiteout::archive_name(found.path))
        }
        FileType::Directory if is_opaque(found) => {
            writing.member(found)?;
            writing.empty(&whiteout::opaque_name(found.path))
        }
        _ => writing.member(found),
    })?;
    writing.finish()
}

/// The number of bytes and the diff id that [`diff`] would write.
///
/// # Errors
/// Those of reading the tree.
pub fn diff_size(upper: &Root, lower: &[PathBuf]) -> Result<Diff> {
    diff(upper, lower, io::sink())
}

/// An archive of files being written, with its digest.
pub(crate) struct Writing<W> {
    tarball: Tarball<HashingWriter<W>>,
    /// Of each file with several names, the one that is written.
    first_names: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Writing<W> {
    pub(crate) fn new(out: W) -> Self {
        let tarball = Tarball::new(HashingWriter { inner: out, hasher: Hasher::new() });
        Self { tarball, first_names: HashMap::new() }
    }

    /// Writes the end mark; the archive's name.
    pub(crate) fn finish(self) -> Result<Diff> {
        let mut out = self.tarball.finish().map_err(Error::Write)?;
        out.flush().map_err(Error::Write)?;
        let size = out.hasher.size();
        Ok(Diff { diff_id: DiffId(out.hasher.finish()), size })
    }

    /// Writes that these are gone.
    pub(crate) fn whiteouts(&mut self, gone: Option<&Vec<PathBuf>>) -> Result<()> {
        gone.into_iter().flatten().try_for_each(|path| self.empty(&whiteout::archive_name(path)))
    }

    fn empty(&mut self, path: &Path) -> Result<()> {
        self.tarball.empty_file(path).map_err(Error::Write)
    }

    /// Writes one file, directory, link or device.
    pub(crate) fn member(&mut self, found: &Found<'_>) -> Result<()> {
        if found.path.as_os_str().len() > LONGEST_PATH {
            let reason = format!("its path is longer than {LONGEST_PATH} bytes, and nobody could extract it");
            return Err(CallError::refused("archive", found.name.display(), reason).into());
        }
        let stat = &found.stat;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut attributes = Attributes::of(stat);
        if stat.st_nlink > 1 && kind != FileType::Directory {
            if let Some(first) = self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                return self.tarball.hard_link(found.path, first, &attributes).map_err(Error::Write);
            }
            self.first_names.insert((stat.st_dev, stat.st_ino), found.path.to_owned());
        }
        attributes.xattrs = read_xattrs(found.parent, found.name).during("listxattr", found.path.display())?;
        let written = match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(found.parent, found.name, flags, Mode::empty());
                let file = File::from(file.during("open", found.path.display())?);
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.tarball.file(found.path, size, &attributes, file)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new());
                let target = target.during("readlink", found.path.display())?;
                self.tarball.symlink(found.path, target.as_bytes(), &attributes)
            }
            FileType::Directory => self.tarball.directory(found.path, &attributes),
            FileType::CharacterDevice => {
                self.tarball.device(found.path, tar::EntryType::Char, stat.st_rdev, &attributes)
            }
            FileType::BlockDevice => self.tarball.device(found.path, tar::EntryType::Block, stat.st_rdev, &attributes),
            _ => self.tarball.device(found.path, tar::EntryType::Fifo, 0, &attributes),
        };
        written.map_err(Error::Write)
    }
}

/// Hashes what passes through it.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
