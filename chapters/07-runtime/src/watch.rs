//! Watching a container from outside: what it has used, and when it runs out of memory.

use std::time::{Duration, Instant};

use cgroups::{Cgroup, Stats};
use process::PidFd;

use crate::error::Error;
use crate::pause::cgroup_of;
use crate::state::{StateDir, Status};

/// What happens to a container that is watched.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// So much has been used.
    Stats(Box<Stats>),
    /// The kernel has killed a process of it, because its memory limit was reached.
    Oom,
}

/// How often the count of kills is looked at: no notice of it exists that v1 and v2 have in common.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a running container has used.
///
/// # Errors
/// [`Error::Status`] when it does not run; where cgroups cannot be used.
pub fn stats(directory: &StateDir, id: &str) -> Result<Stats, Error> {
    Ok(running(directory, id)?.1.stats()?)
}

/// Tells `hear` what is used, at every `interval` and once at the beginning, and each time memory ran out, until the
/// container ends or `hear` answers an error.
///
/// # Errors
/// As [`stats`], and those of `hear`.
pub fn watch<E: From<Error>>(
    directory: &StateDir,
    id: &str,
    interval: Duration,
    mut hear: impl FnMut(News) -> Result<(), E>,
) -> Result<(), E> {
    let (main, cgroup) = running(directory, id)?;
    let mut kills = None;
    let mut due = Instant::now();
    loop {
        let stats = match cgroup.stats() {
            // It ended in this very moment, and somebody has removed it.
            Err(_) if cgroup.directories().is_empty() => return Ok(()),
            stats => stats.map_err(Error::from)?,
        };
        let now = stats.memory.oom_kills;
        if kills.is_some_and(|before| now > before) {
            hear(News::Oom)?;
        }
        kills = Some(now);
        if Instant::now() >= due {
            hear(News::Stats(Box::new(stats)))?;
            due += interval;
        }
        let left = due.saturating_duration_since(Instant::now()).min(LOOK_EVERY);
        if main.ended_within(left).map_err(Error::from)? {
            // The last kill may have been the one that ended it.
            if cgroup.oom_kills().is_ok_and(|last| Some(last) > kills) {
                hear(News::Oom)?;
            }
            return Ok(());
        }
    }
}

fn running(directory: &StateDir, id: &str) -> Result<(PidFd, Cgroup), Error> {
    let record = directory.record(id)?;
    match (record.state.status, record.state.pid) {
        (Status::Created | Status::Running, Some(pid)) => Ok((PidFd::open(pid)?, cgroup_of(&record)?)),
        (status, _) => Err(Error::Status { operation: "watch", id: id.to_owned(), status: status.to_string() }),
    }
}
