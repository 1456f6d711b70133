//! A container's layers, and looking into them without running anything.
//!
//! ```text
//!   upper/   what the container changes
//!   init/    what the engine put there: mount points, the working directory
//!   layer n  the image
//!   ...
//!   layer 1
//! ```
//!
//! Where the kernel has no overlayfs for us, chapter 4 says what stands in for it; that is noted in the container's record.
//!
//! `init/` is a layer of its own so that `upper/` holds the container's own changes and nothing else: that
//! is what `diff`, `commit` and a build's next layer are made of.

use std::path::{Path, PathBuf};

use layers::fuse::{self, Keeper};
use layers::{Change, Overlay, Snapshots, Stacking, copied};
use process::CallError;
use rootfs::Root;
use runtime::RootSource;
use rustix::fs::Mode;

use crate::error::{Error, Result, While as _};
use crate::own_ids;
use crate::record::{Container, Record};

/// The layers of one container.
pub(crate) struct Stack<'a> {
    directory: PathBuf,
    record: &'a Record,
    snapshots: &'a Snapshots,
}

impl<'a> Stack<'a> {
    pub(crate) fn of(container: &'a Container, snapshots: &'a Snapshots) -> Self {
        Self { directory: container.directory(), record: &container.record, snapshots }
    }

    /// The image's layers, topmost first.
    fn image(&self) -> Result<Vec<PathBuf>> {
        let missing = self.record.layers.iter().find(|layer| !self.snapshots.has(layer));
        if let Some(layer) = missing {
            let reason = format!("its layer {} is not here: pull or build the image again", layer.0.short());
            return Err(Error::bad("container", self.record.id.short(), reason));
        }
        if self.record.layers.is_empty() {
            return Err(Error::bad("image", &self.record.options.image, "it has no layer, so there is nothing to run"));
        }
        self.snapshots.stack(&self.record.layers).doing("stack", "the layers")
    }

    /// What the container's root is made of, and who has to live as long as it is needed.
    pub(crate) fn source(&self) -> Result<(RootSource, Option<Keeper>)> {
        let overlay = self.overlay()?;
        if let Some(maps) = &self.record.options.id_maps {
            if self.record.stacking != Stacking::Overlay {
                let reason = "layers whose ids are mapped are stacked by the kernel, and here it does not";
                return Err(Error::bad("--uidmap", self.record.id.short(), reason));
            }
            return Ok((RootSource::Mounted(own_ids::stacked(&overlay, maps)?.into()), None));
        }
        Ok(match self.record.stacking {
            // Init mounts it itself, in its own mount namespace.
            Stacking::Overlay => (RootSource::Overlay(overlay), None),
            Stacking::FuseOverlayfs => {
                let (mount, keeper) = fuse::mount(&overlay).doing("stack", "the layers")?;
                (RootSource::Mounted(mount.into()), Some(keeper))
            }
            Stacking::Copy => (RootSource::Directory(copied::tree(&overlay).doing("stack", "the layers")?), None),
        })
    }

    /// The same as layers, topmost first.
    pub(crate) fn overlay(&self) -> Result<Overlay> {
        let mut lower = vec![self.directory.join("init")];
        lower.extend(self.image()?);
        let upper_work = Some((self.directory.join("upper"), self.directory.join("work")));
        Ok(Overlay { lower, upper_work, ..Overlay::default() })
    }

    /// Makes `init/` in a mount that nobody else ever sees, and calls `furnish` with it. Tells how layers are stacked here.
    ///
    /// The mount is needed to resolve paths as the container will: `/var/run/x` may lead through a link of the image.
    pub(crate) fn furnish(&self, furnish: impl FnOnce(&Root) -> Result<()>) -> Result<Stacking> {
        let work = self.directory.join("init-work");
        let upper_work = Some((self.directory.join("init"), work.clone()));
        let overlay = Overlay { lower: self.image()?, upper_work, ..Overlay::default() };
        overlay.prepare()?;
        let (choice, tree) = Stacking::first_that_works(&overlay).doing("stack", "the layers")?;
        furnish(&tree)?;
        drop(tree);
        choice.stacking.settle(&overlay).doing("stack", "the layers")?;
        match choice.stacking {
            // The copy of the image, furnished as it is now, becomes the container's.
            Stacking::Copy => {
                let lasting = self.directory.join("work");
                std::fs::rename(&work, &lasting).doing("rename", lasting.display())?;
            }
            _ => std::fs::remove_dir_all(&work).doing("remove", work.display())?,
        }
        self.overlay()?.prepare()?;
        Ok(choice.stacking)
    }

    /// What the container has changed of its image, in the order of the paths.
    pub(crate) fn changes(&self) -> Result<Vec<Change>> {
        let upper = Root::open(&self.upper()?)?;
        // What the engine put into `init/` is there for the container, and so no change of its own.
        layers::changes(&upper, &self.overlay()?.lower).doing("compare", self.record.id.short())
    }

    /// Writes what the container has changed as a layer's archive.
    pub(crate) fn archive_changes(&self, out: impl std::io::Write) -> Result<()> {
        let upper = Root::open(&self.upper()?)?;
        layers::diff(&upper, &self.overlay()?.lower, out).doing("archive", self.record.id.short())?;
        Ok(())
    }

    /// The directory of what it has changed, in overlayfs's own form.
    pub(crate) fn upper(&self) -> Result<PathBuf> {
        // The kernel's way needs nothing; nor does it need the image's layers to be there.
        if self.record.stacking != Stacking::Overlay {
            self.record.stacking.settle(&self.overlay()?).doing("gather the changes of", self.record.id.short())?;
        }
        Ok(self.directory.join("upper"))
    }

    /// The container's files as they are now, while it does not run. Nothing is to be written to them.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Root) -> Result<T>) -> Result<T> {
        if self.record.stacking != Stacking::Overlay {
            let tree = self.record.stacking.open(&self.overlay()?).doing("stack", "the layers")?;
            return look(&tree);
        }
        let mut lower = vec![self.directory.join("upper")];
        lower.extend(self.overlay()?.lower);
        look(&Root::from(Overlay { lower, ..Overlay::default() }.mount()?))
    }
}

/// Makes what a mount needs to be mounted on: a directory, or an empty file. What is there already stays.
pub(crate) fn make_target(root: &Root, target: &Path, directory: bool) -> Result<(), CallError> {
    let target = target.strip_prefix("/").unwrap_or(target);
    if directory {
        return root.mkdir_all(target, Mode::from_raw_mode(0o755)).map(drop);
    }
    if let Some(parent) = target.parent() {
        root.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
    }
    match root.create_file(target, Mode::from_raw_mode(0o644)) {
        // A file, or a link that may lead to one: chapter 3 decides when it mounts, inside the root in any case.
        Err(error) if error.errno() == nix::errno::Errno::EEXIST => Ok(()),
        made => made.map(drop),
    }
}
