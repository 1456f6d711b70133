//! Signals: their names, which of them are passed on, and receiving them as something to read.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd as NixSignalFd};

use crate::error::{CallError, During};
use crate::passed_on;
use crate::sys;

/// One of the kernel's 64 signals, the real-time ones included.
///
/// # References
/// signal(7)
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// Defines the signals that have names, by their numbers on this architecture.
macro_rules! named {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Signal {
            $(pub const $name: Self = Self(libc::$name as u8);)*

            /// The name of a signal below the real-time ones.
            fn standard_name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            fn of_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

named! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
    SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO
    SIGPWR SIGSYS
}

/// Where the real-time signals begin for programs; the C library keeps the two numbers before it.
const REAL_TIME: u8 = 34;

impl Signal {
    /// The signal of a number, 1 to 64.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=passed_on::LAST).contains(&number).then_some(Self(number as u8))
    }

    /// The number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// `SIGTERM`, `SIGRTMIN+3`.
    pub fn as_str(self) -> &'static str {
        const REAL_TIME_NAMES: [&str; 33] = [
            "SIGRTMIN-2",
            "SIGRTMIN-1",
            "SIGRTMIN",
            "SIGRTMIN+1",
            "SIGRTMIN+2",
            "SIGRTMIN+3",
            "SIGRTMIN+4",
            "SIGRTMIN+5",
            "SIGRTMIN+6",
            "SIGRTMIN+7",
            "SIGRTMIN+8",
            "SIGRTMIN+9",
            "SIGRTMIN+10",
            "SIGRTMIN+11",
            "SIGRTMIN+12",
            "SIGRTMIN+13",
            "SIGRTMIN+14",
            "SIGRTMIN+15",
            "SIGRTMAX-14",
            "SIGRTMAX-13",
            "SIGRTMAX-12",
            "SIGRTMAX-11",
            "SIGRTMAX-10",
            "SIGRTMAX-9",
            "SIGRTMAX-8",
            "SIGRTMAX-7",
            "SIGRTMAX-6",
            "SIGRTMAX-5",
            "SIGRTMAX-4",
            "SIGRTMAX-3",
            "SIGRTMAX-2",
            "SIGRTMAX-1",
            "SIGRTMAX",
        ];
        let real_time = || REAL_TIME_NAMES.get(usize::from(self.0.saturating_sub(REAL_TIME - 2))).copied();
        self.standard_name().or_else(real_time).unwrap_or("SIG?")
    }

    /// Every signal that a terminal or an orchestrator may send, and that a careful parent passes on.
    pub fn passed_on() -> impl Iterator<Item = Self> {
        (1..=passed_on::LAST).filter(|number| passed_on::is_passed_on(*number)).filter_map(Self::from_number)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Lets this process end quietly when whoever reads its output goes away (`| head`), as other programs do. Rust's
/// own start ignores SIGPIPE, and what prints then panics.
///
/// Only for programs that do nothing but print from here on: a hook or a peer that closes its end would end them, too.
///
/// # References
/// pipe(7), signal(7)
pub fn end_by_broken_pipe() {
    sys::end_by_broken_pipe();
}

/// Reads a signal as people write it: `SIGTERM`, `term`, `15`, `RTMIN+3`.
///
/// # Errors
/// When there is no such signal.
pub fn parse(text: &str) -> Result<Signal, CallError> {
    let unknown = || CallError::refused("read signal", text, "no such signal");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::from_number(number).ok_or_else(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign).filter(|digits| !digits.starts_with('+'))?.parse::<u8>().ok(),
    };
    let (first, last) = (REAL_TIME, passed_on::LAST as u8);
    let number = match (short.strip_prefix("RTMIN"), short.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').and_then(|offset| first.checked_add(offset)),
        (_, Some(rest)) => offset(rest, '-').and_then(|offset| last.checked_sub(offset)),
        _ => return Signal::of_name(&format!("SIG{short}")).ok_or_else(unknown),
    };
    number.filter(|number| (first..=last).contains(number)).map(Signal).ok_or_else(unknown)
}

/// A signal that has arrived, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel itself sent it, as it does for a terminal's keys.
    pub from_kernel: bool,
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
        let set: SigSet = sys::signal_set(signals.into_iter().map(Signal::number));
        set.thread_block().during("sigprocmask", "SIG_BLOCK")?;
        NixSignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self).during("signalfd", "")
    }

    /// The next signal that has arrived, if one has.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn take(&self) -> Result<Option<Signal>, CallError> {
        Ok(self.receive()?.map(|received| received.signal))
    }

    /// The next signal that has arrived, if one has, with what is known about its sender.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn receive(&self) -> Result<Option<Received>, CallError> {
        let info = self.0.read_signal().during("read", "signalfd")?;
        Ok(info.and_then(|info| {
            let signal = Signal::from_number(i32::try_from(info.ssi_signo).ok()?)?;
            Some(Received { signal, from_kernel: info.ssi_code == libc::SI_KERNEL })
        }))
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
    fn real_time_signals_are_counted_from_either_end() {
        for text in ["SIGRTMIN+3", "rtmin+3", "37", "RTMAX-27"] {
            assert_eq!(parse(text).unwrap().number(), 37, "{text}");
        }
        assert_eq!((parse("RTMIN").unwrap().number(), parse("SIGRTMAX").unwrap().number()), (34, 64));
    }

    #[test]
    fn every_signal_is_found_again_by_its_name() {
        for signal in (1..=64).filter_map(Signal::from_number).filter(|signal| ![32, 33].contains(&signal.number())) {
            assert_eq!(parse(signal.as_str()).unwrap(), signal);
        }
    }

    #[test]
    fn nonsense_is_named_in_the_error() {
        for text in ["SIGNOPE", "0", "65", "-1", "", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX-31", "RTMIN++1", "RTMIN3"] {
            assert!(parse(text).unwrap_err().to_string().contains("no such signal"), "{text}");
        }
    }

    #[test]
    fn what_concerns_the_parent_alone_is_not_passed_on() {
        let passed: Vec<Signal> = Signal::passed_on().collect();
        for ours in [Signal::SIGCHLD, Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV, Signal::SIGPIPE] {
            assert!(!passed.contains(&ours), "{ours}");
        }
        for theirs in ["HUP", "INT", "QUIT", "TERM", "USR1", "ALRM", "WINCH", "TSTP", "CONT", "RTMIN", "RTMAX"] {
            assert!(passed.contains(&parse(theirs).unwrap()), "{theirs}");
        }
    }
}
