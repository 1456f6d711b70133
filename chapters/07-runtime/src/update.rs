//! `update`: other limits for a container that exists.

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use crate::error::Error;
use crate::pause::cgroup_of;
use crate::resources::limits_of_cgroup;
use crate::spec::{self, Checked};
use crate::state::{StateDir, Status};

/// Changes limits; whatever `resources` does not name stays as it is.
///
/// The container's own configuration changes with them, so that a later `update` of one half of a pair (memory, and
/// memory and swap together) knows the other.
///
/// # Errors
/// [`Error::Status`] when it has stopped; a limit that is wrong, or that the kernel refuses.
///
/// # References
/// runc-update(8); OCI runtime spec, config-linux.md, "Control groups"
pub fn update(directory: &StateDir, id: &str, resources: &LinuxResources) -> Result<(), Error> {
    let _lock = directory.lock(id)?;
    let record = directory.record(id)?;
    if !matches!(record.state.status, Status::Created | Status::Running | Status::Paused) {
        let status = record.state.status.to_string();
        return Err(Error::Status { operation: "update", id: id.to_owned(), status });
    }
    let mut spec = directory.spec(id)?;
    let before = spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
    let merged = merge(&before, resources)?;
    let mut limits = limits_of_cgroup(&merged)?;
    // The rules of devices are written anew as a whole; in between, devices that are in use would be refused.
    if resources.devices().is_none() {
        limits.devices = None;
    }
    let cgroup = cgroup_of(&record)?;
    if merged.memory().as_ref().is_some_and(|memory| memory.check_before_update() == Some(true)) {
        refuse_less_than_is_used(limits.memory, cgroup.stats()?.memory.usage)?;
    }
    cgroup.update(&limits)?;
    let mut linux = spec.linux().clone().unwrap_or_default();
    linux.set_resources(Some(merged));
    spec.set_linux(Some(linux));
    directory.write_spec(id, &Checked::made(spec)?)
}

/// On v2 a limit below what is used makes the kernel kill.
fn refuse_less_than_is_used(limit: Option<u64>, used: u64) -> Result<(), Error> {
    match limit.filter(|limit| *limit < used) {
        Some(limit) => Err(spec::refuse(
            "linux.resources.memory.limit",
            format!("{limit} is less than the {used} bytes that are used, and checkBeforeUpdate is set"),
        )),
        None => Ok(()),
    }
}

/// The old limits with the new ones laid over them, field by field.
fn merge(before: &LinuxResources, change: &LinuxResources) -> Result<LinuxResources, Error> {
    let malformed = |error: serde_json::Error| spec::refuse("linux.resources", error.to_string());
    let mut merged = serde_json::to_value(before).map_err(malformed)?;
    lay_over(&mut merged, serde_json::to_value(change).map_err(malformed)?);
    serde_json::from_value(merged).map_err(malformed)
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (below, above) => *below = above,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let read = |value: Value| serde_json::from_value::<LinuxResources>(value).unwrap();
        let before = read(json!({"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 3}}));
        let change = read(json!({"memory": {"limit": 4}, "cpu": {"shares": 5}}));
        let after = serde_json::to_value(merge(&before, &change).unwrap()).unwrap();
        assert_eq!(after, json!({"memory": {"limit": 4, "swap": 2}, "pids": {"limit": 3}, "cpu": {"shares": 5}}));
    }
}
