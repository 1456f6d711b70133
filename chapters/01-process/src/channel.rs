//! The channel between a parent and its child, from clone to exec.
//!
//! A socket pair that keeps message boundaries (`SOCK_SEQPACKET`), close-on-exec on both sides:
//!
//! ```text
//!   child                                   parent
//!     | -- Told { chapter, call, ... } ------> |   narration, emitted by the parent
//!     | -- Reached { checkpoint } (+ fd) ----> |   "I have no ids yet", "here is the terminal"
//!     | <------------------------------ Go --- |   after the parent did its part
//!     | -- Forked (+ pidfd) -----------------> |   "from now on this other process is your child"
//!     | -- Ready ----------------------------> |   the last word before execve, or before a filter that could forbid words
//!     | -- Failed { step, error } -----------> |   at any time instead
//!     x    end of file                         |   after Ready: exec has happened; before: it died
//! ```
//!
//! Records are JSON of at most [`LIMIT`] bytes: the child is one of ours, but a bound costs nothing.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, During};
use crate::narrate::Told;
use crate::sys;

/// The largest record, in bytes.
pub const LIMIT: usize = 16 * 1024;

/// What a starter reads beside a descriptor that it is handed. An error begins with `{`.
pub const HANDED_OVER: &[u8] = b"f";

/// A step of init that failed, as the parent learns of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildError {
    /// The step's name ([`Step::name`](crate::Step::name)).
    pub step: String,
    /// What failed in it.
    pub error: CallError,
}

impl ChildError {
    /// A failure that is short enough for a record: one whose path was cut still tells more than one that was lost.
    pub(crate) fn fitting(step: &str, error: CallError) -> Self {
        let CallError { operation, object, data, errno } = error;
        let error = CallError { operation: cut(&operation).into(), object: cut(&object), data: cut(&data), errno };
        Self { step: cut(step), error }
    }
}

impl std::fmt::Display for ChildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Most operations begin with their step's name; saying it twice helps nobody.
        if !self.error.operation.starts_with(&self.step) {
            write!(f, "{}: ", self.step)?;
        }
        write!(f, "{}", self.error)
    }
}

impl std::error::Error for ChildError {}

/// What a child can say.
#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Told(Told),
    Reached(String),
    Forked,
    Ready,
    Failed(ChildError),
}

/// What the parent hears, narration already emitted.
#[derive(Debug)]
pub enum Heard {
    /// The child waits at a checkpoint of this name for [`Outside::go`].
    Reached(String, Option<OwnedFd>),
    /// The child has forked and ends; the process behind this descriptor goes on in its place.
    Forked(OwnedFd),
    /// The next thing the child does is `execve`.
    Ready,
    /// A step failed.
    Failed(ChildError),
    /// The child's end is closed.
    Closed,
}

/// The child's end.
#[derive(Debug)]
pub struct Inside {
    socket: OwnedFd,
    said_ready: bool,
}

/// The parent's end.
#[derive(Debug)]
pub struct Outside {
    socket: OwnedFd,
}

/// Makes both ends.
///
/// # Errors
/// Those of `socketpair(2)`.
pub(crate) fn pair() -> Result<(Outside, Inside), CallError> {
    let (outside, inside) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during("socketpair", "init channel")?;
    Ok((Outside { socket: outside }, Inside { socket: inside, said_ready: false }))
}

impl Inside {
    /// Says that a checkpoint is reached, hands over a descriptor if there is one, and waits for the parent.
    ///
    /// # Errors
    /// When the parent is gone.
    pub fn reach(&mut self, checkpoint: &str, descriptor: Option<BorrowedFd<'_>>) -> Result<(), CallError> {
        send(self.socket.as_fd(), &Record::Reached(checkpoint.to_owned()), descriptor)?;
        let mut go = [0; 1];
        let (length, _) = net::recv(&self.socket, &mut go, RecvFlags::empty()).during("wait at", checkpoint)?;
        if length == 1 { Ok(()) } else { Err(CallError::refused("wait at", checkpoint, "the parent is gone")) }
    }

    pub(crate) fn forked(&self, pidfd: BorrowedFd<'_>) -> Result<(), CallError> {
        send(self.socket.as_fd(), &Record::Forked, Some(pidfd))
    }

    /// The last word before `execve`; said once, however often it is asked for. A parent that has left at a checkpoint
    /// on purpose (`create` ends before `start` is called) misses it, and that is no failure.
    ///
    /// A step after which this process may not be able to speak (a system call filter) says it first.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`.
    pub fn ready(&mut self) -> Result<(), CallError> {
        if std::mem::replace(&mut self.said_ready, true) {
            return Ok(());
        }
        match send(self.socket.as_fd(), &Record::Ready, None) {
            Err(error) if error.errno() == nix::errno::Errno::EPIPE => Ok(()),
            sent => sent,
        }
    }

    /// Hands a descriptor to whoever brings this process to its exec, and waits until it has been taken care of: the
    /// starter where there is one (the parent may have left), else the parent, who sees a checkpoint of this name.
    ///
    /// # Errors
    /// When whoever it is is gone.
    pub fn hand_over(&mut self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), CallError> {
        let Some(starter) = crate::spawn::starter() else { return self.reach(name, Some(descriptor)) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        net::sendmsg(starter, &[IoSlice::new(HANDED_OVER)], &mut ancillary, SendFlags::NOSIGNAL)
            .during("send", name)?;
        let mut go = [0; 1];
        let (length, _) = net::recv(starter, &mut go, RecvFlags::empty()).during("wait for", name)?;
        if length == 1 { Ok(()) } else { Err(CallError::refused("wait for", name, "the starter is gone")) }
    }

    pub(crate) fn failed(&self, step: &str, error: CallError) {
        use std::os::fd::AsRawFd as _;
        failed_on(self.socket.as_raw_fd(), step, error);
    }

    /// Whether the parent still holds its end.
    pub(crate) fn parent_is_there(&self) -> Result<bool, CallError> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).during("poll", "init channel")?;
        Ok(!fds[0].revents().contains(PollFlags::HUP))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Outside {
    /// The next thing that is not narration.
    ///
    /// # Errors
    /// A record that is cut or malformed, or those of `recvmsg(2)`.
    pub fn hear(&mut self) -> Result<Heard, CallError> {
        loop {
            let Some((record, descriptor)) = receive(self.socket.as_fd())? else { return Ok(Heard::Closed) };
            match (record, descriptor) {
                (Record::Told(told), _) => told.emit(),
                (Record::Reached(name), descriptor) => return Ok(Heard::Reached(name, descriptor)),
                (Record::Forked, Some(pidfd)) => return Ok(Heard::Forked(pidfd)),
                (Record::Forked, None) => {
                    return Err(CallError::refused("recvmsg", "init channel", "a fork without its pidfd"));
                }
                (Record::Ready, _) => return Ok(Heard::Ready),
                (Record::Failed(error), _) => return Ok(Heard::Failed(error)),
            }
        }
    }

    /// Lets the child go on from its checkpoint.
    ///
    /// # Errors
    /// EPIPE when the child is gone.
    pub fn go(&mut self) -> Result<(), CallError> {
        net::send(&self.socket, b"g", SendFlags::NOSIGNAL).map(drop).during("let go", "init channel")
    }
}

/// Reports a failed step on a channel known by its number, as a panic hook must.
pub(crate) fn failed_on(fd: RawFd, step: &str, error: CallError) {
    // If the parent is gone there is nobody left to tell; the child exits either way.
    let _ = send(sys::borrow(fd), &Record::Failed(ChildError::fitting(step, error)), None);
}

/// The longest of a failure's four texts, in bytes as JSON writes them: together they fit into a record.
const LONGEST_TEXT: usize = LIMIT / 5;

/// The text, or as much of its beginning as has room and a sign that there was more.
fn cut(text: &str) -> String {
    const CUT: &str = "... (cut)";
    // What JSON writes for a character: `\u0007` is six bytes, `\"` two, most others stay what they are.
    let cost = |character: char| match character {
        '"' | '\\' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    };
    let end_of = |room: usize| {
        let mut used = 0;
        text.char_indices().find_map(|(index, character)| {
            used += cost(character);
            (used > room).then_some(index)
        })
    };
    match (end_of(LONGEST_TEXT), end_of(LONGEST_TEXT - CUT.len())) {
        (Some(_), Some(end)) => format!("{}{CUT}", &text[..end]),
        _ => text.to_owned(),
    }
}

/// Narration from a child: called by [`narrate::tell`](crate::narrate::tell) with the sink's descriptor.
pub(crate) fn told_by_child(fd: RawFd, told: Told) {
    // Narration that cannot be sent is lost, and must not change what the child does.
    let _ = send(sys::borrow(fd), &Record::Told(told), None);
}

fn send(socket: BorrowedFd<'_>, record: &Record, descriptor: Option<BorrowedFd<'_>>) -> Result<(), CallError> {
    let bytes = serde_json::to_vec(record).map_err(|error| CallError::refused("encode", "init record", error))?;
    if bytes.len() > LIMIT {
        return Err(CallError::refused("send", "init record", "longer than the channel's limit"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|fd| [fd]);
    if let Some(descriptors) = &descriptors {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .during("send", "init channel")
}

fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Record, Option<OwnedFd>)>, CallError> {
    let mut bytes = vec![0; LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // A child that was killed with our unread answer in its queue resets the connection: it is closed.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            result => break result.during("recvmsg", "init channel")?,
        }
    };
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(CallError::refused("recvmsg", "init channel", "record longer than the channel's limit"));
    }
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let record = serde_json::from_slice(&bytes[..message.bytes])
        .map_err(|error| CallError::refused("decode", "init record", error))?;
    Ok(Some((record, descriptor)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn an_error_that_is_too_long_is_cut_and_not_lost() {
        let (mut outside, inside) = pair().unwrap();
        for character in ["x", "\u{7}", "\"", "é", "\u{1F6E2}"] {
            let long = character.repeat(3 * LIMIT);
            inside.failed(&long, CallError::new(long.clone(), &long, Errno::ENAMETOOLONG).with(&long));
            let Heard::Failed(heard) = outside.hear().unwrap() else { panic!("not a failure") };
            assert_eq!(heard.error.errno(), Errno::ENAMETOOLONG);
            for text in [&heard.error.object, &heard.error.data, &*heard.error.operation, &heard.step] {
                assert!(text.starts_with(character) && text.ends_with("... (cut)"), "{text:.20}");
            }
        }
    }

    #[test]
    fn an_error_that_fits_is_heard_as_it_was_said() {
        let (mut outside, inside) = pair().unwrap();
        let said = CallError::new("mount on", "p".repeat(3000), Errno::EINVAL).with("MS_NODEV");
        inside.failed("mount", said.clone());
        let Heard::Failed(heard) = outside.hear().unwrap() else { panic!("not a failure") };
        assert_eq!(heard.error, said);
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_on_either_side() {
        let (mut outside, inside) = pair().unwrap();
        let record = Record::Reached("x".repeat(LIMIT));
        assert!(send(inside.as_fd(), &record, None).unwrap_err().to_string().contains("longer than"));
        // Somebody who does not keep to our side of the rule.
        net::send(&inside.socket, &vec![b' '; LIMIT + 1], SendFlags::NOSIGNAL).unwrap();
        assert!(outside.hear().unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        let (mut outside, inside) = pair().unwrap();
        for nonsense in [&b"{"[..], b"\xff\xfe", b"{\"Nope\":1}", b"\"Forked\""] {
            net::send(&inside.socket, nonsense, SendFlags::NOSIGNAL).unwrap();
            outside.hear().unwrap_err();
        }
    }

    #[test]
    fn the_end_of_the_other_side_is_seen() {
        let (mut outside, inside) = pair().unwrap();
        assert!(inside.parent_is_there().unwrap());
        drop(inside);
        assert!(matches!(outside.hear().unwrap(), Heard::Closed));
        let (outside, inside) = pair().unwrap();
        drop(outside);
        assert!(!inside.parent_is_there().unwrap());
    }
}
