//! Pseudo-terminals: a pair of ends, a size, and a raw mode that is always undone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::termios::{self, OptionalActions, Termios, Winsize};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, During};
use crate::{step, sys};

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { rows: 24, columns: 80 }
    }
}

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that plays the keyboard and the screen.
    pub master: OwnedFd,
    /// The end that programs see as their terminal.
    pub peer: OwnedFd,
}

/// Opens a new pseudo-terminal from a multiplexer device, `/dev/ptmx` as this process sees it.
///
/// # Errors
/// ENOENT without a devpts, ENOSPC when its limit is reached.
///
/// # References
/// pty(7), ptmx(4), ioctl_tty(2)
pub fn open(multiplexer: &Path) -> Result<Pty, CallError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open(multiplexer, flags, Mode::empty()).during("open", multiplexer.display())?;
    rustix::pty::unlockpt(&master).during("unlockpt", multiplexer.display())?;
    let peer = sys::pty_peer(master.as_fd()).during("ioctl TIOCGPTPEER", multiplexer.display())?;
    Ok(Pty { master, peer })
}

/// The size of the terminal behind `fd`.
///
/// # Errors
/// ENOTTY when it is none.
pub fn size(fd: BorrowedFd<'_>) -> Result<Size, CallError> {
    let window = termios::tcgetwinsize(fd).during("ioctl TIOCGWINSZ", "terminal")?;
    Ok(Size { rows: window.ws_row, columns: window.ws_col })
}

/// Sets the size; the foreground process group inside gets SIGWINCH.
///
/// # Errors
/// ENOTTY when `fd` is no terminal.
pub fn resize(fd: BorrowedFd<'_>, size: Size) -> Result<(), CallError> {
    let window = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    termios::tcsetwinsize(fd, window).during("ioctl TIOCSWINSZ", "terminal")
}

/// A terminal in raw mode: keys arrive one by one and unechoed.
///
/// It is given back as it was on every way out: when this is dropped, and by a signal that ends the process, sent by
/// somebody or by a panic that aborts. (SIGKILL asks nobody: `reset` is the user's friend then.) One at a time.
#[derive(Debug)]
pub struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
    // Dropped last: a signal in between finds the terminal given back already, and does it once more.
    _on_signals: sys::GivesBack,
}

impl<'a> RawMode<'a> {
    /// Enters raw mode.
    ///
    /// # Errors
    /// ENOTTY when `terminal` is none; EBUSY when this process has one in raw mode already.
    ///
    /// # References
    /// termios(3), "Raw mode"
    pub fn enter(terminal: BorrowedFd<'a>) -> Result<Self, CallError> {
        let before = termios::tcgetattr(terminal).during("tcgetattr", "terminal")?;
        // Before the mode changes: there is no instant in which a signal would leave it changed.
        let on_signals = sys::GivesBack::on_signals(terminal).during("remember", "terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        step!(1, "tcsetattr", "termios(3)", "keys reach the program inside one by one", "raw mode");
        termios::tcsetattr(terminal, OptionalActions::Drain, &raw).during("tcsetattr", "terminal")?;
        Ok(Self { terminal, before, _on_signals: on_signals })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // The terminal may be gone (a closed window); then there is nothing to restore.
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}
