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
//! `init/` is a layer of its own so that `upper/` holds the container's own changes and nothing else: that
//! is what `diff`, `commit` and a build's next layer are made of.

use std::path::{Path, PathBuf};

use layers::{Change, Overlay, Snapshots};
use process::CallError;
use rootfs::Root;
use rustix::fs::Mode;

use crate::error::{Error, Result, While as _};
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

    /// What the container's own init mounts as its root.
    pub(crate) fn overlay(&self) -> Result<Overlay> {
        let mut lower = vec![self.directory.join("init")];
        lower.extend(self.image()?);
        let upper_work = Some((self.directory.join("upper"), self.directory.join("work")));
        Ok(Overlay { lower, upper_work, ..Overlay::default() })
    }

    /// Makes `init/` in a mount that nobody else ever sees, and calls `furnish` with it.
    ///
    /// The mount is needed to resolve paths as the container will: `/var/run/x` may lead through a link of the image.
    pub(crate) fn furnish(&self, furnish: impl FnOnce(&Root) -> Result<()>) -> Result<()> {
        let work = self.directory.join("init-work");
        let upper_work = Some((self.directory.join("init"), work.clone()));
        let overlay = Overlay { lower: self.image()?, upper_work, ..Overlay::default() };
        overlay.prepare()?;
        furnish(&Root::from(overlay.mount()?))?;
        std::fs::remove_dir_all(&work).doing("remove", work.display())?;
        self.overlay()?.prepare()?;
        Ok(())
    }

    /// What the container has changed of its image, in the order of the paths.
    pub(crate) fn changes(&self) -> Result<Vec<Change>> {
        let upper = Root::open(&self.directory.join("upper"))?;
        // What the engine put into `init/` is there for the container, and so no change of its own.
        layers::changes(&upper, &self.overlay()?.lower).doing("compare", self.record.id.short())
    }

    /// The container's files as they are now, read-only, while it does not run.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Root) -> Result<T>) -> Result<T> {
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
