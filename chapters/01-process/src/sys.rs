//! The kernel calls that no library wraps yet, and the only `unsafe` of this chapter.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// `struct clone_args` of `linux/sched.h`, as of Linux 5.7 (88 bytes).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP`. The constant in `libc` is an `i32`, too small for bit 33: it reads 0 there.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two processes came back from [`clone3`].
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The caller, with the child's pid and a descriptor that stands for the child.
    Parent(i32, OwnedFd),
}

/// Makes a process: `fork` with namespaces, a pidfd and a cgroup from the first instruction on.
///
/// # References
/// clone3(2)
pub(crate) fn clone3(flags: u64, exit_signal: i32, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let mut arguments = CloneArguments {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: exit_signal as u64,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `arguments` is a valid clone_args of the size given, and `pidfd` outlives the call. Without
    // CLONE_VM the child has its own copy of the memory, and the caller (`spawn`) has checked that no
    // other thread exists whose locks could be left held in that copy.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArguments>()) };
    match pid {
        -1 => Err(Errno::last()),
        0 => Ok(Side::Child),
        // SAFETY: on success the kernel stored a new descriptor, which nobody else owns, in `pidfd`.
        pid => Ok(Side::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// Ends the process at once: no destructors, no buffers flushed, both of which belong to the parent.
///
/// # References
/// _exit(2)
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition and does not return.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # References
/// close_range(2), `CLOSE_RANGE_CLOEXEC` (Linux 5.11)
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: only sets a flag on descriptors; none is closed before exec, so no owner is surprised.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

/// Closes every descriptor from `first` on but the two of `kept`, which are given in ascending order.
///
/// # References
/// close_range(2) (Linux 5.9)
pub(crate) fn close_all_but(first: u32, kept: [RawFd; 2]) -> Result<(), Errno> {
    let mut from = first;
    for end in kept.map(|fd| fd as u32).into_iter().chain([u32::MAX]) {
        // An empty range would be refused: two kept neighbours, or one that is below `first`.
        if let Some(last) = end.checked_sub(1).filter(|last| *last >= from) {
            // SAFETY: called by a child between clone and exec. What it closes belongs to copies of its parent's
            // objects, which are never used or dropped here: the child ends in execve or in `exit_now`.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        from = from.max(end.saturating_add(1));
    }
    Ok(())
}

/// Puts `from` at the number `to`, without close-on-exec, also where both are the same.
///
/// # References
/// dup2(2), fcntl(2)
pub(crate) fn place(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: plain integer calls. `to` is 0, 1 or 2, which this process keeps as its standard streams.
    let result = unsafe { if from == to { libc::fcntl(from, libc::F_SETFD, 0) } else { libc::dup2(from, to) } };
    Errno::result(result).map(drop)
}

/// Makes the terminal on standard input the controlling one of this session.
///
/// # References
/// ioctl_tty(2), `TIOCSCTTY`
pub(crate) fn take_controlling_terminal() -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes an integer argument; descriptor 0 is open.
    Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Opens the other end of a pty without a path that somebody could have exchanged.
///
/// # References
/// ioctl_tty(2), `TIOCGPTPEER`
pub(crate) fn pty_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a new descriptor or -1.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts every signal back to its default action and unblocks them all.
///
/// # References
/// signal(7), sigprocmask(2)
pub(crate) fn reset_signals() {
    // The kernel's `struct sigaction` of the default action: handler, flags, restorer and mask all zero. libc's own
    // call would not touch the two signals that it keeps for its threads, and they may be inherited as ignored.
    let default = [0_u64; 4];
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: `default` is as large as the kernel's structure, and is only read. SIGKILL and SIGSTOP are refused
        // with EINVAL, which changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null::<u64>(), 8_usize) };
    }
    // SAFETY: an all-zero sigset_t is what sigemptyset makes on Linux; the pointer is valid for the call.
    unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Borrows a descriptor by its number.
///
/// The steps of init are plain data, so they carry numbers. The parent that planned them holds the
/// descriptor open until the child has been cloned, and the child never closes one before exec.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: see above; a number that is not open makes the next call fail with EBADF, nothing worse.
    unsafe { BorrowedFd::borrow_raw(number) }
}
