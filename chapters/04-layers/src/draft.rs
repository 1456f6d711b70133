//! A layer in the making: a stack of layers, and a directory that takes what is written over it.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

use rootfs::Root;

use crate::diff::{Diff, diff};
use crate::error::Result;
use crate::overlay::{Durability, Overlay};
use crate::snapshots::Snapshots;
use crate::stacking::{Stacked, Stacking};
use crate::staging::Staging;

/// Changes under way over a stack of layers. Dropped, they are gone; [`Snapshots::keep`] makes them a layer.
#[derive(Debug)]
pub struct Draft {
    overlay: Overlay,
    upper: PathBuf,
    /// The way in which it was opened.
    stacking: Cell<Stacking>,
    // Last, so that it is removed when nothing above it is needed any more.
    _staging: Staging,
}

impl Draft {
    pub(crate) fn new(staging: Staging, lower: Vec<PathBuf>) -> Result<Self> {
        let upper = staging.path().join("upper");
        let overlay = Overlay {
            lower,
            upper_work: Some((upper.clone(), staging.path().join("work"))),
            // After a crash nobody wants what was half changed; before the commit all of it is synced at once.
            durability: Durability::Volatile,
        };
        overlay.prepare()?;
        Ok(Self { overlay, upper, stacking: Cell::default(), _staging: staging })
    }

    /// The layers below, topmost first.
    pub fn lower(&self) -> &[PathBuf] {
        &self.overlay.lower
    }

    /// The directory that takes the changes.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// The tree to change. Where nothing lies below, that is the upper directory itself. Let go of it before the commit.
    ///
    /// # Errors
    /// Those of [`Stacking::first_that_works`].
    pub fn open(&self) -> Result<Stacked> {
        if self.overlay.lower.is_empty() {
            return Ok(Stacked::from(Root::open(&self.upper)?));
        }
        let (choice, tree) = Stacking::first_that_works(&self.overlay)?;
        self.stacking.set(choice.stacking);
        Ok(tree)
    }

    /// Has [`upper`](Self::upper) hold all changes, whatever stood in for overlayfs.
    ///
    /// # Errors
    /// Those of [`Stacking::settle`].
    pub fn settle(&self) -> Result<()> {
        self.stacking.get().settle(&self.overlay)
    }
}

impl Snapshots {
    /// Makes a layer of what was changed: writes its archive to `out`, and moves the files themselves into the store.
    ///
    /// # Errors
    /// Those of [`diff()`] and [`adopt`](Self::adopt).
    pub fn keep(&self, draft: &Draft, out: impl Write) -> Result<Diff> {
        draft.settle()?;
        let made = diff(&Root::open(&draft.upper)?, draft.lower(), out)?;
        self.adopt(&made.diff_id, &draft.upper)?;
        Ok(made)
    }
}
