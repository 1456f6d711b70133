//! The trees of v1: one for each controller, and a process has a place in each of them.
//!
//! Nothing keeps the places alike but the program that writes them. A child cannot be born in a v1 cgroup: it
//! moves there itself, before it does anything else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::errno::Errno;
use process::{CallError, During as _, Pid};

use crate::entrance::Entrance;
use crate::stats::Stats;
use crate::tree::{Motion, Tree};
use crate::{CgroupPath, Controller, DeviceRule, Error, Limits, Setting, Version, controller, file};

/// The controllers in which every group of ours has a place. `cpuset` joins them only if it is limited: its files
/// must be filled in on every level before the first process may enter.
const ALWAYS: [Controller; 7] = [
    Controller::Memory,
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Pids,
    Controller::Io,
    Controller::Devices,
    Controller::Freezer,
];
/// How long freezing may take.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);

/// The v1 trees: where each controller is mounted.
#[derive(Debug)]
pub(crate) struct V1 {
    mounts: BTreeMap<Controller, PathBuf>,
}

impl V1 {
    pub(crate) fn new(mounts: BTreeMap<Controller, PathBuf>) -> Self {
        Self { mounts }
    }

    fn directory(&self, controller: Controller, path: &CgroupPath) -> Result<PathBuf, Error> {
        match self.mounts.get(&controller) {
            Some(mount) => Ok(path.below(mount)),
            None => Err(Error::Controller {
                controller: controller.name(),
                reason: "no v1 hierarchy with it is mounted".to_owned(),
            }),
        }
    }

    fn write(&self, path: &CgroupPath, setting: &Setting) -> Result<(), Error> {
        file::set(&self.directory(setting.controller, path)?, setting)
    }

    /// One file for each tree in which the group is; controllers that are mounted together share one.
    fn open_all(&self, path: &CgroupPath, name: &str) -> Result<Vec<OwnedFd>, Error> {
        let mut opened = Vec::new();
        for directory in self.places(path) {
            let file = directory.join(name);
            match fs::OpenOptions::new().write(true).open(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                file_opened => opened.push(OwnedFd::from(file_opened.during("open", file.display())?)),
            }
        }
        Ok(opened)
    }
}

impl Tree for V1 {
    fn version(&self) -> Version {
        Version::V1
    }

    fn controllers(&self) -> Vec<Controller> {
        self.mounts.keys().copied().collect()
    }

    fn make(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let settings = limits.files(Version::V1);
        for setting in &settings {
            self.directory(setting.controller, path)?;
        }
        let is_wanted = |controller: &Controller| {
            ALWAYS.contains(controller) || settings.iter().any(|setting| setting.controller == *controller)
        };
        for (controller, mount) in self.mounts.iter().filter(|(controller, _)| is_wanted(controller)) {
            let mut directory = mount.clone();
            for component in path.components() {
                directory.push(component);
                file::make(&directory)?;
                if *controller == Controller::Cpuset {
                    inherit_cpuset(&directory)?;
                }
            }
        }
        Ok(())
    }

    fn limit(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        file::settle(&limits.files(Version::V1), |setting| self.write(path, setting))
    }

    fn limit_devices(&self, path: &CgroupPath, rules: &[DeviceRule]) -> Result<(), Error> {
        let Ok(directory) = self.directory(Controller::Devices, path) else { return Ok(()) };
        let mut files = BTreeMap::new();
        for rule in rules {
            // One file for what is allowed and one for what is denied, each opened once: the order of the writes is the rules'.
            let file = match files.entry(rule.file()) {
                Entry::Occupied(file) => file.into_mut(),
                Entry::Vacant(place) => place.insert(file::Command::open(directory.join(rule.file()))?),
            };
            file.write(&rule.to_string())?;
        }
        Ok(())
    }

    fn entrance(&self, path: &CgroupPath) -> Result<Entrance, Error> {
        Ok(Entrance::Step(self.open_all(path, "tasks")?))
    }

    fn add(&self, path: &CgroupPath, pid: Pid) -> Result<(), Error> {
        for directory in self.directories(path) {
            file::write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    fn places(&self, path: &CgroupPath) -> Vec<PathBuf> {
        let mut places: Vec<_> = self.mounts.values().map(|mount| path.below(mount)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn set_motion(&self, path: &CgroupPath, motion: Motion) -> Result<(), Error> {
        let state = self.directory(Controller::Freezer, path)?.join("freezer.state");
        let goal = match motion {
            Motion::Frozen => "FROZEN",
            Motion::Running => "THAWED",
        };
        let deadline = Instant::now() + FREEZE_WITHIN;
        loop {
            file::write(&state, goal)?;
            if file::read(&state)?.trim() == goal {
                return Ok(());
            }
            if Instant::now() > deadline {
                // Never leave a group half frozen: it could not even be killed.
                file::write(&state, "THAWED")?;
                return Err(
                    CallError::refused("freeze", path, "a member does not stop (uninterruptible sleep?)").into()
                );
            }
            // A process that forks while the freezer walks the list escapes one round: write again.
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_frozen(&self, path: &CgroupPath) -> Result<bool, Error> {
        let Ok(directory) = self.directory(Controller::Freezer, path) else { return Ok(false) };
        Ok(file::read_if_any(&directory.join("freezer.state"))?.is_some_and(|state| state.trim() != "THAWED"))
    }

    /// Frozen members cannot fork while the list is read; the signal reaches them when they are thawed.
    fn kill(&self, path: &CgroupPath) -> Result<(), Error> {
        let frozen = self.set_motion(path, Motion::Frozen);
        let killed = crate::cgroup::kill_each(&self.directories(path));
        if frozen.is_ok() || self.mounts.contains_key(&Controller::Freezer) {
            self.set_motion(path, Motion::Running)?;
        }
        killed
    }

    fn stats(&self, path: &CgroupPath) -> Result<Stats, Error> {
        if self.directories(path).is_empty() {
            return Err(CallError::new("stat", path, Errno::ENOENT).into());
        }
        let read = |controller: Controller, name: &str| match self.mounts.get(&controller) {
            Some(mount) => file::read_if_any(&path.below(mount).join(name)),
            None => Ok(None),
        };
        Ok(controller::counted_by_v1(&read, &file::huge_page_sizes())?)
    }
}

/// A new cpuset has no CPUs and no memory nodes, and nobody may enter such a group: it takes its parent's.
fn inherit_cpuset(directory: &Path) -> Result<(), CallError> {
    let Some(parent) = directory.parent() else { return Ok(()) };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(name);
        if file::read(&own)?.trim().is_empty() {
            file::write(&own, file::read(&parent.join(name))?.trim())?;
        }
    }
    Ok(())
}

/// Whether a controller's tree may be written to.
pub(crate) fn is_writable(mount: &Path) -> bool {
    super::v2::is_writable(&mount.join("cgroup.procs"))
}
