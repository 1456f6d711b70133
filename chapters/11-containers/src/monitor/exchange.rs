//! The loop of a monitor: bytes between the container, its log and whoever is attached.
//!
//! ```text
//!  container            monitor                      clients
//!  stdout ---pipe-->  [ exchange ] --frames-->  attach.sock  (any number)
//!  stderr ---pipe-->  [    |     ] <--stdin---
//!  stdin  <--pipe---  [    |     ] <--JSON--->  control.sock (resize, wait)
//!                       log.json
//! ```
//!
//! One thread, one `poll`. Nothing is lost and nothing grows: a client that does not read makes the monitor stop
//! reading the container's outputs, and then the container itself waits in `write`, exactly as if
//! it wrote to that client's pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use process::{CallError, During as _, PidFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::{Client, HIGH};
use super::desk::Desk;
use super::journal::Journal;
use super::switchboard::Switchboard;
use crate::framing::{self, Stream};

/// What one read takes, bytes: a frame's length, too.
const PIECE: usize = 16 << 10;

/// Something else that the monitor serves beside the streams: the names of chapter 10, health checks.
pub(super) trait Service {
    /// Descriptors to wait for.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
    /// When to be called even if none of them is readable.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Called when any of them is readable, and when the deadline is over.
    fn serve(&mut self);
}

/// One of the container's outputs, our end.
struct Output {
    fd: OwnedFd,
    stream: Stream,
    ended: bool,
}

/// The container's input, our end, and what it has not taken yet.
struct Input {
    fd: OwnedFd,
    pending: Vec<u8>,
    ending: bool,
}

/// Our ends of a container's streams.
pub(super) struct Streams {
    /// The pseudo-terminal's master, if the container has one.
    pub(super) terminal: Option<OwnedFd>,
    /// The writing end of its input, if that is open.
    pub(super) stdin: Option<OwnedFd>,
    /// The reading ends of its outputs; none with a terminal.
    pub(super) outputs: Vec<(OwnedFd, Stream)>,
    /// Whether the first client's end of input is the container's.
    pub(super) stdin_once: bool,
}

/// Everything that the loop holds.
pub(super) struct Exchange {
    terminal: Option<OwnedFd>,
    outputs: Vec<Output>,
    input: Option<Input>,
    stdin_once: bool,
    /// None where nothing is to be kept.
    journal: Option<Journal>,
    attach: UnixListener,
    clients: Vec<Client>,
    services: Vec<Box<dyn Service>>,
    /// The control socket, and what was asked there.
    pub(super) desk: Desk,
}

/// What `poll` may report about.
#[derive(Clone, Copy)]
enum Token {
    Exit,
    Output(usize),
    Input,
    Attach,
    Control,
    Client(usize),
    Controller(usize),
    Service(usize),
}

impl Exchange {
    /// A loop over `streams`, with the sockets that clients connect to.
    ///
    /// # Errors
    /// When a stream cannot be made non-blocking.
    pub(super) fn new(
        streams: Streams,
        journal: Option<Journal>,
        (attach, control): (UnixListener, UnixListener),
        services: Vec<Box<dyn Service>>,
        switchboard: Switchboard,
    ) -> Result<Self, CallError> {
        let mut outputs: Vec<Output> =
            streams.outputs.into_iter().map(|(fd, stream)| Output { fd, stream, ended: false }).collect();
        if let Some(master) = &streams.terminal {
            let fd = master.try_clone().during("dup", "terminal")?;
            outputs.push(Output { fd, stream: Stream::Stdout, ended: false });
        }
        let input = streams.stdin.map(|fd| Input { fd, pending: Vec::new(), ending: false });
        for fd in outputs.iter().map(|output| &output.fd).chain(input.iter().map(|input| &input.fd)) {
            rustix::io::ioctl_fionbio(fd, true).during("ioctl FIONBIO", "stream")?;
        }
        let Streams { terminal, stdin_once, .. } = streams;
        let (clients, desk) = (Vec::new(), Desk::new(control, switchboard));
        Ok(Self { terminal, outputs, input, stdin_once, journal, attach, clients, services, desk })
    }

    /// Adds a client that was connected before the container began: nothing is lost for it.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub(super) fn join(&mut self, socket: UnixStream) -> Result<(), CallError> {
        self.clients.push(Client::new(socket)?);
        Ok(())
    }

    /// Serves until the container's first process has ended and its outputs are read empty.
    ///
    /// # Errors
    /// Only when polling itself fails: a broken client or a full disk is no reason to let go of a container.
    pub(super) fn until_exit(&mut self, container: &PidFd) -> Result<(), CallError> {
        while !self.turn(Some(container), None)? {}
        // The pipes outlive their writers; what is in them is still the container's output.
        while !self.outputs.is_empty() {
            for index in (0..self.outputs.len()).rev() {
                while self.read_output(index) == Reading::More {}
                self.outputs.remove(index);
            }
        }
        self.input = None;
        // No names and no checks without a container, and no last word of theirs over what is written down next.
        self.services.clear();
        Ok(())
    }

    /// The log lines that a full disk cost.
    pub(super) fn finish_log(&mut self) -> u64 {
        self.journal.as_mut().map_or(0, Journal::finish)
    }

    /// Between two runs: serves for as long as `pause`, or until somebody does not want another run any more.
    ///
    /// # Errors
    /// When polling fails.
    pub(super) fn rest(&mut self, pause: Duration) -> Result<(), CallError> {
        let end = Instant::now() + pause;
        while !self.desk.wants_stop() && Instant::now() < end {
            self.turn(None, Some(end))?;
        }
        Ok(())
    }

    /// Hangs up on every client that has taken all that was meant for it: its streams have ended.
    pub(super) fn hang_up(&mut self) {
        self.clients.retain(Client::has_pending);
    }

    /// Serves until every client has taken what is still meant for it, has gone away, or `limit` is over.
    ///
    /// # Errors
    /// When polling fails.
    pub(super) fn drain(&mut self, limit: Duration) -> Result<(), CallError> {
        let end = Instant::now() + limit;
        self.hang_up();
        while !self.clients.is_empty() && Instant::now() < end {
            self.turn(None, Some(end))?;
            self.hang_up();
        }
        Ok(())
    }

    /// One `poll` and what follows from it; true when the container has ended.
    fn turn(&mut self, container: Option<&PidFd>, end: Option<Instant>) -> Result<bool, CallError> {
        let mut ended = false;
        for (token, flags) in self.wait(container, end)? {
            match token {
                Token::Exit => ended = true,
                Token::Output(index) => {
                    self.read_output(index);
                }
                Token::Input => self.write_input(),
                Token::Attach => self.accept_client(),
                Token::Control => self.desk.accept(),
                Token::Client(index) => self.serve_client(index, flags),
                Token::Controller(index) => self.desk.serve(index, self.terminal.as_ref()),
                Token::Service(index) => self.services[index].serve(),
            }
        }
        self.outputs.retain(|output| !output.ended);
        self.clients.retain(|client| !client.gone());
        self.desk.forget_the_gone();
        Ok(ended)
    }

    /// Waits until something is to be done, and says what.
    fn wait(&self, container: Option<&PidFd>, end: Option<Instant>) -> Result<Vec<(Token, PollFlags)>, CallError> {
        let mut watched: Vec<(Token, BorrowedFd<'_>, PollFlags)> = Vec::new();
        if let Some(container) = container {
            watched.push((Token::Exit, container.as_fd(), PollFlags::IN));
            watched.push((Token::Attach, self.attach.as_fd(), PollFlags::IN));
        }
        watched.push((Token::Control, self.desk.listener(), PollFlags::IN));
        let behind = self.clients.iter().any(Client::is_behind);
        for (index, output) in self.outputs.iter().enumerate().filter(|_| !behind) {
            watched.push((Token::Output(index), output.fd.as_fd(), PollFlags::IN));
        }
        let full = self.input.as_ref().is_some_and(|input| input.pending.len() > HIGH);
        watched.extend(
            self.input
                .iter()
                .filter(|input| !input.pending.is_empty())
                .map(|input| (Token::Input, input.fd.as_fd(), PollFlags::OUT)),
        );
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.sends() && !full);
            flags.set(PollFlags::OUT, client.has_pending());
            // With nothing to ask for, poll would still report a hang-up, before its last bytes could be taken.
            if full && flags.is_empty() {
                continue;
            }
            watched.push((Token::Client(index), client.as_fd(), flags));
        }
        for (index, fd) in self.desk.descriptors().enumerate() {
            watched.push((Token::Controller(index), fd, PollFlags::IN));
        }
        for (index, service) in self.services.iter().enumerate() {
            watched.extend(service.descriptors().into_iter().map(|fd| (Token::Service(index), fd, PollFlags::IN)));
        }
        let deadlines = self.services.iter().filter_map(|service| service.deadline());
        let end = end.into_iter().chain(deadlines).min();
        let mut fds: Vec<_> = watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let limit = end.map(|end| end.saturating_duration_since(Instant::now()));
        let limit = limit.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "monitor"),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        let mut ready: Vec<_> = ready.map(|((token, ..), fd)| (*token, fd.revents())).collect();
        let late =
            self.services.iter().enumerate().filter(|(_, it)| it.deadline().is_some_and(|at| at <= Instant::now()));
        ready.extend(late.map(|(index, _)| (Token::Service(index), PollFlags::empty())));
        Ok(ready)
    }

    /// Takes one piece of an output to the log and to every client.
    fn read_output(&mut self, index: usize) -> Reading {
        let mut buffer = [0; PIECE];
        let output = &mut self.outputs[index];
        match rustix::io::read(&output.fd, &mut buffer) {
            Ok(0) => output.ended = true,
            Ok(read) => {
                let (stream, piece) = (output.stream, &buffer[..read]);
                self.journal.iter_mut().for_each(|journal| journal.add(stream, piece));
                let header = framing::header(stream, read as u32);
                let framed: &[&[u8]] = if self.terminal.is_some() { &[piece] } else { &[&header, piece] };
                self.clients.iter_mut().for_each(|client| client.queue(framed));
                return Reading::More;
            }
            Err(rustix::io::Errno::INTR) => return Reading::More,
            Err(rustix::io::Errno::AGAIN) => {}
            // A terminal says EIO when nobody has its other side open any more: that is its end of file.
            Err(_) => output.ended = true,
        }
        Reading::Done
    }

    /// Gives the container what it takes of its input; afterwards the end of it, if that was said.
    fn write_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        match rustix::io::write(&input.fd, &input.pending) {
            Ok(written) => drop(input.pending.drain(..written)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // It has closed its input: whatever else comes is for nobody.
            Err(_) => {
                input.pending.clear();
                input.ending = true;
            }
        }
        if input.ending && input.pending.is_empty() && self.terminal.is_none() {
            self.input = None;
        }
    }

    fn accept_client(&mut self) {
        // A client that went away before it was accepted is no loss.
        if let Ok((socket, _)) = self.attach.accept() {
            self.clients.extend(Client::new(socket));
        }
    }

    fn serve_client(&mut self, index: usize, flags: PollFlags) {
        let client = &mut self.clients[index];
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if flags.contains(PollFlags::IN) {
            let mut buffer = [0; PIECE];
            let read = client.read(&mut buffer);
            let (sends, gone) = (client.sends(), client.gone());
            if let Some(input) = &mut self.input {
                input.pending.extend_from_slice(&buffer[..read]);
                input.ending |= self.stdin_once && (!sends || gone);
            }
            self.write_input();
        } else if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            client.leave();
        }
    }
}

/// Whether a read found something.
#[derive(PartialEq, Eq)]
enum Reading {
    More,
    Done,
}
