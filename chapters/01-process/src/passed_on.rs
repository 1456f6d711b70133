//! Which signals a careful parent passes on, and what it exits with. Compiled twice: into this library, and into the
//! tiny init, which has no library to ask.

/// The largest signal number: real-time signals end here.
pub(crate) const LAST: i32 = 64;

/// Signals that stay with whoever gets them, by number.
///
/// SIGKILL and SIGSTOP cannot be caught. SIGCHLD is the parent's own. The others are what the kernel says to a process
/// that has itself made a mistake: passed on, they would end a child for an error of ours.
const OURS: [(i32, &str); 11] = [
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (17, "SIGCHLD"),
    (19, "SIGSTOP"),
    (31, "SIGSYS"),
];

/// Whether a signal that reaches the parent is meant for its child. The C library keeps 32 and 33 for its threads.
pub(crate) fn is_passed_on(number: i32) -> bool {
    (1..=LAST).contains(&number) && !matches!(number, 32 | 33) && !OURS.iter().any(|(ours, _)| *ours == number)
}

/// The exit code that tells how a child ended, as shells tell it: its status, or 128 and the signal's number.
pub(crate) fn exit_code(status: Option<i32>, signal: Option<i32>) -> u8 {
    match (status, signal) {
        // The kernel keeps eight bits of a status; a signal has seven.
        (Some(status), _) => (status & 0xff) as u8,
        (None, Some(signal)) => 128 + (signal & 0x7f) as u8,
        (None, None) => 255,
    }
}
