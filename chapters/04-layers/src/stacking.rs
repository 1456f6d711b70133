//! How a stack of layers becomes one tree: the kernel's overlayfs, and what stands in for it where it is missing.
//!
//! ```text
//! overlay          the kernel merges            the upper directory catches changes as they happen
//! fuse-overlayfs   a program merges (FUSE)      the same, in a dialect of its own until `settle` translates it
//! copy             nobody merges: all copied    changes are found by comparing, when `settle` is asked for them
//! ```
//!
//! The first way that works on the spot is taken, and said aloud. Which one it was belongs to the upper directory for
//! good, since the next way could not read what is half written there.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::path::Path;

use process::{CallError, During, step};
use rootfs::Root;
use rustix::fs::{AtFlags, Mode, XattrFlags};
use serde::{Deserialize, Serialize};

use crate::copied;
use crate::disk;
use crate::error::Result;
use crate::fuse::{self, Keeper};
use crate::idmap::Ids;
use crate::overlay::{Durability, Overlay};
use crate::snapshots::Snapshots;
use crate::staging::Staging;
use crate::whiteout;

/// A way to make one tree of many layers. The names are those of Docker's and podman's storage drivers, but for the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stacking {
    /// The kernel's overlayfs.
    #[default]
    Overlay,
    /// The program `fuse-overlayfs`: for kernels that mount no overlay here, or not for ordinary users.
    FuseOverlayfs,
    /// A copy of all layers for each container.
    Copy,
}

/// A way that was taken, and what spoke against those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub stacking: Stacking,
    /// In words, why.
    pub reason: String,
}

/// A stack as one tree. It is there as long as this is.
#[derive(Debug)]
pub struct Stacked {
    // First, so that the tree is let go before whoever keeps it is waited for.
    root: Root,
    keeper: Option<Keeper>,
}

impl Stacked {
    /// The tree, and who has to be dropped after it.
    pub fn into_parts(self) -> (Root, Option<Keeper>) {
        (self.root, self.keeper)
    }
}

impl Deref for Stacked {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.root
    }
}

/// A directory that is a tree already.
impl From<Root> for Stacked {
    fn from(root: Root) -> Self {
        Self { root, keeper: None }
    }
}

impl Stacking {
    /// The word for it: `overlay`, `fuse-overlayfs`, `copy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::FuseOverlayfs => "fuse-overlayfs",
            Self::Copy => "copy",
        }
    }

    /// Opens a new stack, whose upper directory nobody has written to yet, in the first way that works here.
    ///
    /// The kernel's way is tried on the stack itself, so that where it works nothing else is done. The others are tried on
    /// two directories beside it, because a program that starts may still fail at the first whiteout.
    ///
    /// # Errors
    /// Those of copying, which is the last way.
    pub fn first_that_works(overlay: &Overlay) -> Result<(Choice, Stacked)> {
        let refused = match Self::Overlay.open(overlay).and_then(|stacked| marks_work(overlay).map(|()| stacked)) {
            Ok(stacked) => {
                let reason = "the kernel's own".to_owned();
                return Ok((Choice { stacking: Self::Overlay, reason }, stacked));
            }
            Err(error) => error,
        };
        overlay.prepare()?;
        let (stacking, reason) = match trial(Self::FuseOverlayfs, overlay) {
            Ok(()) => (Self::FuseOverlayfs, format!("overlay: {refused}")),
            Err(error) => (Self::Copy, format!("overlay: {refused}; fuse-overlayfs: {error}")),
        };
        step!(4, "overlay", "mount(2)", "go on without the kernel's overlayfs", "{}: {reason}", stacking.as_str());
        Ok((Choice { stacking, reason }, stacking.open(overlay)?))
    }

    /// Opens a stack in this way. Its directories are those that [`Overlay::prepare`] makes.
    ///
    /// # Errors
    /// What this way lacks here.
    pub fn open(self, overlay: &Overlay) -> Result<Stacked> {
        match self {
            Self::Overlay => Ok(Root::from(overlay.mount()?).into()),
            Self::FuseOverlayfs => {
                let (mount, keeper) = fuse::mount(overlay)?;
                Ok(Stacked { root: Root::from(mount), keeper: Some(keeper) })
            }
            Self::Copy => Ok(Root::open(&copied::tree(overlay)?)?.into()),
        }
    }

    /// Makes the upper directory hold what was changed in overlayfs's own form, as `changes`, `diff` and a store read it.
    ///
    /// The kernel keeps it so anyway. After a copy this compares every file; the upper directory is made anew.
    ///
    /// # Errors
    /// Those of reading and writing the trees.
    pub fn settle(self, overlay: &Overlay) -> Result<()> {
        let Some((upper, _)) = &overlay.upper_work else { return Ok(()) };
        match self {
            Self::Overlay => Ok(()),
            Self::FuseOverlayfs => fuse::translate_marks(&Root::open(upper)?),
            Self::Copy => copied::settle(overlay, upper),
        }
    }
}

impl fmt::Display for Stacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Snapshots {
    /// How stacks of this store become trees here, tried now: what [`Stacking::first_that_works`] decides for a new container.
    ///
    /// # Errors
    /// Those of making directories.
    pub fn stacking(&self) -> Result<Choice> {
        let staging = Staging::new(self.root())?;
        let overlay = example(&staging.files())?;
        Ok(Stacking::first_that_works(&overlay)?.0)
    }
}

/// A stack of one layer with one directory `again`, below `place`.
fn example(place: &Path) -> Result<Overlay> {
    let lower = place.join("lower");
    std::fs::create_dir_all(lower.join("again")).during("mkdir", lower.display())?;
    let overlay = Overlay {
        lower: vec![lower],
        upper_work: Some((place.join("upper"), place.join("work"))),
        durability: Durability::Volatile,
    };
    overlay.prepare()?;
    Ok(overlay)
}

/// Does, in an example beside `overlay`'s upper directory, what only a way that works can do: a directory is removed and
/// made anew, and the upper directory must know afterwards that it is another one.
fn trial(stacking: Stacking, overlay: &Overlay) -> Result<()> {
    let Some((upper, _)) = &overlay.upper_work else { return stacking.open(overlay).map(drop) };
    let beside = upper.parent().unwrap_or(upper);
    let place = tempfile::tempdir_in(beside).during("mkdir", beside.display())?;
    let example = example(place.path())?;
    let stacked = stacking.open(&example)?;
    rustix::fs::unlinkat(&*stacked, "again", AtFlags::REMOVEDIR).during("rmdir", "again")?;
    rustix::fs::mkdirat(&*stacked, "again", Mode::RWXU).during("mkdir", "again")?;
    drop(stacked);
    stacking.settle(&example)?;
    let made = place.path().join("upper/again");
    let made = Root::open(&made)?;
    match whiteout::is_opaque(disk::open_directory(made.as_fd(), OsStr::new(".")).during("open", "again")?) {
        true => Ok(()),
        false => {
            Err(CallError::refused("hide", "again", "the upper directory's file system takes no whiteouts").into())
        }
    }
}

/// Whether overlayfs can keep its marks in the upper directory. It mounts without, and then no directory can be removed and
/// made anew: so it is with tmpfs below Linux 6.6 for ordinary users, and with ramfs.
fn marks_work(overlay: &Overlay) -> Result<()> {
    let Some((upper, _)) = &overlay.upper_work else { return Ok(()) };
    let name = format!("{}probe", Ids::here().overlay_prefix());
    let upper_root = Root::open(upper)?;
    let directory = disk::open_directory(upper_root.as_fd(), OsStr::new(".")).during("open", upper.display())?;
    rustix::fs::fsetxattr(&directory, name.as_str(), b"y", XattrFlags::empty())
        .and_then(|()| rustix::fs::fremovexattr(&directory, name.as_str()))
        .during("fsetxattr", upper.display())?;
    Ok(())
}
