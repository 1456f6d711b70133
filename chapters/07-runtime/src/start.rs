//! `start`: one word on a socket, and an answer that says whether the program runs.
//!
//! ```text
//!   start                                  init (inside, at AwaitStart)
//!     | connect start.sock --------------->  accept
//!     | "s" ------------------------------>  hooks, privileges, execve
//!     | <----------- end of file ----------  execve closed the descriptor: it runs
//!     | <----------- an error, as JSON ----  a step failed
//! ```
//!
//! The socket has a path so that another process than the one that created the container can start it, and
//! `create` may end in between.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use process::{CallError, ChildError, During as _};
use rustix::fs::{Mode, OFlags};

use crate::create::hook_state;
use crate::error::Error;
use crate::hooks;
use crate::state::{StateDir, Status};

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

/// Starts a created container's program. Returns once it has been executed.
///
/// # Errors
/// [`Error::Status`] when it is not `created`; [`Error::CommandNotFound`], [`Error::NotExecutable`]; a hook's failure.
///
/// # References
/// OCI runtime spec, runtime.md, "Start"
pub fn start(state: &StateDir, id: &str) -> Result<(), Error> {
    let _lock = state.lock(id)?;
    let mut record = state.record(id)?;
    if record.state.status != Status::Created {
        let status = record.state.status.to_string();
        return Err(Error::Status { operation: "start", id: id.to_owned(), status });
    }
    let directory = state.container(id)?;
    let (_held, path) = short_path(&directory)?;
    let shown = directory.join(NAME);
    let mut socket = UnixStream::connect(path).during("connect", shown.display())?;
    socket.write_all(b"s").during("write", shown.display())?;
    let mut answer = Vec::new();
    socket.take(process::channel::LIMIT as u64).read_to_end(&mut answer).during("read", shown.display())?;
    if !answer.is_empty() {
        let error = serde_json::from_slice::<ChildError>(&answer)
            .map_err(|error| CallError::refused("read", shown.display(), error))?;
        return Err(error.into());
    }
    record.state.status = Status::Running;
    state.write(&record)?;
    let spec = state.spec(id)?;
    let poststart = spec.hooks().as_ref().and_then(|hooks| hooks.poststart().clone()).unwrap_or_default();
    hooks::run(&poststart, &hook_state(&record.state))
}
