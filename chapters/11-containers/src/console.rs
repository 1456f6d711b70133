//! The user's side of a container's streams: copying, raw mode, sizes, signals, and the keys to leave.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use process::signals::SignalFd;
use process::{CallError, During as _, PidFd, Signal, pty};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::detach::DetachKeys;
use crate::framing::{Stream, Unframer};

/// What one read takes, bytes.
const PIECE: usize = 16 << 10;

/// How a session at a console ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The outputs came to their end.
    Closed,
    /// The user left with the detach keys; the container goes on.
    Detached,
}

/// The far end of standard input.
pub(crate) enum Input {
    /// A monitor: its end is told by shutting down our writing half.
    Socket(UnixStream),
    /// A pipe: its end is told by closing it.
    Pipe(OwnedFd),
    /// A terminal: there the end is a key, not a state.
    Terminal(OwnedFd),
}

/// The far end of an output.
pub(crate) enum Output {
    /// Two streams in frames.
    Framed(UnixStream, Unframer),
    /// One stream as it is.
    Plain(OwnedFd, Stream),
}

impl Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Pipe(fd) | Self::Terminal(fd) => fd.as_fd(),
        }
    }
}

impl Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Framed(socket, _) => socket.as_fd(),
            Self::Plain(fd, _) => fd.as_fd(),
        }
    }
}

/// Whether a read found something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Piece,
    NothingNow,
    End,
}

/// What the other side is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The user's terminal has this size.
    Resized(pty::Size),
    /// A signal that this process got in the container's stead.
    Signal(Signal),
}

/// Both directions between this process's standard streams and a container.
pub(crate) struct Console {
    /// Where standard input goes, if anywhere.
    pub(crate) input: Option<Input>,
    /// Where outputs come from.
    pub(crate) outputs: Vec<Output>,
    /// Which of their streams are not printed.
    pub(crate) muted: Vec<Stream>,
    /// Whether the container's side is a terminal: then ours becomes raw.
    pub(crate) terminal: bool,
    /// Whether signals are passed on (`--sig-proxy`); a raw terminal's keys arrive as bytes instead.
    pub(crate) signals: bool,
    /// A process whose end is the session's, though others may hold its outputs open.
    pub(crate) until: Option<PidFd>,
    /// The keys to leave with; only of a terminal.
    pub(crate) keys: DetachKeys,
}

/// What `poll` reports about.
#[derive(Clone, Copy)]
enum Token {
    Stdin,
    Send,
    Output(usize),
    Signal,
    End,
}

impl Console {
    /// Copies until the outputs end or the user leaves.
    ///
    /// # Errors
    /// When our own standard streams fail. (That the other side is gone is an end, not an error.)
    pub(crate) fn run(mut self, notify: &mut dyn FnMut(Notice)) -> Result<Ended, CallError> {
        let stdin = io::stdin();
        let raw = self.terminal && self.input.is_some() && rustix::termios::isatty(&stdin);
        let _undone_at_the_end = raw.then(|| pty::RawMode::enter(stdin.as_fd())).transpose()?;
        let signals = SignalFd::block(self.signals_to_take())?;
        if self.terminal {
            tell_size(notify);
        }
        if let Some(input) = &self.input {
            rustix::io::ioctl_fionbio(input.as_fd(), true).during("ioctl FIONBIO", "input")?;
        }
        // What was typed and not yet taken by the other side. Reading goes on only when it is empty, and writing never
        // waits: a container that does not read must not stop us from reading what it prints.
        let mut unsent = Vec::new();
        while !self.outputs.is_empty() {
            let mut ended = Vec::new();
            for token in self.wait(stdin.as_fd(), &signals, !unsent.is_empty())? {
                match token {
                    Token::Stdin => {
                        if self.read_stdin(stdin.as_fd(), &mut unsent)? {
                            return Ok(Ended::Detached);
                        }
                    }
                    Token::Send => self.send(&mut unsent),
                    Token::Output(index) => {
                        if self.print(index)? == Found::End {
                            ended.push(index);
                        }
                    }
                    Token::Signal => take_signal(&signals, notify)?,
                    Token::End => {
                        self.print_rest()?;
                        return Ok(Ended::Closed);
                    }
                }
            }
            for index in ended.into_iter().rev() {
                self.outputs.remove(index);
            }
        }
        Ok(Ended::Closed)
    }

    fn signals_to_take(&self) -> Vec<Signal> {
        // Stopping and continuing stay with the user's shell; the size is nobody's business without a terminal.
        let ours = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT, Signal::SIGWINCH];
        match (self.terminal, self.signals) {
            // What ends us ends us, and gives the terminal back first; the container goes on.
            (true, _) => vec![Signal::SIGWINCH],
            (false, true) => Signal::passed_on().filter(|signal| !ours.contains(signal)).collect(),
            (false, false) => Vec::new(),
        }
    }

    fn wait(&self, stdin: BorrowedFd<'_>, signals: &SignalFd, unsent: bool) -> Result<Vec<Token>, CallError> {
        let mut watched = vec![(Token::Signal, signals.as_fd(), PollFlags::IN)];
        match &self.input {
            Some(input) if unsent => watched.push((Token::Send, input.as_fd(), PollFlags::OUT)),
            Some(_) => watched.push((Token::Stdin, stdin, PollFlags::IN)),
            None => {}
        }
        for (index, output) in self.outputs.iter().enumerate() {
            watched.push((Token::Output(index), output.as_fd(), PollFlags::IN));
        }
        // Last, so that what was printed before the end is printed before it.
        watched.extend(self.until.iter().map(|process| (Token::End, process.as_fd(), PollFlags::IN)));
        let mut fds: Vec<_> = watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "console"),
        }
        Ok(watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|((token, ..), _)| *token).collect())
    }

    /// Reads what the user typed. True when they left.
    fn read_stdin(&mut self, stdin: BorrowedFd<'_>, unsent: &mut Vec<u8>) -> Result<bool, CallError> {
        let mut buffer = [0; PIECE];
        let read = match rustix::io::read(stdin, &mut buffer) {
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A terminal that is gone, or was never there for us: nothing more will come.
            Err(_) => 0,
        };
        if read == 0 {
            match self.input.take() {
                // It may be gone already; then there is nobody to tell.
                Some(Input::Socket(socket)) => drop(socket.shutdown(std::net::Shutdown::Write)),
                Some(Input::Pipe(_) | Input::Terminal(_)) | None => {}
            }
            return Ok(false);
        }
        if !self.terminal {
            unsent.extend_from_slice(&buffer[..read]);
        } else if self.keys.filter(&buffer[..read], unsent) {
            return Ok(true);
        }
        self.send(unsent);
        Ok(false)
    }

    fn send(&mut self, unsent: &mut Vec<u8>) {
        let Some(input) = &self.input else { return };
        match rustix::io::write(input.as_fd(), unsent) {
            Ok(written) => drop(unsent.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                unsent.clear();
                self.input = None;
            }
        }
    }

    /// Copies one piece of an output to ours.
    fn print(&mut self, index: usize) -> Result<Found, CallError> {
        let mut buffer = [0; PIECE];
        let output = &mut self.outputs[index];
        let read = match rustix::io::read(output.as_fd(), &mut buffer) {
            Ok(read) if read > 0 => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Found::NothingNow),
            // EIO of a terminal whose other side is closed, a reset connection: the end.
            Ok(_) | Err(_) => return Ok(Found::End),
        };
        match output {
            Output::Framed(_, frames) => {
                let muted = &self.muted;
                let print = |stream, piece: &[u8]| if muted.contains(&stream) { Ok(()) } else { write(stream, piece) };
                frames
                    .feed(&buffer[..read], |stream, piece| print(stream, piece).map_err(Broken::Ours))
                    .map_err(Broken::error)?;
            }
            Output::Plain(_, stream) => write(*stream, &buffer[..read])?,
        }
        Ok(Found::Piece)
    }

    /// The process has ended: prints what its pipes still hold.
    fn print_rest(&mut self) -> Result<(), CallError> {
        for index in 0..self.outputs.len() {
            rustix::io::ioctl_fionbio(self.outputs[index].as_fd(), true).during("ioctl FIONBIO", "output")?;
            while self.print(index)? == Found::Piece {}
        }
        Ok(())
    }
}

/// Why a framed stream could not be printed: our output, or their bytes.
enum Broken {
    Ours(CallError),
    Theirs(String),
}

impl From<String> for Broken {
    fn from(reason: String) -> Self {
        Self::Theirs(reason)
    }
}

impl Broken {
    fn error(self) -> CallError {
        match self {
            Self::Ours(error) => error,
            Self::Theirs(reason) => CallError::refused("read", "attach.sock", reason),
        }
    }
}

fn write(stream: Stream, piece: &[u8]) -> Result<(), CallError> {
    match stream {
        Stream::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(piece).and_then(|()| stdout.flush()).during("write", "stdout")
        }
        Stream::Stderr => io::stderr().lock().write_all(piece).during("write", "stderr"),
    }
}

fn take_signal(signals: &SignalFd, notify: &mut dyn FnMut(Notice)) -> Result<(), CallError> {
    while let Some(signal) = signals.take()? {
        match signal {
            Signal::SIGWINCH => tell_size(notify),
            other => notify(Notice::Signal(other)),
        }
    }
    Ok(())
}

/// The size of the user's terminal, if either standard stream is one.
pub(crate) fn size() -> Option<pty::Size> {
    pty::size(io::stdin().as_fd()).or_else(|_| pty::size(io::stdout().as_fd())).ok()
}

fn tell_size(notify: &mut dyn FnMut(Notice)) {
    if let Some(size) = size() {
        notify(Notice::Resized(size));
    }
}
