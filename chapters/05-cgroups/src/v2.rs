//! The one tree of v2.
//!
//! A directory may hold processes or hand controllers to its children, not both ("no internal processes"); only the
//! root of all is free of the rule. So on the way down every directory writes `+memory +pids ...` into its
//! `cgroup.subtree_control`, and processes live in the leaf.
//!
//! ```text
//! /sys/fs/cgroup                 cgroup.subtree_control: cpu memory pids cpuset
//! └── cooper                     cgroup.subtree_control: cpu memory pids cpuset
//!     └── 4f1a...                memory.max cpu.max pids.max ...   cgroup.procs: 4711
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::errno::Errno;
use process::{CallError, Pid};

use crate::stats::{CpuStats, MemoryStats, PidsStats, Stats};
use crate::tree::{Motion, Tree};
use crate::{CgroupPath, Controller, Error, Limits, Version, file};

/// The controllers that every group of ours has, so that there is something to read even without limits.
const ALWAYS: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];
/// How long freezing may take; a process in an uninterruptible sleep cannot be frozen.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);

/// The v2 tree below a directory that we may write to.
#[derive(Debug)]
pub(crate) struct V2 {
    base: PathBuf,
}

impl V2 {
    pub(crate) fn new(base: PathBuf) -> Self {
        Self { base }
    }

    fn directory(&self, path: &CgroupPath) -> PathBuf {
        path.below(&self.base)
    }

    fn read(&self, path: &CgroupPath, name: &str) -> Result<String, CallError> {
        file::read(&self.directory(path).join(name))
    }
}

impl Tree for V2 {
    fn version(&self) -> Version {
        Version::V2
    }

    fn make(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let mut wanted = ALWAYS.to_vec();
        wanted.extend(limits.files(Version::V2).iter().map(|setting| setting.controller));
        wanted.sort_unstable();
        wanted.dedup();
        let mut directory = self.base.clone();
        for component in path.components() {
            hand_down(&directory, &wanted, limits)?;
            directory.push(component);
            file::make(&directory)?;
        }
        Ok(())
    }

    fn limit(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        for setting in limits.files(Version::V2) {
            let target = self.directory(path).join(setting.file);
            match file::write(&target, &setting.value) {
                Err(error) if error.errno() == Errno::ENOENT && setting.is_optional() => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn add(&self, path: &CgroupPath, pid: Pid) -> Result<(), Error> {
        Ok(file::write(&self.directory(path).join("cgroup.procs"), &pid.to_string())?)
    }

    fn directories(&self, path: &CgroupPath) -> Vec<PathBuf> {
        Some(self.directory(path)).filter(|directory| directory.is_dir()).into_iter().collect()
    }

    fn set_motion(&self, path: &CgroupPath, motion: Motion) -> Result<(), Error> {
        let (command, goal) = match motion {
            Motion::Frozen => ("1", 1),
            Motion::Running => ("0", 0),
        };
        file::write(&self.directory(path).join("cgroup.freeze"), command)?;
        let deadline = Instant::now() + FREEZE_WITHIN;
        while file::table(&self.read(path, "cgroup.events")?).get("frozen").is_some_and(|frozen| *frozen != goal) {
            if Instant::now() > deadline {
                return Err(
                    CallError::refused("freeze", path, "a member does not stop (uninterruptible sleep?)").into()
                );
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), Error> {
        match file::write(&self.directory(path).join("cgroup.kill"), "1") {
            // Before Linux 5.14 there was no such file.
            Err(error) if error.errno() == Errno::ENOENT => crate::cgroup::kill_each(&self.directories(path)),
            result => Ok(result?),
        }
    }

    fn stats(&self, path: &CgroupPath) -> Result<Stats, Error> {
        let number = |name: &str| self.read(path, name).ok().and_then(|text| file::ceiling(&text));
        let text = |name: &str| self.read(path, name).unwrap_or_default();
        let (cpu, memory, memory_events, pids_events) =
            (self.read(path, "cpu.stat")?, text("memory.stat"), text("memory.events"), text("pids.events"));
        let (cpu, memory) = (file::table(&cpu), file::table(&memory));
        let (memory_events, pids_events) = (file::table(&memory_events), file::table(&pids_events));
        let of = |table: &std::collections::BTreeMap<&str, u64>, key| table.get(key).copied().unwrap_or(0);
        Ok(Stats {
            memory: MemoryStats {
                usage: number("memory.current").unwrap_or(0),
                limit: number("memory.max"),
                peak: number("memory.peak"),
                inactive_file: of(&memory, "inactive_file"),
                limit_hits: of(&memory_events, "max"),
                oom_kills: of(&memory_events, "oom_kill"),
            },
            cpu: CpuStats {
                usage_us: of(&cpu, "usage_usec"),
                user_us: of(&cpu, "user_usec"),
                system_us: of(&cpu, "system_usec"),
                periods: of(&cpu, "nr_periods"),
                throttled_periods: of(&cpu, "nr_throttled"),
                throttled_us: of(&cpu, "throttled_usec"),
            },
            pids: PidsStats {
                current: number("pids.current").unwrap_or(0),
                limit: number("pids.max"),
                refused: of(&pids_events, "max"),
            },
        })
    }
}

/// Enables the controllers for the children of `directory`.
// hole: hand-down-controllers
fn hand_down(directory: &Path, wanted: &[Controller], limits: &Limits) -> Result<(), Error> {
    let offered = file::read(&directory.join("cgroup.controllers"))?;
    let handed = file::read(&directory.join("cgroup.subtree_control"))?;
    let lists = |list: &str, controller: &Controller| list.split_whitespace().any(|name| name == controller.name());
    let needed: Vec<_> = limits.files(Version::V2).iter().map(|setting| setting.controller).collect();
    if let Some(missing) = needed.iter().find(|controller| !lists(&offered, controller)) {
        let reason = format!("{} offers only: {}", directory.display(), offered.trim());
        return Err(Error::Controller { controller: missing.name(), reason });
    }
    let commands: Vec<String> = wanted
        .iter()
        .filter(|controller| lists(&offered, controller) && !lists(&handed, controller))
        .map(|controller| format!("+{}", controller.name()))
        .collect();
    if commands.is_empty() {
        return Ok(());
    }
    file::write(&directory.join("cgroup.subtree_control"), &commands.join(" ")).map_err(|error| match error.errno() {
        Errno::EBUSY => Error::Unavailable {
            reason: format!(
                "{} holds processes itself, so it cannot hand controllers down; move them into a child first",
                directory.display()
            ),
        },
        _ => error.into(),
    })
}

/// The highest directory at or above our own cgroup that was delegated to us: `None` if not even our own was.
pub(crate) fn delegated(mount: &Path, own: &str) -> Option<PathBuf> {
    let own: CgroupPath = own.parse().ok()?;
    let mut highest = None;
    let mut directory = own.below(mount);
    while directory != mount && is_writable(&directory.join("cgroup.procs")) && is_writable(&directory) {
        highest = Some(directory.clone());
        directory.pop();
    }
    highest
}

/// Whether this process may write there; permission, owner and read-only mount are all looked at.
pub(crate) fn is_writable(path: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS).is_ok()
}

/// Whether one of the controllers that we always use is among those offered.
pub(crate) fn is_useful(offers: &str) -> bool {
    ALWAYS.iter().any(|controller| offers.split_whitespace().any(|name| name == controller.name()))
}

/// The controllers that a v2 mount offers; empty on a hybrid machine, where v1 has them all.
pub(crate) fn offered(mount: &Path) -> String {
    match fs::read_to_string(mount.join("cgroup.controllers")) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!("unreadable: {error}"),
    }
}
