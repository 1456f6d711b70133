//! What is done to a container from outside: look, signal, delete.

use cgroups::Cgroup;
use process::{Pid, PidFd, Signal};

use crate::error::Error;
use crate::hooks;
use crate::state::{Record, State, StateDir, Status};

/// Whether a signal goes to the first process or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum All {
    /// The first process.
    No,
    /// Every process of the container.
    Yes,
}

/// Whether a container that still runs is deleted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// No: that is an error.
    No,
    /// Yes: it is killed first.
    Yes,
}

/// A container's state.
///
/// # Errors
/// [`Error::Unknown`].
///
/// # References
/// OCI runtime spec, runtime.md, "Query State"
pub fn state(directory: &StateDir, id: &str) -> Result<State, Error> {
    Ok(directory.record_now(id)?.state)
}

/// All containers, by id.
///
/// # Errors
/// Those of reading the directory.
pub fn list(directory: &StateDir) -> Result<Vec<Record>, Error> {
    let records = directory.ids()?.into_iter().map(|id| directory.record_now(&id));
    // A container that is deleted meanwhile, or whose creator died before it wrote a state, has none to show.
    records.filter(|record| !matches!(record, Err(Error::Unknown(_)))).collect()
}

/// Sends a signal.
///
/// # Errors
/// [`Error::Status`] when it has stopped.
///
/// # References
/// OCI runtime spec, runtime.md, "Kill"
pub fn kill(directory: &StateDir, id: &str, signal: Signal, all: All) -> Result<(), Error> {
    let record = directory.record(id)?;
    if all == All::Yes {
        return kill_all(&record, signal);
    }
    match (record.state.status, record.state.pid) {
        (Status::Created | Status::Running, Some(pid)) => {
            PidFd::open(pid)?.signal(signal)?;
            if signal == Signal::SIGKILL { thaw(&record) } else { Ok(()) }
        }
        (status, _) => Err(Error::Status { operation: "kill", id: id.to_owned(), status: status.to_string() }),
    }
}

/// Who stands still cannot even die, where the freezer is v1's: what was to be killed shall not wait for `resume`.
fn thaw(record: &Record) -> Result<(), Error> {
    let Some(path) = &record.cgroup else { return Ok(()) };
    let cgroup = Cgroup::open(path)?;
    if cgroup.is_frozen()? { Ok(cgroup.thaw()?) } else { Ok(()) }
}

/// Every process of a container, those included that came in later.
///
/// # Errors
/// [`Error::Unknown`]; a member list that cannot be read.
///
/// # References
/// runc-ps(8)
pub fn processes(directory: &StateDir, id: &str) -> Result<Vec<Pid>, Error> {
    let record = directory.record(id)?;
    match &record.cgroup {
        Some(path) => Ok(Cgroup::open(path)?.processes()?),
        None => Ok(record.state.pid.into_iter().collect()),
    }
}

fn kill_all(record: &Record, signal: Signal) -> Result<(), Error> {
    let Some(path) = &record.cgroup else {
        return record.state.pid.map_or(Ok(()), |pid| Ok(PidFd::open(pid)?.signal(signal)?));
    };
    let cgroup = Cgroup::open(path)?;
    if signal == Signal::SIGKILL {
        return Ok(cgroup.kill()?);
    }
    for pid in cgroup.processes()? {
        match PidFd::open(pid).and_then(|pidfd| pidfd.signal(signal)) {
            Err(error) if error.errno() == nix::errno::Errno::ESRCH => {}
            sent => sent?,
        }
    }
    Ok(())
}

/// Removes a stopped container: its processes, its cgroup, its state. Returns the hooks that failed afterwards.
///
/// # Errors
/// [`Error::Status`] when it still runs and `force` does not say so. With force, a container of which only
/// half exists (its creator was killed) is removed too, and one that does not exist is none of our business.
///
/// # References
/// OCI runtime spec, runtime.md, "Delete"
pub fn delete(directory: &StateDir, id: &str, force: Force) -> Result<Vec<Error>, Error> {
    let _lock = match directory.lock(id) {
        Err(Error::Unknown(_)) if force == Force::Yes => return Ok(Vec::new()),
        lock => lock?,
    };
    let record = match directory.record(id) {
        Err(Error::Unknown(_)) if force == Force::Yes => None,
        record => Some(record?),
    };
    if let Some(record) = &record {
        if record.state.status != Status::Stopped && force == Force::No {
            let status = record.state.status.to_string();
            return Err(Error::Status { operation: "delete", id: id.to_owned(), status });
        }
        // One that cannot be opened is gone: the machine was restarted, or somebody was quicker.
        let cgroup = record.cgroup.as_ref().and_then(|path| Cgroup::open(path).ok());
        end(record, cgroup.as_ref())?;
    }
    // One of which only half exists may have no configuration yet, and then no hook.
    let hooks = directory.hooks(id).unwrap_or_default();
    directory.remove(id)?;
    Ok(record.map(|record| hooks::after_end(hooks.as_ref(), record.state)).unwrap_or_default())
}

/// Kills what is left of a container's processes and removes its cgroup.
pub(crate) fn end(record: &Record, cgroup: Option<&Cgroup>) -> Result<(), Error> {
    if let Some(pid) = record.state.pid {
        match PidFd::open(pid).and_then(|pidfd| {
            pidfd.signal(Signal::SIGKILL)?;
            pidfd.ended_within(std::time::Duration::from_secs(10))
        }) {
            Err(error) if error.errno() == nix::errno::Errno::ESRCH => {}
            ended => {
                ended?;
            }
        }
    }
    let Some(cgroup) = cgroup else { return Ok(()) };
    // As a rule the first process was the last one.
    if cgroup.remove_if_empty() {
        return Ok(());
    }
    cgroup.kill()?;
    Ok(cgroup.remove()?)
}
