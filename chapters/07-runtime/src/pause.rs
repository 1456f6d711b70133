//! Pause and resume: every process of a container stops where it is, and goes on as if nothing had been.

use cgroups::Cgroup;

use crate::error::Error;
use crate::state::{Record, StateDir, Status};

/// Stops every process of a running container.
///
/// # Errors
/// [`Error::Status`] when it does not run, or is paused already; a process that cannot be stopped.
///
/// # References
/// cgroups(7), "cgroup.freeze"; runc-pause(8)
pub fn pause(directory: &StateDir, id: &str) -> Result<(), Error> {
    let _lock = directory.lock(id)?;
    let record = directory.record_now(id)?;
    match record.state.status {
        Status::Created | Status::Running => Ok(cgroup_of(&record)?.freeze()?),
        status => Err(Error::Status { operation: "pause", id: id.to_owned(), status: status.to_string() }),
    }
}

/// Lets the processes of a paused container go on.
///
/// # Errors
/// [`Error::Status`] when it is not paused.
pub fn resume(directory: &StateDir, id: &str) -> Result<(), Error> {
    let _lock = directory.lock(id)?;
    let record = directory.record_now(id)?;
    match record.state.status {
        Status::Paused => Ok(cgroup_of(&record)?.thaw()?),
        status => Err(Error::Status { operation: "resume", id: id.to_owned(), status: status.to_string() }),
    }
}

/// The cgroup of a container that must have one for what is asked.
pub(crate) fn cgroup_of(record: &Record) -> Result<Cgroup, Error> {
    let Some(path) = &record.cgroup else {
        let reason = "the container has no cgroup, as none could be made when it was created".to_owned();
        return Err(cgroups::Error::Unavailable { reason }.into());
    };
    Ok(Cgroup::open(path)?)
}
