//! The kernel calls that no library wraps yet, and the only `unsafe` of this chapter.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use crate::scheduling::Scheduling;

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

/// What [`close_range_but`] does to a descriptor.
#[derive(Clone, Copy)]
pub(crate) enum Closing {
    /// Close it now.
    Now,
    /// Mark it close-on-exec (Linux 5.11).
    AtExec,
}

/// Closes every descriptor from `first` on but those of `kept`, which are given in ascending order.
///
/// # References
/// close_range(2) (Linux 5.9)
pub(crate) fn close_range_but(first: u32, kept: impl IntoIterator<Item = RawFd>, when: Closing) -> Result<(), Errno> {
    let flags = match when {
        Closing::Now => 0,
        Closing::AtExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    let mut from = first;
    for end in kept.into_iter().map(|fd| fd as u32).chain([u32::MAX]) {
        // An empty range would be refused: two kept neighbours, or one that is below `first`.
        if let Some(last) = end.checked_sub(1).filter(|last| *last >= from) {
            // SAFETY: called by a child between clone and exec. What it closes belongs to copies of its parent's
            // objects, which are never used or dropped here: the child ends in execve or in `exit_now`.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, from, last, flags) })?;
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
// hole: reset-signals
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

/// Sets the caller's turn at a disk.
pub(crate) fn set_io_priority(class: u16, level: u8) -> Result<(), Errno> {
    const WHO_PROCESS: libc::c_int = 1;
    let value = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) }).map(drop)
}

/// `struct sched_attr` of `linux/sched/types.h`, in its first form, which every kernel takes.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets the caller's turn on a CPU.
pub(crate) fn set_scheduling(wanted: &Scheduling) -> Result<(), Errno> {
    let Scheduling { policy, flags, nice, priority, runtime, deadline, period } = *wanted;
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: the kernel reads `size` bytes of a live value in its own layout.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// Sets the caller's execution domain.
pub(crate) fn set_personality(persona: u64) -> Result<(), Errno> {
    // SAFETY: a number only.
    Errno::result(unsafe { libc::syscall(libc::SYS_personality, persona) }).map(drop)
}

/// Gives SIGPIPE its default action: it ends the process.
pub(crate) fn end_by_broken_pipe() {
    // SAFETY: the default action runs no code of ours; nothing but this signal's disposition changes.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Borrows a descriptor by its number.
///
/// The steps of init are plain data, so they carry numbers. The parent that planned them holds the
/// descriptor open until the child has been cloned, and the child never closes one before exec.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: see above; a number that is not open makes the next call fail with EBADF, nothing worse.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// A set of signals. Of these wrappers' types only the raw set has room for the real-time ones.
pub(crate) fn signal_set(numbers: impl IntoIterator<Item = i32>) -> SigSet {
    let mut set = *SigSet::empty().as_ref();
    for number in numbers {
        // SAFETY: `set` is a set that was initialised above. A number that is no signal is refused and changes nothing.
        unsafe { libc::sigaddset(&raw mut set, number) };
    }
    // SAFETY: initialised by `SigSet::empty`, and holds nothing but signals.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// Sends a signal of any number, the real-time ones included.
///
/// # References
/// pidfd_send_signal(2)
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain integers and a null pointer, which the kernel takes for "as kill(2) would".
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, 0) };
    Errno::result(result).map(drop)
}

/// Asks for a signal at the parent's death.
///
/// # References
/// prctl(2), `PR_SET_PDEATHSIG`
pub(crate) fn set_parent_death_signal(number: i32) -> Result<(), Errno> {
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number) }).map(drop)
}

/// Becomes the program that `file` is open on: no path is looked up, and none is needed.
///
/// # References
/// execveat(2), `AT_EMPTY_PATH`
pub(crate) fn exec_descriptor(file: RawFd, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end in a null pointer, and they and the strings that they point to outlive the call, which
    // returns only on failure.
    unsafe {
        let nothing = c"".as_ptr();
        libc::syscall(libc::SYS_execveat, file, nothing, arguments.as_ptr(), environment.as_ptr(), libc::AT_EMPTY_PATH);
    }
    Errno::last()
}

/// A terminal and how it was before somebody changed it.
struct Terminal {
    fd: RawFd,
    settings: libc::termios,
}

/// The terminal that a signal which ends this process gives back; null for none.
static TO_GIVE_BACK: AtomicPtr<Terminal> = AtomicPtr::new(ptr::null_mut());

/// Everything that ends a process unless it says otherwise, and that somebody may send. SIGABRT is a panic's last word.
const ENDING: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXCPU,
    libc::SIGVTALRM,
];

/// Gives the terminal back, then lets the signal do what it would have done.
extern "C" fn give_back(signal: libc::c_int) {
    let terminal = TO_GIVE_BACK.load(Ordering::Acquire);
    // SAFETY: signal(2), tcsetattr(3) and raise(3) may be called in a signal's handler. A pointer that is not null came
    // from a box that is never freed. A background process that sets a terminal is stopped by SIGTTOU: not this one,
    // which is about to end. SA_RESETHAND has put the default action back, and raise(3) takes effect on return.
    unsafe {
        if !terminal.is_null() {
            libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            libc::tcsetattr((*terminal).fd, libc::TCSANOW, &raw const (*terminal).settings);
        }
        libc::raise(signal);
    }
}

/// As long as it lives, a signal that ends this process gives the terminal back first.
#[derive(Debug)]
pub(crate) struct GivesBack {
    /// The signals whose default action was replaced.
    replaced: Vec<i32>,
}

impl GivesBack {
    /// Remembers how the terminal is now. Signals that are ignored or handled already stay as they are.
    ///
    /// # References
    /// sigaction(2), signal-safety(7)
    pub(crate) fn on_signals(terminal: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut settings = MaybeUninit::uninit();
        // SAFETY: tcgetattr fills the structure in if it succeeds, and only then is it taken for filled in.
        let settings = unsafe {
            Errno::result(libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()))?;
            settings.assume_init()
        };
        // Never freed: a handler may be reading it in another thread when this one is done. It is 64 bytes a session.
        let ours = Box::into_raw(Box::new(Terminal { fd: terminal.as_raw_fd(), settings }));
        // Two terminals at once would be given back one for the other.
        TO_GIVE_BACK
            .compare_exchange(ptr::null_mut(), ours, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| Errno::EBUSY)?;
        Ok(Self { replaced: ENDING.into_iter().filter(|signal| replace_default(*signal)).collect() })
    }
}

/// Installs the handler for a signal that has its default action; whether it had.
fn replace_default(signal: i32) -> bool {
    // SAFETY: the structures are plain data for which all zero is valid; the handler is a function of the right type.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut before);
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = give_back as *const () as libc::sighandler_t;
        ours.sa_flags = libc::SA_RESETHAND;
        before.sa_sigaction == libc::SIG_DFL && libc::sigaction(signal, &raw const ours, ptr::null_mut()) == 0
    }
}

impl Drop for GivesBack {
    fn drop(&mut self) {
        for signal in &self.replaced {
            // SAFETY: the default action needs no code of ours.
            unsafe { libc::signal(*signal, libc::SIG_DFL) };
        }
        TO_GIVE_BACK.store(ptr::null_mut(), Ordering::Release);
    }
}
