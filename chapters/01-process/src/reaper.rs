//! Being a small init: adopt orphans, reap them, pass signals on.

use rustix::event::{PollFd, PollFlags};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::error::{CallError, During};
use crate::pid::{ExitStatus, Pid, PidFd};
use crate::signals::{self, SignalFd};
use crate::step;

/// Makes this process the one that orphans below it are given to, as pid 1 would be.
///
/// # Errors
/// Those of `prctl(2)`.
///
/// # References
/// prctl(2), `PR_SET_CHILD_SUBREAPER`
pub fn adopt_orphans() -> Result<(), CallError> {
    step!(1, "prctl", "prctl(2)", "orphans below become our children", "PR_SET_CHILD_SUBREAPER");
    nix::sys::prctl::set_child_subreaper(true).during("prctl", "PR_SET_CHILD_SUBREAPER")
}

/// Blocks the signals that [`supervise`] reads. Call it before the child exists, so that none is lost.
///
/// # Errors
/// Those of `signalfd(2)`.
pub fn listen() -> Result<SignalFd, CallError> {
    SignalFd::block(signals::FORWARDED.into_iter().chain([Signal::SIGCHLD]))
}

/// Passes signals on to `main` and reaps every child until `main` has ended; returns how it did.
///
/// # Errors
/// Those of `poll(2)` and `waitid(2)`.
pub fn supervise(main: &PidFd, main_pid: Pid, signals: &SignalFd) -> Result<ExitStatus, CallError> {
    loop {
        if let Some(status) = reap(main_pid)? {
            return Ok(status);
        }
        match rustix::event::poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "signalfd"),
        }
        while let Some(signal) = signals.take()? {
            if signal != Signal::SIGCHLD {
                main.signal(signal)?;
            }
        }
    }
}

/// Reaps every child that has ended. A zombie keeps its pid and its place in every limit until somebody does.
///
/// Returns how `main` ended, once it has.
///
/// # Errors
/// Those of `waitid(2)`; having no children is none.
pub fn reap(main: Pid) -> Result<Option<ExitStatus>, CallError> {
    let mut ended = None;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ended),
            Err(Errno::EINTR) => continue,
            status => status.during("waitpid", "any child")?,
        };
        let how = match status {
            WaitStatus::Exited(_, code) => ExitStatus::Exited(code as u8),
            WaitStatus::Signaled(_, signal, _) => ExitStatus::Signaled(signal),
            _ => continue,
        };
        if status.pid().is_some_and(|pid| pid.as_raw() == main.get()) {
            ended = Some(how);
        }
    }
}
