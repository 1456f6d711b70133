//! `mount_setattr`, which no library wraps yet, and the borrow of a descriptor that a plan names by number.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

/// `struct mount_attr` of `linux/mount.h` (32 bytes).
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct MountAttr {
    pub(crate) attr_set: u64,
    pub(crate) attr_clr: u64,
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

/// Changes attributes or propagation of the mount behind `mount`, with `AT_RECURSIVE` of all below it too.
///
/// # References
/// mount_setattr(2), Linux 5.12
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `attr` a valid mount_attr of the size given; the kernel only
    // reads both, during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// A descriptor's number, as `mount_attr` takes it.
pub(crate) fn number(fd: BorrowedFd<'_>) -> u64 {
    u64::from(fd.as_raw_fd().cast_unsigned())
}

/// Borrows a descriptor that the parent holds open across clone, by its number.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: steps are planned by a parent that owns the descriptor until the child has been cloned, and the
    // child's copy stays open until exec. Were the number wrong, every call with it would answer EBADF or EINVAL.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Standard input, as a descriptor to clone the mount of.
pub(crate) fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: descriptor 0 is open in a child whose terminal has just been put there, and stays so until exec.
    unsafe { BorrowedFd::borrow_raw(0) }
}
