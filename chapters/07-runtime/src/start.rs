//! `start`: one word on a socket, and an answer that says whether the program runs.
//!
//! ```text
//!   start                                  init (inside, at AwaitStart)
//!     | connect start.sock --------------->  accept
//!     | "s" ------------------------------>  hooks, privileges, execve
//!     | <----------- "f" + descriptor -----  the filter asks somebody: here is the listener
//!     | "g" ------------------------------>  it has been given to the agent
//!     | <----------- end of file ----------  execve closed the descriptor: it runs
//!     | <----------- an error, as JSON ----  a step failed
//! ```
//!
//! The socket has a path so that another process than the one that created the container can start it, and
//! `create` may end in between.

use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use oci_spec::runtime::Spec;
use process::channel::HANDED_OVER;
use process::{CallError, ChildError, During as _, PidFd, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::agent;
use crate::error::Error;
use crate::handle::Handle;
use crate::hooks;
use crate::spec;
use crate::state::{Record, State, StateDir, Status};

const NAME: &str = "start.sock";

/// The socket that init waits on.
#[derive(Debug)]
pub(crate) struct StartSocket(UnixListener);

impl StartSocket {
    pub(crate) fn listen(directory: &Path) -> Result<Self, Error> {
        let (_held, path) = short_path(directory)?;
        Ok(Self(UnixListener::bind(&path).during("bind", directory.join(NAME).display())?))
    }
}

impl AsRawFd for StartSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A socket's path has room for 107 bytes: reach a long directory through a descriptor of it.
fn short_path(directory: &Path) -> Result<(OwnedFd, String), Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = rustix::fs::open(directory, flags, Mode::empty()).during("open", directory.display())?;
    let path = format!("/proc/self/fd/{}/{NAME}", held.as_raw_fd());
    Ok((held, path))
}

/// Starts a created container's program. Returns once it has been executed, with the hooks that failed afterwards.
///
/// # Errors
/// [`Error::Status`] when it is not `created`; a configuration without a process; [`Error::CommandNotFound`],
/// [`Error::NotExecutable`]; a hook's failure. Where that hook is one of those after the start, the program is killed.
///
/// # References
/// OCI runtime spec, runtime.md, "Start"
pub fn start(state: &StateDir, id: &str) -> Result<Vec<Error>, Error> {
    let _lock = state.lock(id)?;
    go_on(state, state.record_now(id)?, &state.spec(id)?)
}

/// The same for whoever has just made the container. Should somebody else have started it meanwhile, nobody listens any more.
pub(crate) fn start_made(handle: &Handle) -> Result<Vec<Error>, Error> {
    let Handle { state, record, spec, .. } = handle;
    let _lock = state.lock(&record.state.id)?;
    go_on(state, record.clone(), spec)
}

fn go_on(state: &StateDir, mut record: Record, spec: &Spec) -> Result<Vec<Error>, Error> {
    let id = record.state.id.as_str();
    if record.state.status != Status::Created {
        let status = record.state.status.to_string();
        return Err(Error::Status { operation: "start", id: id.to_owned(), status });
    }
    if spec.process().is_none() {
        return Err(spec::refuse("process", "missing: there is nothing to start"));
    }
    let directory = state.container(id)?;
    let (_held, path) = short_path(&directory)?;
    let shown = directory.join(NAME);
    let mut socket = UnixStream::connect(path).during("connect", shown.display())?;
    socket.write_all(b"s").during("write", shown.display())?;
    let mut answer = Vec::new();
    while let Some(listener) = hear(&mut socket, &mut answer).during("read", shown.display())? {
        let pid = record.state.pid.ok_or_else(|| CallError::refused("start", id, "it has ended"))?;
        agent::hand_over(spec, &record.state, pid, &listener)?;
        socket.write_all(b"g").during("write", shown.display())?;
    }
    if !answer.is_empty() {
        let error = serde_json::from_slice::<ChildError>(&answer)
            .map_err(|error| CallError::refused("read", shown.display(), error))?;
        return Err(error.into());
    }
    record.state.status = Status::Running;
    state.write(&record)?;
    run_poststart(spec, &record.state)
}

/// Until version 1.2 of the specification a failing hook after the start was worth a warning; since 1.3 it ends the
/// container. The configuration says which of them its author has read.
fn run_poststart(spec: &Spec, state: &State) -> Result<Vec<Error>, Error> {
    let hooks = spec.hooks().as_ref().and_then(|hooks| hooks.poststart().as_deref()).unwrap_or_default();
    if spec::minor_version(spec) < 3 {
        return Ok(hooks::run_to_the_end(hooks, state));
    }
    hooks::run(hooks, state).map(|()| Vec::new()).inspect_err(|_| {
        // It may have ended by itself meanwhile.
        let _ = state.pid.map(|pid| PidFd::open(pid).and_then(|pidfd| pidfd.signal(Signal::SIGKILL)));
    })
}

/// Whether it is init that ended it: it let go of the connection, or was gone before there was one. It failed at a step
/// then, and had no time to say so here.
pub(crate) fn was_broken_off(error: &Error) -> bool {
    let broken = |error: &CallError| matches!(error.errno(), Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNREFUSED);
    match error {
        Error::Call(error) => broken(error) && error.object.ends_with(NAME),
        Error::Status { .. } => true,
        _ => false,
    }
}

/// Reads on: a descriptor that init hands over, or `None` at the end, when `answer` is what it said.
fn hear(socket: &mut UnixStream, answer: &mut Vec<u8>) -> std::io::Result<Option<OwnedFd>> {
    loop {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = match recvmsg(&*socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => continue,
            received => received?.bytes,
        };
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        if descriptor.is_some() && bytes[..length] == *HANDED_OVER {
            return Ok(descriptor);
        }
        answer.extend(&bytes[..length]);
        if length == 0 || answer.len() > process::channel::LIMIT {
            return Ok(None);
        }
    }
}
