//! Masks: parts of `/proc` and `/sys` that tell or change too much.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use process::{CallError, During, step};
use rustix::fs::{FileType, OFlags, makedev};
use rustix::mount::MountAttrFlags;

use crate::late::Late;
use crate::mount::{DetachedMount, Propagation, Recursion};
use crate::root::Root;
use crate::sys::{self, MountAttr};

/// What is hidden by default: the union of what Docker and podman hide. Memory of the kernel, timers of other processes,
/// keys, firmware, power meters (a side channel: CVE-2020-8694).
pub const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What cannot be written by default, switches of the machine: the magic SysRq key, interrupts, kernel parameters.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Hides paths of the current root: a directory behind an empty one, a file behind `/dev/null`.
///
/// Masking a path that does not exist is fine: kernels differ in what they show.
///
/// # Errors
/// The failing call, with the path; and when `/dev/null` is not the null device (CVE-2025-31133: an image's
/// link in its place would be mounted over the masked file, and uncover or overwrite another).
// hole: mask-paths
pub fn mask(paths: &[PathBuf]) -> Result<(), CallError> {
    if paths.is_empty() {
        return Ok(());
    }
    let root = Root::open(Path::new("/"))?;
    let null = root.open_in(Path::new("/dev/null"), OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&null).during("fstat", "/dev/null")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != makedev(1, 3) {
        return Err(CallError::refused("mask with", "/dev/null", "it is not the null device"));
    }
    for path in paths {
        let Some(target) = open_if_there(&root, path)? else { continue };
        step!(3, "move_mount", "move_mount(2)", "hide what tells too much", "{}", path.display());
        let stat = rustix::fs::fstat(&target).during("fstat", path.display())?;
        let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let options = [("nr_inodes".to_owned(), Some("1".to_owned()))];
            DetachedMount::filesystem("tmpfs", "tmpfs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY)?
        } else {
            DetachedMount::bind_fd(null.as_fd(), Recursion::One)?
        };
        cover.attach(target.as_fd()).map_err(|error| error.with(path.display()))?;
    }
    Ok(())
}

/// Makes paths of the current root read-only, with all that is mounted below them.
///
/// # Errors
/// The failing call, with the path; a path that does not exist is fine.
pub fn make_read_only(paths: &[PathBuf]) -> Result<(), CallError> {
    let root = Root::open(Path::new("/"))?;
    for path in paths {
        let Some(target) = open_if_there(&root, path)? else { continue };
        step!(3, "mount_setattr", "mount_setattr(2)", "let nobody write there", "{}", path.display());
        let mount = DetachedMount::bind_fd(target.as_fd(), Recursion::All)?;
        match mount.set(MountAttrFlags::MOUNT_ATTR_RDONLY, Recursion::All) {
            // Before Linux 5.12 what is mounted below stays as it is: of the default paths, nothing is.
            Err(error) if error.errno() == Errno::ENOSYS => {
                mount.set(MountAttrFlags::MOUNT_ATTR_RDONLY, Recursion::One)?;
            }
            set => set?,
        }
        mount.attach(target.as_fd()).map_err(|error| error.with(path.display()))?;
    }
    Ok(())
}

/// Makes the root mount itself read-only; what is mounted on it keeps its own attributes.
///
/// # Errors
/// Those of `mount_setattr(2)`.
pub fn make_root_read_only() -> Result<(), CallError> {
    step!(3, "mount_setattr", "mount_setattr(2)", "the image itself is not to be changed", "/ MOUNT_ATTR_RDONLY");
    let root = Root::open(Path::new("/"))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let attr = MountAttr { attr_set: u64::from(attributes.bits()), ..Default::default() };
    match sys::mount_setattr(root.as_fd(), false, &attr) {
        Err(Errno::ENOSYS) => Late::Attributes(attributes).apply(root.as_fd()),
        set => set.during("mount_setattr", "/"),
    }
}

/// Sets how mounts travel from the root mount on.
///
/// # Errors
/// Those of `mount_setattr(2)`.
pub(crate) fn propagate_root(propagation: Propagation) -> Result<(), CallError> {
    step!(3, "mount_setattr", "mount_namespaces(7)", "how mounts travel from here on", "/ {propagation:?}");
    let root = Root::open(Path::new("/"))?;
    let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
    match sys::mount_setattr(root.as_fd(), false, &attr) {
        Err(Errno::ENOSYS) => Late::Propagation(propagation, Recursion::One).apply(root.as_fd()),
        set => set.during("mount_setattr", "/"),
    }
}

fn open_if_there(root: &Root, path: &Path) -> Result<Option<std::os::fd::OwnedFd>, CallError> {
    match root.open_in(path, OFlags::PATH) {
        Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        opened => opened.map(Some),
    }
}
