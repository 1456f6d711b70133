//! The C library's calls that the standard library has no safe form of.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::io::{Error, Result};
use std::mem::MaybeUninit;

/// `sigset_t`: 128 bytes, in glibc as in musl.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Set([u8; 128]);

unsafe extern "C" {
    fn sigemptyset(set: *mut Set) -> c_int;
    fn sigaddset(set: *mut Set, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const Set, before: *mut Set) -> c_int;
    fn sigwaitinfo(set: *const Set, info: *mut u8) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn fork() -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn tcsetpgrp(terminal: c_int, group: c_int) -> c_int;
    fn execvp(file: *const c_char, arguments: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
}

const SIG_BLOCK: c_int = 0;
const SIG_UNBLOCK: c_int = 1;
const SIG_SETMASK: c_int = 2;
const SIGPIPE: c_int = 13;
const SIG_DFL: usize = 0;
const WNOHANG: c_int = 1;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const ENOENT: i32 = 2;
const ECHILD: i32 = 10;
const EINTR: i32 = 4;

/// SIGCHLD.
pub(crate) const CHILD: i32 = 17;

/// The signals that are held back, and what was before.
pub(crate) struct Held {
    set: Set,
    before: Set,
}

/// Blocks the signals given and SIGCHLD, so that [`Held::wait`] receives them.
pub(crate) fn hold_back(signals: impl Iterator<Item = i32>) -> Result<Held> {
    let mut set = MaybeUninit::<Set>::uninit();
    let mut before = MaybeUninit::<Set>::uninit();
    // SAFETY: sigemptyset fills in its set, and sigprocmask the one before; both are large enough for either libc.
    unsafe {
        sigemptyset(set.as_mut_ptr());
        sigemptyset(before.as_mut_ptr());
        for signal in signals.chain([CHILD]) {
            sigaddset(set.as_mut_ptr(), signal);
        }
        checked(sigprocmask(SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()))?;
        Ok(Held { set: set.assume_init(), before: before.assume_init() })
    }
}

impl Held {
    /// Waits for the next signal, and returns its number.
    pub(crate) fn wait(&self) -> Result<i32> {
        loop {
            // SAFETY: the set is initialised; nobody wants to know more about the signal than its number.
            match checked(unsafe { sigwaitinfo(&raw const self.set, std::ptr::null_mut()) }) {
                Err(error) if error.raw_os_error() == Some(EINTR) => {}
                signal => return signal,
            }
        }
    }
}

/// Makes the program a child, in a process group of its own that has the terminal, if there is one.
pub(crate) fn start(arguments: &[CString], held: &Held) -> Result<i32> {
    let mut pointers: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: this process has one thread, so its copy is whole.
    match checked(unsafe { fork() })? {
        0 => {
            // SAFETY: plain integers, initialised sets, and an array of strings that ends in a null pointer. Our own
            // mask still holds SIGTTOU back when the terminal is taken. No terminal, or not ours: that is fine, too.
            unsafe {
                setpgid(0, 0);
                tcsetpgrp(0, std::process::id() as c_int);
                signal(SIGPIPE, SIG_DFL);
                sigprocmask(SIG_SETMASK, &raw const held.before, std::ptr::null_mut());
                // Whoever started us may have held them back for us.
                sigprocmask(SIG_UNBLOCK, &raw const held.set, std::ptr::null_mut());
                execvp(pointers[0], pointers.as_ptr());
            }
            let error = Error::last_os_error();
            eprintln!("init: {}: {error}", arguments[0].to_string_lossy());
            let code = if error.raw_os_error() == Some(ENOENT) { 127 } else { 126 };
            // SAFETY: ends this copy of the process without running what belongs to the other.
            unsafe { _exit(code) }
        }
        child => Ok(child),
    }
}

/// A child that has ended.
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// Reaps one child that has ended, if one has.
pub(crate) fn reap_one() -> Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    match checked(unsafe { waitpid(-1, &raw mut status, WNOHANG) }) {
        Ok(0) => Ok(None),
        Err(error) if error.raw_os_error() == Some(ECHILD) => Ok(None),
        Err(error) => Err(error),
        Ok(pid) => {
            // waitpid(2): the low seven bits are the signal, the next eight the status.
            let (status, signal) = ((status >> 8) & 0xff, status & 0x7f);
            let exited = signal == 0;
            Ok(Some(Ended { pid, status: exited.then_some(status), signal: (!exited).then_some(signal) }))
        }
    }
}

/// Sends a signal to the child; one that has ended is not there to get it.
pub(crate) fn send(child: i32, signal: i32) {
    // SAFETY: plain integers. The child is ours and not reaped, so the number is its own.
    unsafe { kill(child, signal) };
}

/// Orphans below this process become its children, as they do by themselves where it is pid 1.
pub(crate) fn adopt_orphans() -> Result<()> {
    // SAFETY: plain integers.
    checked(unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

fn checked(result: c_int) -> Result<c_int> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}
