//! Descriptors on their way into a program: an allow-list, and everything else stays behind.
//!
//! A descriptor that is inherited by accident is a hole: a directory of the machine's, open in a container, leads out
//! of it (CVE-2024-21626), and the writing end of a pipe that nobody knows of keeps its reader waiting for ever. So
//! everything of ours is opened close-on-exec, and what others left open is closed here, by number, whatever it is.
//! What a program gets is the three standard streams and as many after them as it was promised (`--preserve-fds`).

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use crate::channel::Inside;
use crate::error::{CallError, During};
use crate::step;
use crate::sys::{self, Closing};

/// The first number after the standard streams and `preserve` more.
fn first_of_ours(preserve: u32) -> u32 {
    preserve.saturating_add(3)
}

/// Marks all but the allowed ones close-on-exec. Until exec they stay open: the steps in between need them.
///
/// An allowed number that holds a descriptor of this program's own is no loophole: that one is close-on-exec already.
pub(crate) fn close_on_exec(preserve: u32) -> Result<(), CallError> {
    let first = first_of_ours(preserve);
    step!(1, "close_range", "close_range(2)", "hand no descriptor to the program", "from {first}");
    sys::close_range_but(first, [], Closing::AtExec).during("close_range", format!("from {first}"))
}

/// Closes all but the allowed ones, the channel and `listener`, now: for a child that is going to wait.
pub(crate) fn let_go(preserve: u32, listener: RawFd, channel: &Inside) -> Result<(), CallError> {
    let mut kept = [listener, channel.as_fd().as_raw_fd()];
    kept.sort_unstable();
    let first = first_of_ours(preserve);
    step!(1, "close_range", "close_range(2)", "hold nothing of the parent's while waiting", "from {first}");
    sys::close_range_but(first, kept, Closing::Now).during("close_range", format!("all but {kept:?}"))
}

/// Puts three inherited descriptors at 0, 1 and 2.
pub(crate) fn place_stdio(descriptors: &[RawFd; 3]) -> Result<(), CallError> {
    // A source below 3 could be overwritten before its turn, so first lift each out of the way.
    let mut lifted = Vec::with_capacity(3);
    for &fd in descriptors {
        lifted.push(rustix::io::fcntl_dupfd_cloexec(sys::borrow(fd), 3).during("fcntl F_DUPFD_CLOEXEC", fd)?);
    }
    for (fd, target) in lifted.iter().zip(0..) {
        sys::place(fd.as_fd().as_raw_fd(), target).during("dup2", target)?;
    }
    Ok(())
}
