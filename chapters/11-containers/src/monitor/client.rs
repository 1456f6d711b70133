//! Whoever talks to a monitor: clients of the streams, and clients of the control socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use network::PortMapping;
use process::{CallError, During as _, pty};
use serde::{Deserialize, Serialize};

/// A client that has this many bytes before it is not given more: the container waits, bytes.
pub(super) const HIGH: usize = 256 << 10;

/// The longest request on the control socket, bytes.
const LONGEST_REQUEST: usize = 4 << 10;

/// What is said to `control.sock`, one JSON object a line.
///
/// ```text
/// -> {"resize":{"rows":40,"columns":120}}
/// -> "wait"
/// <- {"exited":{"code":0}}                   when the container has ended and everything is released
/// -> "keep"
/// <- "kept"                                  with --rm: it ends to be started again, and stays
/// -> "stop"
/// <- "stopping"                              with --restart: its next end is the last
/// -> "ports"
/// <- {"published":{"ports":[...]}}          what the record says is published is, and nothing else
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// The client's terminal has this size now.
    Resize(pty::Size),
    /// Tell me how it ends.
    Wait,
    /// Do not remove it at this end, whatever `--rm` said: it is about to be started again.
    Keep,
    /// Do not start it again at this end, whatever its restart policy says: somebody wants it to end.
    Stop,
    /// Read its record again, and publish what that says now.
    Ports,
}

/// What `control.sock` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    /// The container ended.
    Exited {
        /// As `docker wait` prints it.
        code: u8,
    },
    /// It will stay.
    Kept,
    /// It will not be started again.
    Stopping,
    /// These ports are published now.
    Published {
        /// As they really are.
        ports: Vec<PortMapping>,
    },
    /// The ports are as they were.
    Refused {
        /// Why.
        reason: String,
    },
}

/// One client of the streams.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    pending: VecDeque<u8>,
    sends: bool,
    gone: bool,
}

impl Client {
    pub(super) fn new(socket: UnixStream) -> Result<Self, CallError> {
        socket.set_nonblocking(true).during("fcntl O_NONBLOCK", "client")?;
        Ok(Self { socket, pending: VecDeque::new(), sends: true, gone: false })
    }

    /// Whether it may still send input.
    pub(super) fn sends(&self) -> bool {
        self.sends
    }

    /// Whether it is not to be served any more.
    pub(super) fn gone(&self) -> bool {
        self.gone
    }

    /// Whether something is still to be sent to it.
    pub(super) fn has_pending(&self) -> bool {
        !self.gone && !self.pending.is_empty()
    }

    /// Whether it has more before it than it should.
    pub(super) fn is_behind(&self) -> bool {
        self.pending.len() > HIGH
    }

    /// Queues bytes for it, and sends what can be sent at once.
    pub(super) fn queue(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.pending.extend(part.iter());
        }
        self.flush();
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) {
        while !self.pending.is_empty() && !self.gone {
            match self.socket.write(self.pending.as_slices().0) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Reads input into `buffer`: how many bytes; 0 also when there is nothing now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.socket.read(buffer) {
            Ok(0) => self.sends = false,
            Ok(read) => return read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
        0
    }

    /// It has hung up.
    pub(super) fn leave(&mut self) {
        self.gone = true;
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One client of the control socket.
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixStream,
    line: Vec<u8>,
    waits: bool,
    gone: bool,
}

impl Control {
    pub(super) fn new(socket: UnixStream) -> Result<Self, CallError> {
        socket.set_nonblocking(true).during("fcntl O_NONBLOCK", "control client")?;
        Ok(Self { socket, line: Vec::new(), waits: false, gone: false })
    }

    pub(super) fn gone(&self) -> bool {
        self.gone
    }

    /// The requests that have arrived. A client that sends anything else is dropped.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        let mut buffer = [0; 512];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.gone = true,
            Ok(read) => self.line.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
        let mut requests = Vec::new();
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Request::Wait) => self.waits = true,
                Ok(request) => requests.push(request),
                Err(_) => self.gone = true,
            }
        }
        self.gone |= self.line.len() > LONGEST_REQUEST;
        requests
    }

    /// Answers a client that waits.
    pub(super) fn exited(&mut self, code: u8) {
        if std::mem::take(&mut self.waits) {
            self.answer(Reply::Exited { code });
        }
    }

    /// Answers a client. The answer is shorter than any socket's buffer, or it is dropped with its client.
    pub(super) fn answer(&mut self, reply: Reply) {
        if let Ok(mut line) = serde_json::to_vec(&reply) {
            line.push(b'\n');
            self.gone |= self.socket.write_all(&line).is_err();
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
