//! `exec`: one more process in a running container, planned like its first.

use std::os::fd::{AsRawFd as _, OwnedFd};

use cgroups::Cgroup;
use namespaces::isolate;
use oci_spec::runtime::{Process, Spec};
use privileges::step::LISTENER;
use process::{Event, Signal, Spawned};

use crate::agent;
use crate::create::{Started, Stdio};
use crate::error::Error;
use crate::plan::{self, Streams};
use crate::state::{State, StateDir, Status};

/// A process to run inside.
pub struct Exec<'a> {
    /// The container.
    pub id: &'a str,
    /// The process.
    pub process: &'a Process,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Where the container's state lives.
    pub state: &'a StateDir,
}

/// Runs a process in a running container: in its namespaces, its cgroup, and confined as its first one is.
///
/// Returns once the program has been executed; the caller waits for it.
///
/// # Errors
/// [`Error::Status`] when the container does not run; the failing step.
///
/// # References
/// setns(2), pid_namespaces(7)
pub fn exec(request: Exec<'_>) -> Result<Started, Error> {
    let record = request.state.record(request.id)?;
    let pid = match (record.state.status, record.state.pid) {
        (Status::Running, Some(pid)) => pid,
        (status, _) => {
            let (id, status) = (request.id.to_owned(), status.to_string());
            return Err(Error::Status { operation: "exec in", id, status });
        }
    };
    let spec = request.state.spec(request.id)?;
    let streams = match &request.stdio {
        Stdio::Inherit => Streams::Descriptors([0, 1, 2]),
        Stdio::Descriptors { stdin, stdout, stderr } => {
            Streams::Descriptors([stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()])
        }
        Stdio::Terminal { size } => Streams::Terminal(*size),
    };
    let steps = plan::exec_steps(&spec, request.process, request.id, streams)?;
    let namespaces = plan::join_all(pid)?;
    // Looked at again, now that the namespaces are held: had the container ended before, the pid could be another
    // process's, and so could they.
    let still = request.state.record(request.id)?.state;
    if still.pid != Some(pid) {
        let (id, status) = (request.id.to_owned(), still.status.to_string());
        return Err(Error::Status { operation: "exec in", id, status });
    }
    let mut child = isolate(&namespaces, None, None, steps)?.child;
    // Before it becomes the program: not one instruction of it runs outside the container's limits.
    let joined = record.cgroup.as_ref().map_or(Ok(()), |path| Cgroup::open(path)?.add(child.pid()));
    if let Err(error) = joined {
        child.pidfd().signal(Signal::SIGKILL)?;
        child.pidfd().wait()?;
        return Err(error.into());
    }
    child.go()?;
    let console = match run_to_exec(&mut child, &spec, &still) {
        Err(error @ (Error::Init(_) | Error::CommandNotFound(_) | Error::NotExecutable(_))) => return Err(error),
        Err(error) => {
            // Our side failed, and the child waits for it.
            child.pidfd().signal(Signal::SIGKILL)?;
            child.pidfd().wait()?;
            return Err(error);
        }
        Ok(console) => console,
    };
    Ok(Started { pid: child.pid(), pidfd: child.into_pidfd(), console })
}

/// Lets the child go through its checkpoints; returns the terminal's master, if it makes one.
fn run_to_exec(child: &mut Spawned, spec: &Spec, state: &State) -> Result<Option<OwnedFd>, Error> {
    let mut console = None;
    loop {
        match child.next_event()? {
            Event::Execed => return Ok(console),
            Event::Failed(error) => return Err(error.into()),
            Event::Reached(name, Some(listener)) if name == LISTENER => {
                agent::hand_over(spec, state, child.pid(), &listener)?;
                child.go()?;
            }
            Event::Reached(_, descriptor) => {
                console = descriptor.or(console);
                child.go()?;
            }
        }
    }
}
