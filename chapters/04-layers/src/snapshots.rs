//! The store of extracted layers: each once, by diff id, whole or not there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use process::state::{Lock, read_json_if_there, write_json};
use process::{During, step};
use rootfs::Root;
use serde::{Deserialize, Serialize};

use crate::apply::{Applied, ApplyOptions, apply};
use crate::compression::decompress;
use crate::digest::{DiffId, Digest};
use crate::disk;
use crate::error::{Error, Result};
use crate::hashing::HashingReader;

/// Extracted layers in a directory.
///
/// ```text
/// DIR/sha256/HEX/fs/          the layer's files, in overlayfs's own form, ready to be a lowerdir
/// DIR/sha256/HEX/layer.json   what was noted while it was extracted
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
}

impl LayerNote {
    fn of(applied: &Applied) -> Self {
        Self {
            size: applied.bytes,
            owners_ignored: applied.owners_ignored,
            devices_skipped: applied.devices_skipped,
            xattrs_skipped: applied.xattrs_skipped,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Snapshots {
    /// Opens the store in `dir`, making it (mode 0700) if it is missing, and sweeps what a crash left behind.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let snapshots = Self { dir: dir.into() };
        for sub in ["sha256", "sha512", "tmp"] {
            let path = snapshots.dir.join(sub);
            // Others may not even look: a layer may hold a setuid program that its host never meant to have.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).during("mkdir", path.display())?;
        }
        snapshots.sweep()?;
        Ok(snapshots)
    }

    /// Whether the layer is here, whole.
    pub fn has(&self, layer: &DiffId) -> bool {
        self.home(layer).join("layer.json").exists()
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
        let options = ApplyOptions::default();
        let staging = self.stage()?;
        let files = Root::open(&staging.files())?;

        let archive = decompress(archive, options.limits.bytes).map_err(Error::Read)?;
        let mut archive = HashingReader::like(archive, &layer.0);
        let applied = apply(&mut archive, &files, &options)?;
        // An archive may go on after its end mark, and the diff id covers that too.
        io::copy(&mut archive, &mut io::sink()).map_err(Error::Read)?;

        let found = DiffId(archive.finish().0);
        if found != *layer {
            return Err(Error::DiffId { expected: Box::new(*layer), found: Box::new(found) });
        }
        self.commit(staging, layer, &LayerNote::of(&applied))
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
        let staging = self.stage()?;
        let files = staging.files();
        fs::remove_dir(&files).during("rmdir", files.display())?;
        fs::rename(dir, &files).during("rename", dir.display())?;
        self.commit(staging, layer, &note)
    }

    /// Forgets a layer. Not being there is fine.
    ///
    /// It is moved aside first: whoever looks sees the whole layer or none, and a crash leaves work for the next sweep.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, layer: &DiffId) -> Result<()> {
        let home = self.home(layer);
        let staging = self.stage()?;
        let aside = staging.path.join("removed");
        match fs::rename(&home, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => Ok(result.during("rename", home.display())?),
        }
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
        match read_json_if_there(&self.home(layer).join("layer.json"))? {
            Some(note) => Ok(note),
            None => Err(Error::NoLayer(*layer)),
        }
    }

    fn home(&self, layer: &DiffId) -> PathBuf {
        self.dir.join(layer.0.algorithm()).join(layer.0.hex())
    }

    /// A new directory for a layer under way.
    fn stage(&self) -> Result<Staging> {
        let tmp = self.dir.join("tmp");
        // Shared with other writers: between a directory's birth and its lock, no sweep may come.
        let _birth = Lock::shared(&self.dir.join(".sweep"))?;
        let path = tempfile::tempdir_in(&tmp).during("mkdir", tmp.display())?.keep();
        let lock = File::open(&path).during("open", path.display())?;
        lock.lock().during("flock", path.display())?;
        let staging = Staging { path, lock };
        let files = staging.files();
        fs::create_dir(&files).during("mkdir", files.display())?;
        // Not left to the umask: this is the layer's `/`.
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755)).during("chmod", files.display())?;
        Ok(staging)
    }

    /// Makes a staged layer visible.
    ///
    /// All its bytes reach the disk before its name does: one `syncfs` is as good as an fsync of each of ten thousand
    /// files, and much faster. The rename is the commit; a power cut before it leaves nothing but work for the sweep.
    ///
    /// # References
    /// syncfs(2), rename(2)
    fn commit(&self, staging: Staging, layer: &DiffId, note: &LayerNote) -> Result<()> {
        write_json(&staging.path.join("layer.json"), note)?;
        let home = self.home(layer);
        step!(4, "syncfs", "syncfs(2)", "have the whole layer on disk before its name", "{}", home.display());
        rustix::fs::syncfs(&staging.lock).during("syncfs", staging.path.display())?;
        step!(4, "rename", "rename(2)", "commit the layer", "{}", home.display());
        match fs::rename(&staging.path, &home) {
            Ok(()) => {}
            // Somebody extracted the same layer at the same time and was first. Theirs is as good.
            Err(_) if self.has(layer) => return Ok(()),
            Err(error) => return Err(error).during("rename", home.display())?,
        }
        let parent = home.parent().unwrap_or(&self.dir);
        Ok(File::open(parent).and_then(|dir| dir.sync_all()).during("fsync", parent.display())?)
    }

    /// Removes layers under way whose writers are gone: their locks went with them.
    fn sweep(&self) -> Result<()> {
        let gate = self.dir.join(".sweep");
        let gate =
            File::options().write(true).create(true).truncate(false).open(&gate).during("open", gate.display())?;
        if let Err(TryLockError::WouldBlock) = gate.try_lock() {
            // Somebody is just making one. Sweeping can wait for the next time.
            return Ok(());
        }
        let tmp = self.dir.join("tmp");
        for entry in fs::read_dir(&tmp).during("readdir", tmp.display())? {
            let path = entry.during("readdir", tmp.display())?.path();
            if File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok()) {
                // What cannot be removed must not keep every command from opening the store; the next sweep tries again.
                let _ = disk::remove_all(&path);
            }
        }
        Ok(())
    }
}

/// A layer under way. Dropped, it is removed, unless it was renamed away by then.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    lock: File,
}

impl Staging {
    fn files(&self) -> PathBuf {
        self.path.join("fs")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit it is not there; after a failure that one is worth more than this; the sweep comes anyway.
        let _ = disk::remove_all(&self.path);
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
