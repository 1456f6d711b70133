//! The seccomp agent: whoever answers the calls that a container's filter asks about.
//!
//! ```text
//!   init                      start, or exec                   agent (listens at listenerPath)
//!     | seccomp(NEW_LISTENER)      |                                |
//!     | -- the listener ---------> | connect ---------------------> |
//!     |                            | -- container process state --> |
//!     | <------------------- "g" - |    with the listener           |
//!     | execve                     x    end of file                 |
//! ```
//!
//! Init cannot reach the agent: its socket lies outside the container's root.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use oci_spec::runtime::Spec;
use process::{CallError, During as _, Pid};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::json;

use crate::error::Error;
use crate::spec::config;
use crate::state::State;

/// Gives the listener of a container's process to the agent that its configuration names.
///
/// # Errors
/// When nobody listens there: a container whose calls nobody answers would stand still.
///
/// # References
/// OCI runtime spec, config-linux.md, "The Container Process State"; seccomp_unotify(2)
pub(crate) fn hand_over(spec: &Spec, state: &State, pid: Pid, listener: &OwnedFd) -> Result<(), Error> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let path = seccomp.and_then(|seccomp| seccomp.listener_path().as_ref());
    let missing = || config(Path::new("config.json"), "linux.seccomp.listenerPath", "missing".to_owned());
    let path = path.ok_or_else(missing)?;
    let metadata = seccomp.and_then(|seccomp| seccomp.listener_metadata().clone()).unwrap_or_default();
    let message = json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": metadata,
        "state": state,
    });
    let agent = UnixStream::connect(path).during("connect to the seccomp agent", path.display())?;
    Ok(send(&agent, message.to_string().as_bytes(), listener).map_err(|error| error.with(path.display()))?)
}

/// The whole message; the descriptor goes with its first byte.
fn send(agent: &UnixStream, message: &[u8], listener: &OwnedFd) -> Result<(), CallError> {
    let descriptors = [listener.as_fd()];
    let mut sent = 0;
    while sent < message.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if sent == 0 {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let rest = [IoSlice::new(&message[sent..])];
        sent += rustix::net::sendmsg(agent, &rest, &mut ancillary, SendFlags::NOSIGNAL)
            .during("send to", "the seccomp agent")?;
    }
    Ok(())
}
