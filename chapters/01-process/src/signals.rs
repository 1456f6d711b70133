//! Signals: their names, and receiving them as something to read.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd as NixSignalFd};

use crate::error::{CallError, During};

/// What a terminal or an orchestrator may send, and a careful parent passes on.
pub const FORWARDED: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// Reads a signal as people write it: `SIGTERM`, `term`, `15`.
///
/// # Errors
/// When there is no such signal.
pub fn parse(text: &str) -> Result<Signal, CallError> {
    let unknown = || CallError::refused("read signal", text, "no such signal");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map_err(|_| unknown());
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse().map_err(|_| unknown())
}

/// Signals as a descriptor: blocked for this process, and read one by one instead.
///
/// # References
/// signalfd(2)
#[derive(Debug)]
pub struct SignalFd(NixSignalFd);

impl SignalFd {
    /// Blocks `signals` and receives them here. Children that are spawned as this crate does unblock them.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> Result<Self, CallError> {
        let set: SigSet = signals.into_iter().collect();
        set.thread_block().during("sigprocmask", "SIG_BLOCK")?;
        NixSignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self).during("signalfd", "")
    }

    /// The next signal that has arrived, if one has.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn take(&self) -> Result<Option<Signal>, CallError> {
        let info = self.0.read_signal().during("read", "signalfd")?;
        Ok(info.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok()))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_three_spellings() {
        for text in ["SIGTERM", "term", "15", "sigterm"] {
            assert_eq!(parse(text).unwrap(), Signal::SIGTERM);
        }
    }

    #[test]
    fn nonsense_is_named_in_the_error() {
        for text in ["SIGNOPE", "0", "99", ""] {
            assert!(parse(text).unwrap_err().to_string().contains("no such signal"));
        }
    }
}
