//! The two things that no safe library offers: netlink's socket options, and a child that dies with its parent.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

/// Switches a boolean option of a netlink socket on.
///
/// # Errors
/// What `setsockopt(2)` answered; `ENOPROTOOPT` from a kernel that does not know the option.
pub(crate) fn enable_netlink_option(socket: BorrowedFd<'_>, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes from a live local; the descriptor is borrowed, so it is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Lets the command's process end when the thread that starts it does, and keeps the terminal's signals from it.
///
/// # References
/// PR_SET_PDEATHSIG(2const)
pub(crate) fn end_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes one system call, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?));
    }
}
