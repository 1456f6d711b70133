//! A layer in the making.
//!
//! What COPY, ADD and WORKDIR change is caught exactly as what a container changes is: by the
//! upper directory of an overlay on the chain of layers so far. The overlay is mounted *nowhere*
//! ([`layers::Overlay::mount`] gives a descriptor), so the building machine's mount table never
//! sees it and a crash can leave no mount behind.
//!
//! ```text
//!   chain of layers ──lower──┐
//!                            ├─ overlay (a descriptor) ── rootfs::Root: write here
//!   upper/ (empty)  ──upper──┘
//!        └── diff ── tar ── gzip ── blob of the image store       [Layer]
//!        └── rename ── snapshots, as the diff id                  no file is written twice
//! ```

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use containers::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use images::{Descriptor, media};
use jiff::Timestamp;
use layers::fuse::Keeper;
use layers::{DiffId, Overlay, Stacked, Stacking};
use rootfs::Root;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::Error;

/// A layer that is in both stores: as files, and as a compressed archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of its archive, not compressed: its name among the snapshots.
    pub diff_id: DiffId,
    /// The compressed archive, as a manifest names it.
    pub blob: Descriptor,
}

/// An overlay on a chain of layers, to be written into.
#[derive(Debug)]
pub struct Draft {
    root: Stacked,
    // Last, so that the overlay is let go before its directories are removed.
    changes: layers::Draft,
}

impl Draft {
    /// Stacks `chain`, lowest first, below a fresh upper directory.
    ///
    /// # Errors
    /// Those of making directories and of mounting.
    pub fn open(engine: &Engine, chain: &[DiffId]) -> Result<Draft, Error> {
        let changes = engine.snapshots().prepare(chain).map_err(|error| Error::engine("prepare a layer", error))?;
        let root = changes.open().map_err(|error| Error::engine("prepare a layer", error))?;
        Ok(Draft { root, changes })
    }

    /// The root as the image would have it now.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Makes a layer of what was written.
    ///
    /// # Errors
    /// Those of reading the upper directory and of writing to the stores.
    pub fn commit(self, engine: &Engine, epoch: Option<Timestamp>) -> Result<Layer, Error> {
        let Draft { root, changes } = self;
        // The overlay must be gone before its upper directory moves.
        drop(root);
        changes.settle().map_err(|error| Error::engine("gather a layer's changes", error))?;
        keep(engine, changes.upper(), changes.lower(), epoch)
    }
}

/// The directories of a chain, topmost first, as overlayfs wants them.
///
/// # Errors
/// A layer that is not there.
pub fn lower(engine: &Engine, chain: &[DiffId]) -> Result<Vec<PathBuf>, Error> {
    engine.snapshots().stack(chain).map_err(|error| Error::engine("stack the layers", error))
}

/// What a root to read from needs. Let go of the root first.
#[derive(Debug)]
pub struct Held {
    _keeper: Option<Keeper>,
    _place: Option<TempDir>,
}

/// A root made of a chain to read from; what is written into it reaches no layer.
///
/// # Errors
/// Those of mounting.
pub fn read_only(engine: &Engine, chain: &[DiffId]) -> Result<(Root, Held), Error> {
    let during = |error| Error::engine("open a stage's files", error);
    match lower(engine, chain)?.as_slice() {
        [] => {
            let empty = work_directory(engine)?;
            Ok((Root::open(empty.path()).map_err(during)?, Held { _keeper: None, _place: Some(empty) }))
        }
        // An overlay needs two layers to be read-only; one alone can be read as it is, except
        // that its whiteouts would show: nothing lies below, so there is nothing to hide.
        [one] => Ok((Root::open(one).map_err(during)?, Held { _keeper: None, _place: None })),
        many => {
            let place = work_directory(engine)?;
            let upper_work = Some((place.path().join("upper"), place.path().join("work")));
            let overlay = Overlay { lower: many.to_vec(), upper_work, ..Overlay::default() };
            overlay.prepare().map_err(during)?;
            let (_, tree) =
                Stacking::first_that_works(&overlay).map_err(|error| Error::engine("open a stage's files", error))?;
            let (root, keeper) = tree.into_parts();
            Ok((root, Held { _keeper: keeper, _place: Some(place) }))
        }
    }
}

/// Makes a layer of an upper directory: writes its archive, then moves the directory itself among
/// the snapshots. Archive first: what is under its final name there must be complete.
///
/// # Errors
/// Those of reading `upper` and of writing to the stores.
pub fn keep(engine: &Engine, upper: &Path, lower: &[PathBuf], epoch: Option<Timestamp>) -> Result<Layer, Error> {
    if let Some(epoch) = epoch {
        crate::epoch::clamp(upper, epoch).map_err(|error| Error::engine("clamp times to SOURCE_DATE_EPOCH", error))?;
    }
    let root = Root::open(upper).map_err(|error| Error::engine("open the upper directory", error))?;
    let blob = engine.store().writer().map_err(|error| Error::engine("write a layer", error))?;
    // Level 6 and no name, no time: the same files give the same bytes.
    let mut archive = GzEncoder::new(blob, Compression::default());
    let diff = layers::diff(&root, lower, &mut archive).map_err(|error| Error::engine("archive a layer", error))?;
    let blob = archive.finish().map_err(|error| Error::engine("compress a layer", error))?;
    let (digest, size) = blob.commit(None).map_err(|error| Error::engine("write a layer", error))?;
    let snapshots = engine.snapshots();
    if !snapshots.has(&diff.diff_id) {
        snapshots.adopt(&diff.diff_id, upper).map_err(|error| Error::engine("keep a layer", error))?;
    }
    Ok(Layer { diff_id: diff.diff_id, blob: Descriptor::new(media::OCI_LAYER_GZIP, digest, size) })
}

/// Unpacks an archive of the context as if it were a layer: same checks, same bounds.
///
/// # Errors
/// A hostile or damaged archive.
pub fn unpack(archive: File, into: &Root) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let plain: Box<dyn Read> = layers::decompress(archive, MAX_UNPACKED)?;
    layers::apply(plain, into, &layers::ApplyOptions::default())?;
    Ok(())
}

/// No archive that ADD unpacks may give more bytes than this.
const MAX_UNPACKED: u64 = 64 << 30;

/// A directory of this build alone, on the file system of the snapshots so that layers can be
/// renamed into them, and gone when the build lets go of it.
fn work_directory(engine: &Engine) -> Result<TempDir, Error> {
    let parent = engine.paths().data.join("build").join("work");
    let make = || {
        std::fs::create_dir_all(&parent)?;
        tempfile::Builder::new().prefix("layer-").tempdir_in(&parent)
    };
    make().map_err(|error| Error::engine(format!("mkdir in {}", parent.display()), error))
}
