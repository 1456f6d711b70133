#![allow(unsafe_code)]
//! The calls of this chapter that the compiler cannot check.

use std::ops::Range;

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

/// Lets the kernel take away pages of a file's mapping; whoever touches them has them read again.
///
/// The pages must be as they are in the file: what was written to them would be lost.
///
/// # References
/// madvise(2), MADV_DONTNEED
pub(crate) fn forget_unchanged_pages(pages: Range<usize>) {
    // SAFETY: the caller has seen in smaps that it is a private mapping of a file without a changed page, and that it cannot be
    // written to: what is read there afterwards is what was read there before.
    unsafe { libc::madvise(pages.start as *mut libc::c_void, pages.len(), libc::MADV_DONTNEED) };
}

/// Gives the heap's free pages back.
///
/// # References
/// malloc_trim(3)
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Gives back the pages of the calling thread's stack that only a deeper call would use. `mappings` are all of the process's; the stack
/// is the one that this call is on.
///
/// # References
/// madvise(2), MADV_DONTNEED
pub(crate) fn forget_stack_below<'a>(mut mappings: impl Iterator<Item = &'a Range<usize>>) {
    /// What the calls that are just going on may still need below this one's frame.
    const MARGIN: usize = 16 << 10;
    let local = std::hint::black_box(0u8);
    let frame = &raw const local as usize;
    let Some(stack) = mappings.find(|mapping| mapping.contains(&frame)) else { return };
    let end = frame.saturating_sub(MARGIN) & !0xfff;
    let Some(length) = end.checked_sub(stack.start) else { return };
    // SAFETY: a stack grows down, and no mapping but the stack's own is touched: what lies more than MARGIN below this frame was left behind
    // by calls that have returned, and the deepest call is madvise's, which is nearer.
    unsafe { libc::madvise(stack.start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
}
