//! The trees of v1: one for each controller, and a process has a place in each of them.
//!
//! Nothing keeps the places alike but the program that writes them. A child cannot be born in a v1 cgroup: the
//! parent moves it there while it waits, before it executes anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::errno::Errno;
use process::{CallError, Pid};

use crate::stats::{CpuStats, MemoryStats, PidsStats, Stats};
use crate::tree::{Motion, Tree};
use crate::{CgroupPath, Controller, Error, Limits, Setting, Version, devices, file};

/// The controllers in which every group of ours has a place. `cpuset` joins them only if it is limited: its files
/// must be filled in on every level before the first process may enter.
const ALWAYS: [Controller; 6] = [
    Controller::Memory,
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Pids,
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

    /// A file's text; empty if there is no such controller here.
    fn text(&self, controller: Controller, path: &CgroupPath, name: &str) -> Result<String, Error> {
        match self.directory(controller, path) {
            Ok(directory) if directory.is_dir() => Ok(file::read(&directory.join(name))?),
            _ => Ok(String::new()),
        }
    }

    fn number(&self, controller: Controller, path: &CgroupPath, name: &str) -> Result<Option<u64>, Error> {
        self.text(controller, path, name).map(|text| file::ceiling(&text))
    }

    fn write(&self, path: &CgroupPath, setting: &Setting) -> Result<(), Error> {
        let target = self.directory(setting.controller, path)?.join(setting.file);
        match file::write(&target, &setting.value) {
            Err(error) if setting.is_optional() && error.errno() == Errno::ENOENT => Ok(()),
            result => Ok(result?),
        }
    }

    fn limit_devices(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let Ok(directory) = self.directory(Controller::Devices, path) else { return Ok(()) };
        let default = devices::default_rules();
        for rule in limits.devices.as_ref().unwrap_or(&default) {
            file::write(&directory.join(rule.file()), &rule.to_string())?;
        }
        Ok(())
    }
}

impl Tree for V1 {
    fn version(&self) -> Version {
        Version::V1
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
        self.limit_devices(path, limits)
    }

    fn limit(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let (memory, rest): (Vec<_>, Vec<_>) =
            limits.files(Version::V1).into_iter().partition(|setting| setting.controller == Controller::Memory);
        // The kernel refuses a memory limit above the limit of memory and swap, and the other way round. Lowering must
        // write memory first, raising the sum first; so if one order is refused, the other is right.
        let in_order = memory.iter().try_for_each(|setting| self.write(path, setting));
        match in_order {
            Err(Error::Call(error)) if error.errno() == Errno::EINVAL => {
                memory.iter().rev().try_for_each(|setting| self.write(path, setting))?;
            }
            result => result?,
        }
        rest.iter().try_for_each(|setting| self.write(path, setting))
    }

    fn add(&self, path: &CgroupPath, pid: Pid) -> Result<(), Error> {
        for directory in self.directories(path) {
            file::write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    fn directories(&self, path: &CgroupPath) -> Vec<PathBuf> {
        let mut directories: Vec<_> = self.mounts.values().map(|mount| path.below(mount)).collect();
        // Controllers that are mounted together share a directory.
        directories.sort_unstable();
        directories.dedup();
        directories.retain(|directory| directory.is_dir());
        directories
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
        use Controller::{Cpu, Cpuacct, Memory, Pids};
        let (memory, oom) = (self.text(Memory, path, "memory.stat")?, self.text(Memory, path, "memory.oom_control")?);
        let (cpu, acct) = (self.text(Cpu, path, "cpu.stat")?, self.text(Cpuacct, path, "cpuacct.stat")?);
        let pids = self.text(Pids, path, "pids.events")?;
        let of = |text: &str, key| file::table(text).get(key).copied().unwrap_or(0);
        // cpuacct.stat counts in ticks of 1/100 s, which is USER_HZ on every Linux that we run on.
        let ticks = |key| of(&acct, key) * 10_000;
        Ok(Stats {
            memory: MemoryStats {
                usage: self.number(Memory, path, "memory.usage_in_bytes")?.unwrap_or(0),
                limit: self.number(Memory, path, "memory.limit_in_bytes")?,
                peak: self.number(Memory, path, "memory.max_usage_in_bytes")?,
                inactive_file: of(&memory, "total_inactive_file"),
                limit_hits: self.number(Memory, path, "memory.failcnt")?.unwrap_or(0),
                oom_kills: of(&oom, "oom_kill"),
            },
            cpu: CpuStats {
                usage_us: self.number(Cpuacct, path, "cpuacct.usage")?.unwrap_or(0) / 1000,
                user_us: ticks("user"),
                system_us: ticks("system"),
                periods: of(&cpu, "nr_periods"),
                throttled_periods: of(&cpu, "nr_throttled"),
                throttled_us: of(&cpu, "throttled_time") / 1000,
            },
            pids: PidsStats {
                current: self.number(Pids, path, "pids.current")?.unwrap_or(0),
                limit: self.number(Pids, path, "pids.max")?,
                refused: of(&pids, "max"),
            },
        })
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
    super::v2::is_writable(mount) && fs::metadata(mount.join("cgroup.procs")).is_ok()
}
