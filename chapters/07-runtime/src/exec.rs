//! `exec`: one more process in a running container, planned like its first.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use cgroups::{Cgroup, Entrance};
use namespaces::{Plan, isolate};
use nix::errno::Errno;
use oci_spec::runtime::{Process, Spec};
use privileges::step::LISTENER;
use process::{CallError, ChildError, Event, ProcessStep, Spawned};

use crate::agent;
use crate::create::{Started, Stdio};
use crate::error::Error;
use crate::options::{ExecOptions, IfPaused};
use crate::pause;
use crate::plan;
use crate::state::{Record, State, StateDir, Status};
use crate::step::RuntimeStep;

/// The checkpoint at which a process is in the container's namespaces.
const ENTERED: &str = "entered";

/// A process to run inside.
pub struct Exec<'a> {
    /// The container.
    pub id: &'a str,
    /// The process.
    pub process: &'a Process,
    /// A program of the caller's to execute, instead of what the first argument names inside: nothing of it has to be
    /// in the container, and nothing is left there. Seal it, as the container can reach it through `/proc/self/exe`.
    pub program: Option<BorrowedFd<'a>>,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Where the container's state lives.
    pub state: &'a StateDir,
    /// What the host asks for beside the process.
    pub options: ExecOptions,
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
    let record = request.state.record_now(request.id)?;
    let waits = request.options.if_paused == IfPaused::Wait;
    let pid = match (record.state.status, record.state.pid) {
        (Status::Created | Status::Running, Some(pid)) => pid,
        (Status::Paused, Some(pid)) if waits => pid,
        (status, _) => {
            let (id, status) = (request.id.to_owned(), status.to_string());
            return Err(Error::Status { operation: "exec in", id, status });
        }
    };
    let spec = request.state.spec(request.id)?;
    let cgroup = cgroup_of(&record, request.options.cgroup.as_deref())?;
    let entrance = cgroup.as_ref().map(Cgroup::entrance).transpose()?;
    let preserve = request.options.preserve;
    let mut steps =
        plan::exec_steps(&spec, request.process, request.id, entrance.as_ref(), request.stdio.streams(), preserve)?;
    if let Some(program) = request.program {
        execute_descriptor(&mut steps, program);
    }
    let namespaces = Plan::enter(pid)?;
    // Looked at again, now that the namespaces are held: had the container ended before, the pid could be another
    // process's, and so could they.
    let still = request.state.record(request.id)?.state;
    if still.pid != Some(pid) {
        let (id, status) = (request.id.to_owned(), still.status.to_string());
        return Err(Error::Status { operation: "exec in", id, status });
    }
    let birth = entrance.as_ref().and_then(Entrance::birth);
    let mut child = match (enter(&namespaces, birth, steps.clone()), &cgroup) {
        // A container at its limit of processes refuses the birth, and it is then that somebody wants to look inside.
        // Whoever is moved in is never refused; it only takes longer.
        (Err(error), Some(cgroup)) if birth.is_some() && is_full(&error) => {
            move_in(enter(&namespaces, None, steps)?, cgroup)?
        }
        (entered, _) => entered?,
    };
    child.go()?;
    match run_to_exec(&mut child, &spec, &still) {
        Ok(console) => Ok(Started { pid: child.pid(), pidfd: child.into_pidfd(), console, warnings: Vec::new() }),
        Err(error) => {
            // Where our side failed, the child waits for it.
            child.discard();
            Err(error)
        }
    }
}

/// The group that the process comes into: the container's own, or one inside it that somebody has made.
fn cgroup_of(record: &Record, below: Option<&str>) -> Result<Option<Cgroup>, Error> {
    let Some(below) = below else { return Ok(record.cgroup.as_ref().map(Cgroup::open).transpose()?) };
    let own = pause::cgroup_of(record)?;
    let inner = Cgroup::open(&own.path().inside(below)?)?;
    // On v1 a group that exists for one controller only would leave the others' limits behind.
    if inner.directories().len() < own.directories().len() {
        let path = inner.path().to_string();
        return Err(CallError::refused("exec in cgroup", path, "it does not exist, or not for every controller").into());
    }
    Ok(Some(inner))
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

/// A child in the container's namespaces, that waits there: it may have forked on the way, or not been allowed to.
fn enter(namespaces: &Plan, birth: Option<BorrowedFd<'_>>, steps: Vec<RuntimeStep>) -> Result<Spawned, Error> {
    let all = std::iter::once(ProcessStep::Checkpoint(ENTERED).into()).chain(steps).collect();
    let mut child = isolate(namespaces, birth, None, all)?;
    match child.next_event()? {
        Event::Reached(..) => Ok(child),
        Event::Failed(error) => Err(error.into()),
        Event::Execed => Err(CallError::refused("run", "exec", "it skipped its first checkpoint").into()),
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Call(error) | Error::Init(ChildError { error, .. }) if error.errno() == Errno::EAGAIN)
}

fn move_in(child: Spawned, cgroup: &Cgroup) -> Result<Spawned, Error> {
    if let Err(error) = cgroup.add(child.pid()) {
        child.discard();
        return Err(error.into());
    }
    Ok(child)
}

/// The same plan with another last step: what is executed is open already.
fn execute_descriptor(steps: &mut Vec<RuntimeStep>, program: BorrowedFd<'_>) {
    if let Some(RuntimeStep::Process(ProcessStep::Exec(words))) = steps.pop() {
        steps.push(ProcessStep::ExecDescriptor(program.as_raw_fd(), words).into());
    }
}
