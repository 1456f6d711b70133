//! This chapter's steps of init, and what they leave for one another.

use std::os::fd::{AsFd as _, RawFd};
use std::path::{Path, PathBuf};

use process::channel::Inside;
use process::{CallError, During, ProcessStep, Step, step};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use crate::devices::{self, Device, DeviceSupply};
use crate::mask;
use crate::mount::{DetachedMount, MountEntry, Propagation, Recursion};
use crate::pivot::{move_root, pivot_root};
use crate::procfs;
use crate::root::Root;
use crate::sys;

/// What the steps of a root hand on.
#[derive(Debug, Default)]
pub struct RootState {
    /// The new root's mount, before it is attached. A later chapter's step may supply it (an overlay).
    pub mount: Option<DetachedMount>,
    /// The new root, once attached and until the pivot.
    pub root: Option<Root>,
}

/// The steps of this chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootfsStep {
    /// Cut this mount namespace off: the machine's mounts may still arrive, ours never travel back.
    Isolate(MountPropagationFlags),
    /// Take a directory as the new root.
    BindRoot(PathBuf),
    /// Take a detached mount that the parent has made, behind an inherited descriptor, as the new root.
    TakeRoot(RawFd),
    /// Attach the new root's mount to a directory, so that it can be pivoted to.
    AttachRoot(PathBuf),
    /// The same, and what the machine mounts in that directory later appears in the root, too; never the other way.
    AttachFollowingRoot(PathBuf),
    /// How mounts travel from the root on, once it is the root: to those who bind or clone it, never to the machine.
    RootPropagation(Propagation),
    /// Mount something inside the new root.
    Mount(MountEntry),
    /// Supply `/dev`.
    Devices(Vec<Device>, DeviceSupply),
    /// Make a directory inside the new root where it is missing: the program's working directory.
    Directory(PathBuf),
    /// Make the new root the root.
    PivotRoot,
    /// The same without `pivot_root`, for machines whose root is an initramfs.
    MoveRoot,
    /// Show the terminal as `/dev/console`.
    Console,
    /// Kernel parameters of the container's own namespaces.
    Parameters(Vec<(String, String)>),
    /// Make paths read-only.
    ReadOnly(Vec<PathBuf>),
    /// Hide paths.
    Mask(Vec<PathBuf>),
    /// Make the root itself read-only.
    ReadOnlyRoot,
}

impl Step for RootfsStep {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Isolate(_) => "mount --make-rslave",
            Self::BindRoot(_) => "open_tree",
            Self::TakeRoot(_) => "dup",
            Self::AttachRoot(_) | Self::AttachFollowingRoot(_) => "move_mount",
            Self::RootPropagation(_) => "mount_setattr",
            Self::Mount(_) => "mount",
            Self::Devices(..) => "mknod",
            Self::Directory(_) => "mkdir",
            Self::PivotRoot => "pivot_root",
            Self::MoveRoot => "chroot",
            Self::Console => "console",
            Self::Parameters(_) => "sysctl",
            Self::ReadOnly(_) | Self::ReadOnlyRoot => "mount_setattr",
            Self::Mask(_) => "mask",
        }
    }

    fn run(&self, state: &mut RootState, _: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Isolate(propagation) => isolate_mounts(*propagation),
            Self::BindRoot(path) => {
                step!(3, "open_tree", "open_tree(2)", "the directory that becomes the root", "{}", path.display());
                state.mount = Some(DetachedMount::bind(path, Recursion::All)?);
                Ok(())
            }
            Self::TakeRoot(mount) => {
                step!(3, "dup", "dup(2)", "the mount that becomes the root", "descriptor {mount}");
                state.mount = Some(sys::borrow(*mount).try_clone_to_owned().during("dup", "the root's mount")?.into());
                Ok(())
            }
            Self::AttachRoot(path) => attach_root(state, path, Propagation::Private),
            Self::AttachFollowingRoot(path) => attach_root(state, path, Propagation::Slave),
            Self::RootPropagation(propagation) => mask::propagate_root(*propagation),
            Self::Mount(entry) => entry.mount(root_of(state)?),
            Self::Devices(list, supply) => devices::supply(root_of(state)?, list, *supply),
            Self::Directory(path) => make_directory(root_of(state)?, path),
            Self::PivotRoot => {
                pivot_root(root_of(state)?.as_fd())?;
                state.root = None;
                Ok(())
            }
            Self::MoveRoot => {
                move_root(root_of(state)?.as_fd())?;
                state.root = None;
                Ok(())
            }
            Self::Console => devices::console(),
            Self::Parameters(parameters) => procfs::set_parameters(parameters),
            Self::ReadOnly(paths) => mask::make_read_only(paths),
            Self::Mask(paths) => mask::mask(paths),
            Self::ReadOnlyRoot => mask::make_root_read_only(),
        }
    }
}

fn isolate_mounts(propagation: MountPropagationFlags) -> Result<(), CallError> {
    let kind = if propagation.contains(MountPropagationFlags::PRIVATE) { "MS_PRIVATE" } else { "MS_SLAVE" };
    step!(3, "mount", "mount_namespaces(7)", "let no mount of ours travel to the machine", "/ {kind}|MS_REC");
    rustix::mount::mount_change("/", propagation | MountPropagationFlags::REC).during("change propagation of", "/")
}

fn make_directory(root: &Root, path: &Path) -> Result<(), CallError> {
    match root.open_in(path, OFlags::PATH) {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => {
            step!(3, "mkdir", "mkdir(2)", "the working directory is missing in the image", "{}", path.display());
            root.mkdir_all(path, Mode::from_raw_mode(0o755)).map(drop)
        }
        opened => opened.map(drop),
    }
}

fn attach_root(state: &mut RootState, path: &Path, propagation: Propagation) -> Result<(), CallError> {
    let mount = state.mount.take().ok_or_else(|| CallError::refused("move_mount", path.display(), "no root mount"))?;
    step!(3, "move_mount", "move_mount(2)", "give the new root a place in this mount namespace", "{}", path.display());
    // pivot_root refuses a new root whose mounts propagate.
    mount.propagate(propagation, Recursion::One)?;
    let place = Root::open(path)?;
    mount.attach(place.as_fd()).map_err(|error| error.with(path.display()))?;
    let descriptor: std::os::fd::OwnedFd = mount.into();
    state.root = Some(Root::from(descriptor));
    Ok(())
}

fn root_of(state: &RootState) -> Result<&Root, CallError> {
    state.root.as_ref().ok_or_else(|| CallError::refused("use", "root", "a step of the plan came before AttachRoot"))
}

/// The steps that a child of this chapter alone can take: its own, and those of the chapters before.
#[derive(Debug, Clone, PartialEq)]
pub enum RootedStep {
    /// One of chapter 1.
    Process(ProcessStep),
    /// One of chapter 2.
    Namespace(namespaces::NamespaceStep),
    /// One of this chapter.
    Rootfs(RootfsStep),
}

impl From<ProcessStep> for RootedStep {
    fn from(step: ProcessStep) -> Self {
        Self::Process(step)
    }
}

impl From<namespaces::NamespaceStep> for RootedStep {
    fn from(step: namespaces::NamespaceStep) -> Self {
        Self::Namespace(step)
    }
}

impl From<RootfsStep> for RootedStep {
    fn from(step: RootfsStep) -> Self {
        Self::Rootfs(step)
    }
}

impl Step for RootedStep {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Process(step) => step.name(),
            Self::Namespace(step) => step.name(),
            Self::Rootfs(step) => step.name(),
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Process(step) => step.run(&mut (), channel),
            Self::Namespace(step) => step.run(&mut (), channel),
            Self::Rootfs(step) => step.run(state, channel),
        }
    }
}

/// Reads a file of a root that may not be there: `/etc/passwd` of an image.
///
/// # Errors
/// Those of [`Root::read`] but ENOENT and ENOTDIR.
pub fn read_if_there(root: &Root, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CallError> {
    match root.open_in(path, OFlags::PATH) {
        Err(error) if matches!(error.errno(), nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => root.read(path, limit).map(Some),
    }
}
