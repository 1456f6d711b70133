//! Questions over TCP: what a program does whose answer did not fit into a datagram.
//!
//! Each message is preceded by its length, two bytes, high byte first. One question a connection: the asker
//! of a second one connects again (RFC 7766 leaves a server that freedom, and it keeps each conversation a
//! straight line: read, perhaps ask somebody else, write, end).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use process::{CallError, During, step};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use simple_dns::RCODE;

use super::resolver::{Answer, Resolver, refusal};

/// How long a conversation may last, whatever it waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message on its way in: the length, then as many bytes.
#[derive(Debug, Default)]
struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Reads what is there; the message once all of it has come.
    fn read(&mut self, from: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let wanted = match self.bytes.as_slice() {
                [high, low, rest @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if rest.len() == length {
                        return Ok(Some(rest.to_vec()));
                    }
                    2 + length
                }
                _ => 2,
            };
            let had = self.bytes.len();
            self.bytes.resize(wanted, 0);
            let read = from.read(&mut self.bytes[had..]);
            self.bytes.truncate(had + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A message on its way out.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    fn new(message: &[u8]) -> Self {
        // No message here is longer: each came in with a length of two bytes, or was made from so few leases.
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&message[..usize::from(length)]);
        Self { bytes, written: 0 }
    }

    /// Writes what goes; true once everything has gone.
    fn write(&mut self, to: &mut TcpStream) -> std::io::Result<bool> {
        while self.written < self.bytes.len() {
            match to.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not connected yet looks like this too.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Where a conversation stands.
#[derive(Debug)]
enum Stage {
    Reading(Incoming),
    Asking { server: TcpStream, question: Outgoing, answer: Incoming, query: Vec<u8>, asked: usize },
    Writing(Outgoing),
}

/// One connection of somebody who asks.
#[derive(Debug)]
pub struct Conversation {
    client: TcpStream,
    stage: Stage,
    deadline: Instant,
}

/// What came of driving a conversation on.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for one of its sockets.
    Waiting,
    /// It waits, and the socket to the server is a new one, to be watched from now on.
    Asked,
    /// It is over.
    Done,
}

impl Conversation {
    /// Begins with a connection that was accepted.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn new(client: TcpStream) -> Result<Self, CallError> {
        client.set_nonblocking(true).during("fcntl", "O_NONBLOCK")?;
        Ok(Self { client, stage: Stage::Reading(Incoming::default()), deadline: Instant::now() + PATIENCE })
    }

    /// Goes on as far as the sockets let it.
    pub fn drive(&mut self, resolver: &mut Resolver, upstreams: &[SocketAddr]) -> Progress {
        let mut asked = false;
        loop {
            let next = match &mut self.stage {
                Stage::Reading(incoming) => match incoming.read(&mut self.client) {
                    Ok(Some(query)) => match resolver.answer(&query) {
                        Answer::Reply(reply) => Stage::Writing(Outgoing::new(&reply)),
                        Answer::Forward => ask(query, upstreams, 0),
                        Answer::Ignore => return Progress::Done,
                    },
                    Ok(None) => return Progress::Waiting,
                    Err(_) => return Progress::Done,
                },
                Stage::Asking { server, question, answer, query, asked: skip } => {
                    match question.write(server).and_then(|sent| if sent { answer.read(server) } else { Ok(None) }) {
                        Ok(Some(reply)) => Stage::Writing(Outgoing::new(&reply)),
                        Ok(None) => return if asked { Progress::Asked } else { Progress::Waiting },
                        Err(_) => ask(std::mem::take(query), upstreams, *skip),
                    }
                }
                Stage::Writing(reply) => match reply.write(&mut self.client) {
                    Ok(false) => return Progress::Waiting,
                    Ok(true) | Err(_) => return Progress::Done,
                },
            };
            asked |= matches!(next, Stage::Asking { .. });
            self.stage = next;
        }
    }

    /// The socket to the server that is being asked, if one is.
    pub fn server(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Asking { server, .. } => Some(server.as_fd()),
            _ => None,
        }
    }

    /// When patience ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

/// Begins to ask the next server; tells the asker of the failure when there is none.
fn ask(query: Vec<u8>, upstreams: &[SocketAddr], skip: usize) -> Stage {
    for (index, upstream) in upstreams.iter().enumerate().skip(skip) {
        if let Ok(server) = connect(*upstream) {
            let question = Outgoing::new(&query);
            return Stage::Asking { server, question, answer: Incoming::default(), query, asked: index + 1 };
        }
    }
    Stage::Writing(Outgoing::new(&refusal(&query, RCODE::ServerFailure).unwrap_or_default()))
}

/// Begins a connection without waiting for it: the first write that succeeds says that it stands.
fn connect(upstream: SocketAddr) -> Result<TcpStream, CallError> {
    step!(10, "connect", "tcp(7)", "pass a question on that is not about our containers", "to {upstream}");
    let family = if upstream.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).during("socket", upstream)?;
    match rustix::net::connect(&socket, &upstream) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno).during("connect", upstream),
    }
}
