#![allow(unsafe_code)]
//! The two calls of this chapter that the compiler cannot check.

use process::{CallError, refuse_threads, step};

/// Goes on in a child, and ends the calling process: whoever started it waits no longer and is nobody's parent.
///
/// # Errors
/// `EAGAIN` and the like; or a refusal, if the process has threads.
///
/// # References
/// fork(2), daemon(3)
pub(crate) fn fork_away() -> Result<(), CallError> {
    // Only the calling thread lives on in a child; a lock that another one holds would stay locked for ever.
    refuse_threads("fork", "")?;
    step!(11, "fork", "fork(2)", "leave the command that started us", "monitor");
    // SAFETY: there is one thread, so the child has all of the process, in a consistent state.
    match unsafe { libc::fork() } {
        -1 => Err(CallError::new("fork", "", nix::errno::Errno::last())),
        0 => Ok(()),
        // SAFETY: _exit has no preconditions. Nothing is buffered yet, and destructors are the child's to run.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Closes every descriptor above the three standard ones: whatever the caller of our caller forgot to.
///
/// A lock that a shell script holds (`9>lock`) must not be held for as long as a container runs, and no
/// descriptor of the host's may be on its way into one (CVE-2024-21626).
///
/// # References
/// close_range(2)
pub(crate) fn close_inherited() {
    step!(11, "close_range", "close_range(2)", "keep no descriptor that nobody gave us on purpose", "3..");
    // SAFETY: called first thing in `main`: nothing of this program has opened a descriptor yet, so none is closed under its owner.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}
