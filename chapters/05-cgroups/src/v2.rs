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
use process::{CallError, During as _, Pid, step};
use rustix::fs::{Mode, OFlags};

use crate::entrance::Entrance;
use crate::stats::Stats;
use crate::tree::{Motion, Tree};
use crate::{CgroupPath, Controller, DeviceRule, Error, Limits, Version, controller, devices, file};

/// The controllers that every group of ours has, so that there is something to read even without limits.
const ALWAYS: [Controller; 4] = [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Io];
/// How long freezing may take; a process in an uninterruptible sleep cannot be frozen.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);
/// Where the processes go that stood in the way at the top of what was delegated to us.
const SUPERVISOR: &str = "supervisor";

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

    /// Enables the controllers for the children of `directory`. At the top of what was delegated to us our own processes
    /// may stand in the way; they step aside into a child.
    fn hand_down(&self, directory: &Path, wanted: &[Controller], limits: &Limits) -> Result<(), Error> {
        match hand_down(directory, wanted, limits) {
            Err(Error::Call(error)) if error.errno() == Errno::EBUSY && directory == self.base => {
                step_aside(directory)?;
                hand_down(directory, wanted, limits)
            }
            Err(Error::Call(error)) if error.errno() == Errno::EBUSY => {
                let holder = directory.display();
                let reason = format!(
                    "{holder} holds processes itself, so it cannot hand controllers down; move them into a child first"
                );
                Err(Error::Unavailable { reason })
            }
            result => result,
        }
    }
}

impl Tree for V2 {
    fn version(&self) -> Version {
        Version::V2
    }

    fn controllers(&self) -> Vec<Controller> {
        let offered = offered(&self.base);
        let is_offered =
            |controller: &Controller| offered.split(' ').any(|name| name == controller.name_in(Version::V2));
        // Freezing needs no controller here, and devices are the business of programs.
        let always = [Controller::Devices, Controller::Freezer];
        Controller::ALL.into_iter().filter(|one| is_offered(one) || always.contains(one)).collect()
    }

    fn make(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let mut wanted = ALWAYS.to_vec();
        wanted.extend(limits.files(Version::V2).iter().map(|setting| setting.controller));
        wanted.sort_unstable();
        wanted.dedup();
        let mut directory = self.base.clone();
        for component in path.components() {
            self.hand_down(&directory, &wanted, limits)?;
            directory.push(component);
            file::make(&directory)?;
        }
        Ok(())
    }

    fn limit(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error> {
        let directory = self.directory(path);
        file::settle(&limits.files(Version::V2), |setting| file::set(&directory, setting))
    }

    fn limit_devices(&self, path: &CgroupPath, rules: &[DeviceRule]) -> Result<(), Error> {
        match devices::attach::attach(&self.directory(path), rules) {
            // Only root of the machine may load such a program. A container of anybody else cannot make device nodes
            // either, so the rules have nothing to forbid but what is in its `/dev`.
            Err(error) if error.errno() == Errno::EPERM && !is_root_of_the_machine() => {
                step!(5, "bpf", "bpf(2)", "not for an ordinary user: no device rules, and no nodes to make", "EPERM");
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn entrance(&self, path: &CgroupPath) -> Result<Entrance, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = self.directory(path);
        let opened = rustix::fs::open(&directory, flags, Mode::empty()).during("open", directory.display())?;
        Ok(Entrance::Birth(opened))
    }

    fn add(&self, path: &CgroupPath, pid: Pid) -> Result<(), Error> {
        Ok(file::write(&self.directory(path).join("cgroup.procs"), &pid.to_string())?)
    }

    fn places(&self, path: &CgroupPath) -> Vec<PathBuf> {
        vec![self.directory(path)]
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
                // Never leave a group half frozen, with somebody inside who waits for somebody outside.
                file::write(&self.directory(path).join("cgroup.freeze"), "0")?;
                return Err(
                    CallError::refused("freeze", path, "a member does not stop (uninterruptible sleep?)").into()
                );
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_frozen(&self, path: &CgroupPath) -> Result<bool, Error> {
        let asked = file::read_if_any(&self.directory(path).join("cgroup.freeze"))?;
        Ok(asked.is_some_and(|asked| asked.trim() == "1"))
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), Error> {
        match file::write(&self.directory(path).join("cgroup.kill"), "1") {
            // Before Linux 5.14 there was no such file.
            Err(error) if error.errno() == Errno::ENOENT => crate::cgroup::kill_each(&self.directories(path)),
            result => Ok(result?),
        }
    }

    fn stats(&self, path: &CgroupPath) -> Result<Stats, Error> {
        let directory = self.directory(path);
        fs::metadata(&directory).during("stat", directory.display())?;
        let read = |_, name: &str| file::read_if_any(&directory.join(name));
        Ok(controller::counted_by_v2(&read, &file::huge_page_sizes())?)
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
    Ok(file::write(&directory.join("cgroup.subtree_control"), &commands.join(" "))?)
}

fn is_root_of_the_machine() -> bool {
    rustix::process::geteuid().is_root() && !namespaces::rootless::is_rootless()
}

/// Moves every process of a directory into a child of it, so that the directory itself may hand controllers down.
///
/// The child stays when we end, as those processes do; it goes with the directory, whose manager removes it.
fn step_aside(directory: &Path) -> Result<(), Error> {
    let aside = directory.join(SUPERVISOR);
    file::make(&aside)?;
    // Whoever forks meanwhile leaves a child behind, so look again until nobody is left; not for ever.
    for _ in 0..100 {
        let members = file::read(&directory.join("cgroup.procs"))?;
        if members.is_empty() {
            return Ok(());
        }
        for pid in members.lines() {
            match file::write(&aside.join("cgroup.procs"), pid) {
                Err(error) if error.errno() != Errno::ESRCH => return Err(error.into()),
                _ => {}
            }
        }
    }
    Err(Error::Unavailable {
        reason: format!("processes appear in {} faster than they can be moved", directory.display()),
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

/// Whether one of the controllers without which there is little to limit is among those offered.
pub(crate) fn is_useful(offers: &str) -> bool {
    [Controller::Cpu, Controller::Memory, Controller::Pids]
        .iter()
        .any(|controller| offers.split_whitespace().any(|name| name == controller.name()))
}

/// The controllers that a v2 mount offers; empty on a hybrid machine, where v1 has them all.
pub(crate) fn offered(mount: &Path) -> String {
    match fs::read_to_string(mount.join("cgroup.controllers")) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!("unreadable: {error}"),
    }
}
