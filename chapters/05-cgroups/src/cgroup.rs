//! One cgroup: made with its limits, filled, watched, emptied, removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use process::{CallError, During as _, Pid, step};

use crate::entrance::Entrance;
use crate::stats::Stats;
use crate::tree::{Motion, Tree};
use crate::{CgroupPath, Error, Hierarchy, Limits, Version, devices};

/// How long removal waits for the last process: killed ones leave in milliseconds, unless the kernel writes a core
/// dump or waits for a dead file server.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);
/// How often making a group is tried again when somebody else removes its empty parent in between.
const ATTEMPTS: usize = 16;

/// A cgroup that this engine made.
#[derive(Debug, Clone)]
pub struct Cgroup {
    tree: Arc<dyn Tree>,
    path: CgroupPath,
}

impl Hierarchy {
    /// Makes a cgroup with its limits, empty: whoever comes in is limited from the first moment.
    ///
    /// An empty group of that name, left by a crash, is removed first so that its counters begin at zero. If anything
    /// fails, nothing is left.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason; [`Error::Limit`] or [`Error::Controller`] for a limit that is wrong or
    /// impossible here; [`Error::Busy`] if a group of that name has processes.
    ///
    /// # References
    /// cgroups(7)
    // spine
    pub fn create(&self, path: &CgroupPath, limits: &Limits) -> Result<Cgroup, Error> {
        let tree = self.tree()?;
        limits.check(tree.version())?;
        let cgroup = Cgroup { tree: Arc::clone(tree), path: path.clone() };

        // As a rule there is none, and then looking is much cheaper than trying.
        if !cgroup.directories().is_empty() && !cgroup.remove_if_empty() {
            let members = cgroup.processes()?;
            if let Some(first) = members.first() {
                return Err(Error::busy(path, members.len(), *first));
            }
            cgroup.remove()?;
        }

        let rules = limits.devices.clone().unwrap_or_else(devices::default_rules);
        let made = cgroup.make(limits).and_then(|()| tree.limit(path, limits));
        let made = made.and_then(|()| tree.limit_devices(path, &rules));
        if let Err(error) = made {
            // The first error is the one to tell; a group that cannot be removed either is found by `system prune`.
            let _ = cgroup.remove();
            return Err(error);
        }
        Ok(cgroup)
    }

    /// The handle of a cgroup that may or may not exist: to look at it, empty it, remove it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn open(&self, path: &CgroupPath) -> Result<Cgroup, Error> {
        Ok(Cgroup { tree: Arc::clone(self.tree()?), path: path.clone() })
    }
}

impl Cgroup {
    /// The group at a path of a tree, made or not.
    pub(crate) fn at(tree: &Arc<dyn Tree>, path: CgroupPath) -> Self {
        Self { tree: Arc::clone(tree), path }
    }

    /// Finds a cgroup again by its path, in whatever hierarchy this machine has.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn open(path: &CgroupPath) -> Result<Self, Error> {
        Hierarchy::detect().open(path)
    }

    /// The path in the tree.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The generation of the tree.
    pub fn version(&self) -> Version {
        self.tree.version()
    }

    /// The directories in the file system: one on v2, one for each controller on v1; empty if it does not exist.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.tree.directories(&self.path)
    }

    /// The way in for a child that is yet to be cloned: no instruction of its program runs outside.
    ///
    /// # Errors
    /// When the group does not exist.
    pub fn entrance(&self) -> Result<Entrance, Error> {
        self.tree.entrance(&self.path)
    }

    /// Moves a process in, with all its threads. Its children so far stay where they are.
    ///
    /// For a child of one's own there is a faster way: [`Cgroup::entrance`].
    ///
    /// # Errors
    /// ESRCH if it has ended.
    pub fn add(&self, pid: Pid) -> Result<(), Error> {
        self.tree.add(&self.path, pid)
    }

    /// Changes limits while members run; what is `None` stays as it is.
    ///
    /// A memory limit below what is in use makes the kernel reclaim. Where that is not enough, v1 answers EBUSY and v2
    /// kills.
    ///
    /// # Errors
    /// As [`Hierarchy::create`]. What was written before the error stays.
    pub fn update(&self, limits: &Limits) -> Result<(), Error> {
        limits.check(self.version())?;
        self.tree.limit(&self.path, limits)?;
        match &limits.devices {
            Some(rules) => self.tree.limit_devices(&self.path, rules),
            None => Ok(()),
        }
    }

    /// Every process of the group and of the groups inside it.
    ///
    /// # Errors
    /// A member list that cannot be read. A group that does not exist has none.
    pub fn processes(&self) -> Result<Vec<Pid>, Error> {
        members(&self.directories())
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// When the group does not exist.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.tree.stats(&self.path)
    }

    /// How many processes the kernel killed because the memory limit was reached.
    ///
    /// # Errors
    /// As [`Cgroup::stats`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        Ok(self.stats()?.memory.oom_kills)
    }

    /// Stops every member where it is, and returns when all have stopped.
    ///
    /// # Errors
    /// When a member cannot be stopped within five seconds.
    pub fn freeze(&self) -> Result<(), Error> {
        self.tree.set_motion(&self.path, Motion::Frozen)
    }

    /// Lets the members go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self) -> Result<(), Error> {
        self.tree.set_motion(&self.path, Motion::Running)
    }

    /// Whether somebody has stopped the members ([`Cgroup::freeze`]). A group that does not exist is not frozen.
    ///
    /// # Errors
    /// Those of reading its state.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        self.tree.is_frozen(&self.path)
    }

    /// Kills every member, also those that fork meanwhile, and waits until none is left.
    ///
    /// # Errors
    /// [`Error::Busy`] after ten seconds, naming a process that does not end.
    pub fn kill(&self) -> Result<(), Error> {
        let deadline = Instant::now() + EMPTY_WITHIN;
        loop {
            if self.processes()?.is_empty() {
                return Ok(());
            }
            self.tree.kill(&self.path)?;
            self.wait_empty(Instant::now() + Duration::from_millis(200))?;
            let left = self.processes()?;
            if let Some(first) = left.first().filter(|_| Instant::now() > deadline) {
                return Err(Error::busy(&self.path, left.len(), *first));
            }
        }
    }

    /// Removes the group, the groups that were made inside it, and parents that are empty now.
    ///
    /// Waits up to ten seconds for members that are about to end, but kills none: see [`Cgroup::kill`]. A group that
    /// does not exist is removed already.
    ///
    /// # Errors
    /// [`Error::Busy`] naming a process that is still there.
    pub fn remove(&self) -> Result<(), Error> {
        if self.remove_if_empty() {
            return Ok(());
        }
        self.wait_empty(Instant::now() + EMPTY_WITHIN)?;
        for directory in &self.directories() {
            remove_tree(directory, &self.path)?;
            self.remove_empty_parents(directory);
        }
        Ok(())
    }

    /// Removes the group if nobody is in it and no group inside it, and says whether it is gone.
    ///
    /// The kernel refuses to remove a group that is in use, so trying is the check, and it costs one call a tree where
    /// looking costs six.
    pub fn remove_if_empty(&self) -> bool {
        self.tree.places(&self.path).iter().all(|directory| match fs::remove_dir(directory) {
            Ok(()) => {
                step!(5, "rmdir", "cgroups(7)", "an empty group goes", "{}", directory.display());
                self.remove_empty_parents(directory);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        })
    }

    pub(crate) fn make(&self, limits: &Limits) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            match self.tree.make(&self.path, limits) {
                // Another container's removal took the parent away that we had just found.
                Err(Error::Call(error)) if error.errno() == Errno::ENOENT && attempts < ATTEMPTS => attempts += 1,
                result => return result,
            }
        }
    }

    fn wait_empty(&self, deadline: Instant) -> Result<(), Error> {
        let mut pause = Duration::from_micros(200);
        while Instant::now() < deadline && !self.processes()?.is_empty() {
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Parents above the group that nobody uses any more. The kernel refuses to remove one that has children or
    /// members, so trying is the check.
    fn remove_empty_parents(&self, directory: &Path) {
        for parent in directory.ancestors().skip(1).take(self.path.components().count() - 1) {
            // A slice or a service is systemd's, which would miss it.
            let is_unit = parent.extension().is_some_and(|kind| kind == "slice" || kind == "service");
            if is_unit || fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

/// The processes in these directories and below. v1 lists a process once in each tree.
fn members(directories: &[PathBuf]) -> Result<Vec<Pid>, Error> {
    let mut found = Vec::new();
    for directory in directories {
        for group in descendants(directory) {
            let list = group.join("cgroup.procs");
            match fs::read_to_string(&list) {
                // A process of another pid namespace, which has no number here, is shown as 0.
                Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<Pid>().ok())),
                // The group went away between listing and reading: nobody is in it.
                Err(error) if has_gone(&error) => {}
                result => drop(result.during("read", list.display())?),
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A group and all groups inside it, the deepest first.
fn descendants(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(descendants(&entry.path()));
    }
    found.push(directory.to_owned());
    found
}

fn remove_tree(directory: &Path, path: &CgroupPath) -> Result<(), Error> {
    let deadline = Instant::now() + EMPTY_WITHIN;
    for group in descendants(directory) {
        step!(5, "rmdir", "cgroups(7)", "an empty group goes", "{}", group.display());
        loop {
            match fs::remove_dir(&group) {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                // The last member has ended but the kernel has not yet let go of it.
                Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && Instant::now() < deadline => {
                    let left = members(&[directory.to_owned()])?;
                    if let Some(first) = left.first() {
                        return Err(Error::busy(path, left.len(), *first));
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                result => result.during("rmdir", group.display())?,
            }
        }
    }
    Ok(())
}

/// Sends SIGKILL to every process in these directories.
pub(crate) fn kill_each(directories: &[PathBuf]) -> Result<(), Error> {
    for pid in members(directories)? {
        step!(5, "kill", "kill(2)", "end a member", "SIGKILL {pid}");
        match kill(nix::unistd::Pid::from_raw(pid.get()), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(CallError::new("kill", pid, errno).with("SIGKILL").into()),
        }
    }
    Ok(())
}

/// A group that is removed while its files are open answers ENODEV.
fn has_gone(error: &std::io::Error) -> bool {
    [Errno::ENOENT, Errno::ENODEV].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}
