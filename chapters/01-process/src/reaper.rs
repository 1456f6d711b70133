//! Being a careful parent for as long as a child lives: adopt orphans, reap them, pass signals on.

use nix::unistd::getpgid;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{WaitOptions, kill_process};

use crate::error::{CallError, During};
use crate::pid::{ExitStatus, Pid, PidFd};
use crate::signals::{Received, Signal, SignalFd};
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

/// Blocks the signals that [`supervise`] reads. Call it before the child exists, so that none is lost: what arrives
/// while there is nobody to pass it on to waits in the descriptor.
///
/// # Errors
/// Those of `signalfd(2)`.
pub fn listen() -> Result<SignalFd, CallError> {
    SignalFd::block(Signal::passed_on().chain([Signal::SIGCHLD]))
}

/// Passes signals on to `main` and reaps every child until `main` has ended; returns how it did.
///
/// A child that shares our terminal gets the terminal's signals without us, and is not told twice. When its user stops
/// it (Ctrl-Z), we stop, too: else the shell would go on waiting for a job that does nothing.
///
/// # Errors
/// Those of `poll(2)` and `waitid(2)`.
pub fn supervise(main: &PidFd, main_pid: Pid, signals: &SignalFd) -> Result<ExitStatus, CallError> {
    loop {
        let news = reap_all(main_pid)?;
        if let Some(status) = news.ended {
            return Ok(status);
        }
        if news.stopped_by.is_some_and(is_job_control) && shares_group(main_pid) {
            stop_with_it()?;
        }
        match rustix::event::poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "signalfd"),
        }
        while let Some(received) = signals.receive()? {
            if received.signal != Signal::SIGCHLD {
                pass_on(main, main_pid, received)?;
            }
        }
    }
}

/// Sends a signal that we got to `main`, unless the kernel has sent it there already. That `main` has ended is fine.
///
/// # Errors
/// Those of `pidfd_send_signal(2)` that are not about `main`'s end or its being somebody else's by now.
// hole: pass-on
pub fn pass_on(main: &PidFd, main_pid: Pid, received: Received) -> Result<(), CallError> {
    if received.from_kernel && goes_to_the_group(received.signal) && shares_group(main_pid) {
        return Ok(());
    }
    match main.signal(received.signal) {
        // It has just ended, which the next round will find; or it has become somebody whom we may not signal.
        Err(error) if [nix::errno::Errno::ESRCH, nix::errno::Errno::EPERM].contains(&error.errno()) => Ok(()),
        sent => sent,
    }
}

/// Whether a child is in our process group, and so the terminal's keys reach both.
fn shares_group(child: Pid) -> bool {
    // A group that was made outside our pid namespace has the number 0 here; rustix's own call takes that for impossible.
    let group = |pid| getpgid(pid).ok();
    let child = group(Some(nix::unistd::Pid::from_raw(child.get())));
    child.is_some() && child == group(None)
}

/// What a terminal sends to its whole foreground group. A hangup is not among it: that, only the session's leader hears.
fn goes_to_the_group(signal: Signal) -> bool {
    is_job_control(signal) || [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGWINCH].contains(&signal)
}

/// What a terminal stops its users with. SIGSTOP is somebody's debugging, and none of ours.
fn is_job_control(signal: Signal) -> bool {
    [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].contains(&signal)
}

/// Stops this process until its shell continues it; the child is in the same group and continues with it.
fn stop_with_it() -> Result<(), CallError> {
    step!(1, "kill", "kill(2)", "stop with the child, so that the shell sees it", "SIGSTOP");
    kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).during("kill", "SIGSTOP")
}

/// Reaps every child that has ended. A zombie keeps its pid and its place in every limit until somebody does.
///
/// Returns how `main` ended, once it has.
///
/// # Errors
/// Those of `waitid(2)`; having no children is none.
pub fn reap(main: Pid) -> Result<Option<ExitStatus>, CallError> {
    Ok(reap_all(main)?.ended)
}

/// What there is to know about the main child.
#[derive(Default)]
struct News {
    ended: Option<ExitStatus>,
    stopped_by: Option<Signal>,
}

/// Waits for every child that has ended or stopped, and returns as soon as there is none: it never sleeps. One SIGCHLD
/// may stand for many children, because a signal that is pending already is not counted.
///
/// # Errors
/// Those of `waitpid(2)` but ECHILD, "no children", and EINTR.
///
/// # References
/// waitpid(2), WNOHANG and WUNTRACED
// hole: reap-all
fn reap_all(main: Pid) -> Result<News, CallError> {
    let mut news = News::default();
    loop {
        let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some(child)) => child,
            Ok(None) | Err(Errno::CHILD) => return Ok(news),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).during("waitpid", "any child"),
        };
        if pid.as_raw_nonzero().get() == main.get() {
            let ended = ExitStatus::of(status.exit_status(), status.terminating_signal());
            news.ended = ended.or(news.ended);
            news.stopped_by = status.stopping_signal().and_then(Signal::from_number);
        }
    }
}
