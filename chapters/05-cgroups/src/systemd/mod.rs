//! Where systemd owns the tree: a group that it makes for us, because we ask.
//!
//! On a machine of systemd's the tree has one owner, and whoever makes directories beside its own works against it: a
//! group that it does not know is in no accounting, and may lose its controllers when something else is reloaded. What it
//! offers instead is a *scope*: a unit around processes that somebody else has started. With `Delegate=yes` the inside of
//! the group is ours: files and limits as anywhere else.
//!
//! ```text
//! StartTransientUnit("cooper-4f1a.scope", PIDs=[4711], Slice=..., Delegate=yes, MemoryMax=...)
//!        -> a job; JobRemoved("done") -> the group exists, 4711 is in it
//! ```
//!
//! A scope must have a process from the beginning, so the container's first one cannot be born in it: it waits outside, is
//! moved by systemd, and goes on.
//!
//! # References
//! systemd.scope(5), org.freedesktop.systemd1(5), systemd's "Control Group APIs and Delegation"

pub(crate) mod bus;
pub(crate) mod message;

use std::fmt;

use process::Pid;

use crate::{Cgroup, CgroupPath, Error, Hierarchy, Limits, Version, devices};
use bus::Bus;
use message::{Body, Value};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// systemd counts a quota in steps of 10 ms a second.
const QUOTA_STEP_US: u64 = 10_000;
/// The longest name of a unit.
const LONGEST_NAME: usize = 255;

/// A scope that may be asked for: its name and the slice that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    slice: String,
    unit: String,
}

/// Whose systemd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The machine's.
    System,
    /// The user's own.
    User,
}

impl Scope {
    /// Reads `SLICE:PREFIX:NAME`, the form in which a runtime with `--systemd-cgroup` is given its path: the scope
    /// `PREFIX-NAME.scope` in `SLICE`. An empty slice is the manager's usual one; an empty prefix is left out.
    ///
    /// # Errors
    /// A text of another form; a slice or a name that systemd would not take.
    ///
    /// # References
    /// OCI runtime spec, config-linux.md, "Cgroups Path"; runc's docs/systemd.md
    pub fn parse(text: &str, manager: Manager) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Path { path: text.to_owned(), reason });
        let [slice, prefix, name] = text.split(':').collect::<Vec<_>>()[..] else {
            return refuse("not of the form SLICE:PREFIX:NAME, which systemd's scopes need");
        };
        let slice = match (slice, manager) {
            ("", Manager::System) => "system.slice",
            ("", Manager::User) => "user.slice",
            _ => slice,
        };
        let stem = slice.strip_suffix(".slice").unwrap_or_default();
        if !is_plain(slice) || (stem != "-" && stem.split('-').any(str::is_empty)) {
            return refuse("its first part is no slice such as a-b.slice");
        }
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        match name.is_empty() || unit.len() > LONGEST_NAME || !is_plain(&unit) {
            true => refuse("its name is none for a unit: letters, digits and :-_.\\ only"),
            false => Ok(Self { slice: slice.to_owned(), unit }),
        }
    }

    /// The scope of a container of this engine, in the manager's usual slice.
    ///
    /// # Errors
    /// An id that no unit can have.
    pub fn of_container(id: &str, manager: Manager) -> Result<Self, Error> {
        Self::parse(&format!(":cooper:{id}"), manager)
    }

    /// The unit's name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Has systemd make the scope around `pid`, and waits until that process is in it. Returns the group's path in the
    /// whole tree.
    ///
    /// The limits that systemd has words for are told to it, so that it does not set them back; all of them are to be
    /// written into the group as well.
    ///
    /// # Errors
    /// No systemd; what it answered.
    pub fn start(&self, manager: Manager, pid: Pid, limits: &Limits, version: Version) -> Result<CgroupPath, Error> {
        let mut bus = Bus::connect(manager)?;
        bus.listen_for_jobs()?;
        let pid = u32::try_from(pid.get()).unwrap_or_default();
        let mut properties = vec![
            ("Description", Value::Text(format!("container {}", self.unit))),
            ("Slice", Value::Text(self.slice.clone())),
            ("PIDs", Value::Numbers(vec![pid])),
            ("Delegate", Value::Flag(true)),
            // A scope that a killed member has made `failed` goes all the same.
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            // It does not have to end before the machine's basic services do.
            ("DefaultDependencies", Value::Flag(false)),
        ];
        properties.extend(limits_as_properties(limits, version));
        let body = Body::default().text(&self.unit).text("replace").properties(&properties).no_auxiliary_units();
        let answer = match bus.call(MANAGER, "StartTransientUnit", &body) {
            Err(error) if error.name() == Some(UNIT_EXISTS) => {
                // What a crash left failed; one that is active stays, and the second answer is the one to tell.
                let _ = bus.call(MANAGER, "ResetFailedUnit", &Body::default().text(&self.unit));
                bus.call(MANAGER, "StartTransientUnit", &body)
            }
            answer => answer,
        };
        let job = answer.and_then(|answer| answer.first_text()).map_err(|error| error.about(&self.unit))?;
        match bus.outcome_of(&job).map_err(|error| error.about(&self.unit))?.as_str() {
            "done" => self.control_group(&mut bus),
            result => Err(bus::BusError::failed(format!("the job ended with {result:?}")).about(&self.unit)),
        }
    }

    /// Ends the scope: what is left in it is killed, and systemd forgets the unit. One that is gone is fine.
    ///
    /// # Errors
    /// No systemd.
    pub fn stop(&self, manager: Manager) -> Result<(), Error> {
        let mut bus = Bus::connect(manager)?;
        bus.listen_for_jobs()?;
        match bus.call(MANAGER, "StopUnit", &Body::default().text(&self.unit).text("replace")) {
            Err(error) if error.name() == Some("org.freedesktop.systemd1.NoSuchUnit") => return Ok(()),
            answer => {
                let job = answer.and_then(|answer| answer.first_text()).map_err(|error| error.about(&self.unit))?;
                bus.outcome_of(&job).map_err(|error| error.about(&self.unit))?;
            }
        }
        // It is only there if it had failed.
        let _ = bus.call(MANAGER, "ResetFailedUnit", &Body::default().text(&self.unit));
        Ok(())
    }

    /// Where systemd has put it.
    fn control_group(&self, bus: &mut Bus) -> Result<CgroupPath, Error> {
        let unit =
            bus.call(MANAGER, "GetUnit", &Body::default().text(&self.unit)).and_then(|answer| answer.first_text());
        let path = unit.and_then(|unit| bus.property(&unit, "org.freedesktop.systemd1.Scope", "ControlGroup"));
        path.map_err(|error| error.about(&self.unit))?.parse()
    }
}

impl Hierarchy {
    /// Has systemd make a scope around a process that exists, and limits it. The process should wait meanwhile.
    ///
    /// On v1 systemd makes groups for some controllers only; the others are made here, at the same path.
    ///
    /// # Errors
    /// No systemd, or what it answered; [`Error::Unavailable`] where the scope would lie outside of what is delegated to
    /// us; and as [`Hierarchy::create`]. Then the scope is ended, and the process with it.
    pub fn create_scope(&self, scope: &Scope, pid: Pid, limits: &Limits) -> Result<Cgroup, Error> {
        let tree = self.tree()?;
        limits.check(tree.version())?;
        let manager = Manager::of_caller();
        let group = scope.start(manager, pid, limits, tree.version())?;
        let made = self.inside(&group).map(|path| Cgroup::at(tree, path)).and_then(|cgroup| {
            if tree.version() == Version::V1 {
                cgroup.make(limits)?;
                cgroup.add(pid)?;
            }
            tree.limit(cgroup.path(), limits)?;
            let rules = limits.devices.clone().unwrap_or_else(devices::default_rules);
            tree.limit_devices(cgroup.path(), &rules)?;
            Ok(cgroup)
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = scope.stop(manager);
        }
        made
    }

    /// A path of the whole tree as one below where ours begins.
    fn inside(&self, group: &CgroupPath) -> Result<CgroupPath, Error> {
        match group.as_str().strip_prefix(self.base()).filter(|rest| rest.starts_with('/')) {
            Some(rest) => rest.parse(),
            None => {
                let reason =
                    format!("systemd's scope {group} lies outside of {}, which is delegated to us", self.base());
                Err(Error::Unavailable { reason })
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.unit, self.slice)
    }
}

impl Manager {
    /// That of whoever calls: the machine's for its root, else the user's own.
    pub fn of_caller() -> Self {
        match namespaces::rootless::is_rootless() || !rustix::process::geteuid().is_root() {
            true => Self::User,
            false => Self::System,
        }
    }
}

/// What may be in a unit's name. A slash would be a path.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte))
}

/// The limits in systemd's words.
fn limits_as_properties(limits: &Limits, version: Version) -> Vec<(&'static str, Value)> {
    let mut properties = Vec::new();
    // -1 is no limit, which systemd writes as the largest number.
    let or_infinity = |limit: i64| Value::Number(u64::try_from(limit).unwrap_or(u64::MAX));
    if let Some(bytes) = limits.memory {
        let name = if version == Version::V2 { "MemoryMax" } else { "MemoryLimit" };
        properties.push((name, Value::Number(bytes)));
    }
    if let Some(pids) = limits.pids {
        properties.push(("TasksMax", or_infinity(pids)));
    }
    if let Some(quota) = limits.cpu_quota_us {
        let period = limits.cpu_period_us.unwrap_or(100_000).max(1);
        let per_second = u64::try_from(quota).ok().filter(|quota| *quota > 0).map(|quota| {
            (u128::from(quota) * 1_000_000).div_ceil(u128::from(period)).next_multiple_of(u128::from(QUOTA_STEP_US))
        });
        let value = per_second.map_or(u64::MAX, |value| u64::try_from(value).unwrap_or(u64::MAX));
        properties.push(("CPUQuotaPerSecUSec", Value::Number(value)));
    }
    properties
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_of_three_parts_names_slice_and_scope() {
        let read = |text| Scope::parse(text, Manager::System).map(|scope| scope.to_string());
        assert_eq!(read("machine-web.slice:cooper:4f1a").unwrap(), "cooper-4f1a.scope in machine-web.slice");
        assert_eq!(read(":runc:x").unwrap(), "runc-x.scope in system.slice");
        assert_eq!(read("-.slice::x").unwrap(), "x.scope in -.slice");
        assert_eq!(Scope::parse("::x", Manager::User).unwrap().to_string(), "x.scope in user.slice");
        for bad in [
            "/a/b",
            "a:b",
            "web:a:b",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            ".slice:p:n",
            "a/b.slice:p:n",
            "::",
            ":p:",
            ":p:a/b",
            ":p:a b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_told_in_systemds_words() {
        let limits = Limits {
            memory: Some(64 << 20),
            pids: Some(-1),
            cpu_quota_us: Some(25_001),
            cpu_period_us: Some(100_000),
            ..Limits::default()
        };
        assert_eq!(
            limits_as_properties(&limits, Version::V2),
            [
                ("MemoryMax", Value::Number(64 << 20)),
                ("TasksMax", Value::Number(u64::MAX)),
                ("CPUQuotaPerSecUSec", Value::Number(260_000))
            ]
        );
        let unlimited = Limits { cpu_quota_us: Some(-1), ..Limits::default() };
        assert_eq!(limits_as_properties(&unlimited, Version::V2), [("CPUQuotaPerSecUSec", Value::Number(u64::MAX))]);
    }
}
