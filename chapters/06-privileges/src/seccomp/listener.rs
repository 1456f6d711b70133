//! Answering calls from outside: the supervisor's end of a filter with `SCMP_ACT_NOTIFY`.
//!
//! ```text
//!   confined process                kernel                        supervisor
//!     | mkdir("/x") ------------------> |                             |
//!     |   (stands still)                | -- notification: id, call ----> |  receive
//!     |                                 | <-- id: go on, errno, value --- |  answer
//!     | <------------------------- EPERM |                             |
//! ```
//!
//! The call's pointers point into the *other* process, which may change what they point to after we have looked. So a
//! supervisor may refuse, or do the deed itself and answer with its result; letting a call go on because of what a
//! pointer led to is no protection (seccomp_unotify(2) says so in capitals).

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use process::{CallError, During as _, Pid};
use rustix::event::{PollFd, PollFlags, poll};

use super::Call;
use crate::sys;

/// The descriptor on which a filter asks.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    id: u64,
    /// The thread that makes it; `None` where it lies outside the supervisor's pid namespace.
    pub pid: Option<Pid>,
    /// The call.
    pub call: Call,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The kernel makes it, as if nobody had been asked.
    GoOn,
    /// It is not made, and fails like this.
    Fail(Errno),
    /// It is not made, and returns this: the supervisor has done it.
    Done(i64),
}

impl Listener {
    /// The listener behind a descriptor that a confined process has handed over.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Waits for the next call; `None` once nobody is left behind the filter.
    ///
    /// # Errors
    /// Those of `poll(2)` and `ioctl(2)`.
    ///
    /// # References
    /// seccomp_unotify(2)
    pub fn receive(&self) -> Result<Option<Notification>, CallError> {
        loop {
            let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                ready => ready.during("poll", "seccomp listener")?,
            };
            if !polled[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            match sys::next_notification(self.0.as_fd()) {
                // The caller was killed or interrupted in between; perhaps it will ask again.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                notification => {
                    let told = notification.during("ioctl", "SECCOMP_IOCTL_NOTIF_RECV")?;
                    let call = Call { arch: told.data.arch, number: told.data.nr as u32, arguments: told.data.args };
                    return Ok(Some(Notification { id: told.id, pid: Pid::new(told.pid as i32).ok(), call }));
                }
            }
        }
    }

    /// Answers. That the caller is gone meanwhile is no failure: nobody waits any more.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub fn answer(&self, notification: &Notification, reply: Reply) -> Result<(), CallError> {
        let (val, error, flags) = match reply {
            Reply::GoOn => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Fail(errno) => (0, -(errno as i32), 0),
            Reply::Done(value) => (value, 0, 0),
        };
        let answer = libc::seccomp_notif_resp { id: notification.id, val, error, flags };
        match sys::answer_notification(self.0.as_fd(), &answer) {
            Err(Errno::ENOENT) => Ok(()),
            answered => answered.during("ioctl", "SECCOMP_IOCTL_NOTIF_SEND"),
        }
    }
}
