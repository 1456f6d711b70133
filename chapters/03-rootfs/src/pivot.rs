//! Changing the root, and letting go of the old one.

use std::os::fd::BorrowedFd;

use process::{CallError, During, step};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

/// Makes the mount behind `new_root` the root of this mount namespace, and lets go of the old root.
///
/// `new_root` is a directory handle of a mount that is attached in this mount namespace. Afterwards `/` is
/// that mount for every process of the namespace, the working directory is `/`, and the machine's files are
/// not merely out of sight: no mount of theirs is left, so there is nothing to climb back to.
///
/// `chroot` would only move where this process's paths begin. The old root would stay mounted, and a process
/// with CAP_SYS_CHROOT walks out of such a root in four calls (`examples/climb_out.rs`).
///
/// # Errors
/// EINVAL when `new_root` is no mount point or propagates its mounts; EPERM without CAP_SYS_ADMIN.
///
/// # References
/// pivot_root(2), "pivot_root(".", ".")"
// hole: pivot-root
// spine
pub fn pivot_root(new_root: BorrowedFd<'_>) -> Result<(), CallError> {
    step!(3, "pivot_root", "pivot_root(2)", "make the new root the root of everything inside", "\".\" \".\"");
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old_root = rustix::fs::open("/", directory, Mode::empty()).during("open", "/")?;
    rustix::process::fchdir(new_root).during("fchdir", "new root")?;
    // Both arguments are the new root: the old one is stacked on top of it, and needs no directory to lie in.
    rustix::process::pivot_root(".", ".").during("pivot_root", ".")?;

    step!(3, "umount2", "umount(2)", "let go of the old root and all that is mounted in it", "MNT_DETACH");
    rustix::process::fchdir(&old_root).during("fchdir", "old root")?;
    // An unmount would travel to the machine's own mounts if they were our peers.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(".", slave).during("mount MS_SLAVE|MS_REC", "old root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("umount2", "old root")?;
    rustix::process::chdir("/").during("chdir", "/")
}

/// Moves the mount behind `new_root` over `/` and begins paths there: for a machine that runs from its initramfs, whose
/// root cannot be pivoted from. The poorer way: the old root stays, underneath, and CAP_SYS_CHROOT leads back to it.
///
/// # Errors
/// EINVAL when `new_root` is no mount point, or lies in a mount that propagates.
///
/// # References
/// switch_root(8); linux/Documentation/filesystems/ramfs-rootfs-initramfs.rst
pub fn move_root(new_root: BorrowedFd<'_>) -> Result<(), CallError> {
    step!(3, "chroot", "chroot(2)", "cover the old root, which cannot be let go of", "MS_MOVE \".\" \"/\"");
    rustix::process::fchdir(new_root).during("fchdir", "new root")?;
    rustix::mount::mount_move(".", "/").during("mount MS_MOVE", "new root")?;
    rustix::process::chroot(".").during("chroot", "new root")?;
    rustix::process::chdir("/").during("chdir", "/")
}
