//! What is known of a container without looking it up.

use cgroups::Cgroup;

use crate::error::Error;
use crate::hooks;
use crate::lifecycle;
use crate::spec::Checked;
use crate::state::{Record, StateDir};

/// A container, as whoever made it knows it: another would have to read its files, and find its cgroup among the machine's.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) state: StateDir,
    pub(crate) record: Record,
    pub(crate) spec: Checked,
    pub(crate) cgroup: Option<Cgroup>,
}

impl Handle {
    /// Removes the container as [`delete`](crate::delete()) does with [`Force::Yes`](crate::Force::Yes).
    ///
    /// # Errors
    /// As there.
    pub fn delete(self) -> Result<Vec<Error>, Error> {
        let Self { state, record, spec, cgroup } = self;
        let _lock = match state.lock(&record.state.id) {
            // Somebody else was quicker.
            Err(Error::Unknown(_)) => return Ok(Vec::new()),
            lock => lock?,
        };
        let record = record.now();
        lifecycle::end(&record, cgroup.as_ref())?;
        state.remove(&record.state.id)?;
        Ok(hooks::after_end(spec.hooks().as_ref(), record.state))
    }
}
