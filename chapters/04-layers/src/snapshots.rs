//! The store of extracted layers: each once, by diff id, whole or not there.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use process::state::{read_json_if_there, write_json};
use process::{During, step};
use rootfs::Root;
use serde::{Deserialize, Serialize};

use crate::apply::{Applied, ApplyOptions, Below, OpenEnds, apply};
use crate::compression::decompress;
use crate::digest::{DiffId, Digest};
use crate::disk::{self, Usage};
use crate::error::{Error, Result};
use crate::hashing::HashingReader;
use crate::staging::{self, Staging};

/// Extracted layers in a directory.
///
/// ```text
/// DIR/sha256/HEX/fs/          the layer's files, in overlayfs's own form, ready to be a lowerdir
/// DIR/sha256/HEX/layer.json   what was noted while it was extracted
/// DIR/mend/HEX/               what a layer leaves open, made for one stack and named by its chain id
/// DIR/tmp/                    layers under way; each is locked by its writer
/// ```
///
/// A layer is extracted alone, not on top of its parents: so layers of one image are extracted at the
/// same time, and two images that share any layer share its files, whatever lies below it.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
}

/// What is known about an extracted layer; `layer.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerNote {
    /// Bytes of the layer's regular files, each hard-linked file once.
    pub size: u64,
    /// Files whose owner does not exist in this user namespace.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub owners_ignored: u64,
    /// Device nodes that could not be made here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub devices_skipped: u64,
    /// Extended attributes that were not set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xattrs_skipped: u64,
    /// What depends on the layers below.
    #[serde(default, skip_serializing_if = "OpenEnds::is_empty")]
    pub open_ends: OpenEnds,
}

impl LayerNote {
    fn of(applied: Applied) -> Self {
        Self {
            size: applied.bytes,
            owners_ignored: applied.owners_ignored,
            devices_skipped: applied.devices_skipped,
            xattrs_skipped: applied.xattrs_skipped,
            open_ends: applied.open_ends,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How much of an archive is decoded at once: what a second-level cache holds beside everything else.
const BUFFER: usize = 128 << 10;

/// The file beside a layer's files that says what they are. A layer without it does not exist.
pub(crate) const NOTE: &str = "layer.json";

impl Snapshots {
    /// Opens the store in `dir`, making it (mode 0700) if it is missing, and sweeps what a crash left behind.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let snapshots = Self { dir: dir.into() };
        for sub in ["sha256", "sha512", "mend", "tmp"] {
            let path = snapshots.dir.join(sub);
            // Others may not even look: a layer may hold a setuid program that its host never meant to have.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).during("mkdir", path.display())?;
        }
        snapshots.prune()?;
        Ok(snapshots)
    }

    /// Whether the layer is here, whole.
    pub fn has(&self, layer: &DiffId) -> bool {
        self.home(layer).join(NOTE).exists()
    }

    /// The directory of the layer's files.
    pub fn dir(&self, layer: &DiffId) -> PathBuf {
        self.home(layer).join("fs")
    }

    /// Extracts an archive, compressed or not, as the layer `layer`.
    ///
    /// A layer that is here already is left alone, and `archive` is not read.
    ///
    /// # Errors
    /// A hostile or damaged archive, or one with another diff id; then nothing is kept.
    pub fn extract(&self, layer: &DiffId, archive: impl Read) -> Result<()> {
        if self.has(layer) {
            return Ok(());
        }
        let options = ApplyOptions { below: Below::Unknown, ..ApplyOptions::default() };
        let staging = Staging::new(&self.dir)?;
        let files = Root::open(&staging.files())?;

        let archive = decompress(archive, options.limits.bytes).map_err(Error::Read)?;
        // Headers are 512 bytes: read one by one, each would be a call into the decoder and one into the hash.
        let mut archive = BufReader::with_capacity(BUFFER, HashingReader::like(archive, &layer.0));
        let applied = apply(&mut archive, &files, &options)?;
        // An archive may go on after its end mark, and the diff id covers that too.
        io::copy(&mut archive, &mut io::sink()).map_err(Error::Read)?;

        let found = DiffId(archive.into_inner().finish().0);
        if found != *layer {
            return Err(Error::DiffId { expected: Box::new(*layer), found: Box::new(found) });
        }
        self.commit(staging, &self.home(layer), &LayerNote::of(applied))
    }

    /// Commits a finished directory, such as a container's upper directory, as the layer `layer`.
    ///
    /// The caller has computed the diff id from what [`diff`](crate::diff()) wrote. `dir` must be on the same file
    /// system; it is moved, not copied. If the layer is here already, `dir` is left where it is.
    ///
    /// # Errors
    /// Those of rename; `EXDEV` if the directory is elsewhere.
    pub fn adopt(&self, layer: &DiffId, dir: &Path) -> Result<()> {
        if self.has(layer) {
            return Ok(());
        }
        let note = LayerNote { size: disk::usage_below(&Root::open(dir)?)?.bytes, ..LayerNote::default() };
        let staging = Staging::new(&self.dir)?;
        let files = staging.files();
        fs::remove_dir(&files).during("rmdir", files.display())?;
        fs::rename(dir, &files).during("rename", dir.display())?;
        self.commit(staging, &self.home(layer), &note)
    }

    /// Forgets a layer. Not being there is fine.
    ///
    /// It is moved aside first: whoever looks sees the whole layer or none, and a crash leaves work for the next sweep.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, layer: &DiffId) -> Result<()> {
        for home in self.mends_of(layer)?.into_iter().chain([self.home(layer)]) {
            let staging = Staging::new(&self.dir)?;
            step!(4, "rename", "rename(2)", "take the layer's name away, all at once", "{}", home.display());
            match fs::rename(&home, staging.path().join("removed")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.during("rename", home.display())?,
            }
        }
        Ok(())
    }

    /// Every layer that is here, in order of its name.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn list(&self) -> Result<Vec<DiffId>> {
        let mut layers = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let dir = self.dir.join(algorithm);
            for entry in fs::read_dir(&dir).during("readdir", dir.display())? {
                let entry = entry.during("readdir", dir.display())?;
                let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
                if let Ok(digest) = name.parse::<Digest>() {
                    layers.push(DiffId(digest));
                }
            }
        }
        layers.sort();
        Ok(layers)
    }

    /// The layer's size in bytes, as noted when it was extracted.
    ///
    /// # Errors
    /// [`Error::NoLayer`], or a note that cannot be read.
    pub fn size(&self, layer: &DiffId) -> Result<u64> {
        Ok(self.note(layer)?.size)
    }

    /// What was noted while the layer was extracted.
    ///
    /// # Errors
    /// [`Error::NoLayer`], or a note that cannot be read.
    pub fn note(&self, layer: &DiffId) -> Result<LayerNote> {
        match read_json_if_there(&self.home(layer).join(NOTE))? {
            Some(note) => Ok(note),
            None => Err(Error::NoLayer(*layer)),
        }
    }

    /// What the layer takes on disk, counted now.
    ///
    /// # Errors
    /// [`Error::NoLayer`]; those of reading the tree.
    pub fn usage(&self, layer: &DiffId) -> Result<Usage> {
        match self.has(layer) {
            true => Ok(disk::usage_below(&Root::open(&self.dir(layer))?)?),
            false => Err(Error::NoLayer(*layer)),
        }
    }

    /// Where the store is.
    pub(crate) fn root(&self) -> &Path {
        &self.dir
    }

    fn home(&self, layer: &DiffId) -> PathBuf {
        self.dir.join(layer.0.algorithm()).join(layer.0.hex())
    }

    /// Removes what killed processes left behind, and says how much that was. [`open`](Self::open) does it too.
    ///
    /// # Errors
    /// Those of reading the directory. What cannot be removed is left for the next time.
    pub fn prune(&self) -> Result<u64> {
        Ok(staging::sweep(&self.dir)?)
    }

    /// Makes a staged layer visible.
    ///
    /// All its bytes reach the disk before its name does: one `syncfs` is as good as an fsync of each of ten thousand
    /// files, and much faster. The rename is the commit; a power cut before it leaves nothing but work for the sweep.
    ///
    /// # References
    /// syncfs(2), rename(2)
    pub(crate) fn commit<N: Serialize>(&self, staging: Staging, home: &Path, note: &N) -> Result<()> {
        step!(4, "write", "rename(2)", "note beside the files what they are", "{}", staging.path().display());
        write_json(&staging.path().join(NOTE), note)?;
        step!(4, "syncfs", "syncfs(2)", "have the whole layer on disk before its name", "{}", home.display());
        rustix::fs::syncfs(staging.lock()).during("syncfs", staging.path().display())?;
        step!(4, "rename", "rename(2)", "commit the layer", "{}", home.display());
        match fs::rename(staging.path(), home) {
            Ok(()) => {}
            // Somebody extracted the same layer at the same time and was first. Theirs is as good.
            Err(_) if home.join(NOTE).exists() => return Ok(()),
            Err(error) => return Err(error).during("rename", home.display())?,
        }
        let parent = home.parent().unwrap_or(&self.dir);
        step!(4, "fsync", "fsync(2)", "have the name itself on disk before anybody is told", "{}", parent.display());
        Ok(File::open(parent).and_then(|dir| dir.sync_all()).during("fsync", parent.display())?)
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
