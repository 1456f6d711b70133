//! Who a process is: a number that can be reused, and a descriptor that cannot.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{self as sys, PidfdFlags, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, During};
use crate::signals::Signal;
use crate::{kernel_file, passed_on};
use crate::{step, sys as calls};

/// A process id, as the reader's own pid namespace numbers it.
///
/// A number only names a process as long as somebody waits for it; afterwards the kernel may give it to
/// another. Where a process is to be signalled or waited for, hold a [`PidFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pid(i32);

impl Pid {
    /// A pid from a positive number.
    ///
    /// # Errors
    /// Zero and negative numbers mean groups of processes to `kill(2)`, so they are refused.
    pub fn new(raw: i32) -> Result<Self, CallError> {
        if raw > 0 { Ok(Self(raw)) } else { Err(CallError::refused("read pid", raw, "not a positive number")) }
    }

    /// The calling process.
    pub fn this() -> Self {
        Self(sys::getpid().as_raw_nonzero().get())
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }

    /// When the process started, in clock ticks since boot: with the pid, a name that is never reused.
    ///
    /// # Errors
    /// ESRCH or ENOENT when there is no such process.
    ///
    /// # References
    /// proc_pid_stat(5), field 22
    pub fn start_time(self) -> Result<u64, CallError> {
        Ok(self.stat()?.1)
    }

    /// Whether it is the process that started then, and has not ended: a zombie has.
    ///
    /// # References
    /// proc_pid_stat(5), fields 3 and 22
    pub fn is_alive_since(self, start_time: u64) -> bool {
        self.stat().is_ok_and(|(state, started)| started == start_time && !matches!(state, 'Z' | 'X'))
    }

    /// What it does, as a letter, and when it started.
    fn stat(self) -> Result<(char, u64), CallError> {
        let path = format!("/proc/{self}/stat");
        // One record of one read: `ps` asks for a thousand.
        let found = kernel_file::glance(&path, state_and_start).during("read", &path)?;
        found.ok_or_else(|| CallError::refused("read", path, "no state and start time in fields 3 and 22"))
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Pid {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let raw = text.trim().parse().map_err(|_| CallError::refused("read pid", text, "not a number"))?;
        Self::new(raw)
    }
}

/// Fields 3 and 22 of a process's `stat`.
fn state_and_start(stat: &[u8]) -> Option<(char, u64)> {
    // The second field is the command's name in parentheses, and may hold any bytes, spaces and parentheses among them.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called `exit` with this status, of which the kernel keeps eight bits.
    Exited(u8),
    /// A signal ended it.
    Signaled(Signal),
}

impl ExitStatus {
    /// How a process ended, from what the kernel's calls for waiting report. Real-time signals keep their number.
    pub(crate) fn of(status: Option<i32>, signal: Option<i32>) -> Option<Self> {
        match (status, signal) {
            (Some(status), _) => Some(Self::Exited(passed_on::exit_code(Some(status), None))),
            (None, Some(signal)) => Signal::from_number(signal).map(Self::Signaled),
            (None, None) => None,
        }
    }

    /// The code a shell would report: the status, or 128 plus the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => passed_on::exit_code(None, Some(signal.number())),
        }
    }
}

/// A descriptor that stands for one process, also after its number was given away.
///
/// # References
/// pidfd_open(2), pidfd_send_signal(2), waitid(2)
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has this number now.
    ///
    /// # Errors
    /// ESRCH when there is none.
    pub fn open(pid: Pid) -> Result<Self, CallError> {
        let raw = sys::Pid::from_raw(pid.0).ok_or_else(|| CallError::refused("pidfd_open", pid, "pid 0"))?;
        sys::pidfd_open(raw, PidfdFlags::empty()).map(Self).during("pidfd_open", pid)
    }

    pub(crate) fn from_owned(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The process's number in the pid namespace of this process's `/proc`.
    ///
    /// # Errors
    /// When `/proc` is missing or shows another pid namespace, in which the process has no number.
    ///
    /// # References
    /// proc_pid_fdinfo(5)
    pub fn pid(&self) -> Result<Pid, CallError> {
        use std::os::fd::AsRawFd as _;
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let info = std::fs::read_to_string(&path).during("read", &path)?;
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        line.ok_or_else(|| CallError::refused("read", &path, "no Pid line"))?.parse()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// ESRCH when the process has ended and was reaped, EPERM when it is not ours to signal.
    pub fn signal(&self, signal: Signal) -> Result<(), CallError> {
        step!(1, "pidfd_send_signal", "pidfd_send_signal(2)", "tell the process", "{}", signal.as_str());
        calls::pidfd_send_signal(self.0.as_fd(), signal.number()).during("pidfd_send_signal", signal.as_str())
    }

    /// Waits until the process ends, and reaps it. Only for children.
    ///
    /// # Errors
    /// ECHILD when the process is not a child of the caller, or was waited for already.
    pub fn wait(&self) -> Result<ExitStatus, CallError> {
        loop {
            match sys::waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => return exit_status(&status),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).during("waitid", "pidfd"),
            }
        }
    }

    /// Whether the process has ended within `limit`. Works for any process, child or not.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn ended_within(&self, limit: std::time::Duration) -> Result<bool, CallError> {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno).during("poll", "pidfd"),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads what `waitid` found; of a process that has ended, it is one of the two.
fn exit_status(status: &sys::WaitIdStatus) -> Result<ExitStatus, CallError> {
    ExitStatus::of(status.exit_status(), status.terminating_signal())
        .ok_or_else(|| CallError::refused("waitid", "pidfd", "a process that has not ended"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_s_name_may_hold_anything() {
        let rest = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        for name in [&b"sh"[..], b"a b", b") R 1 (", b"\xff\xfe"] {
            let stat = [b"7 (", name, b") Z ", rest.as_bytes()].concat();
            assert_eq!(state_and_start(&stat), Some(('Z', 4711)), "{:?}", String::from_utf8_lossy(&stat));
        }
        assert_eq!(state_and_start(b"7 (sh) Z 1 1"), None);
        assert_eq!(state_and_start(b""), None);
        let this = Pid::this();
        assert!(this.is_alive_since(this.start_time().unwrap()));
    }
}
