//! What both generations can do, each in its own way.

use std::fmt::Debug;
use std::path::PathBuf;

use process::Pid;

use crate::entrance::Entrance;
use crate::stats::Stats;
use crate::{CgroupPath, Controller, DeviceRule, Error, Limits, Version};

/// Whether a group's members run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    /// They run.
    Running,
    /// The kernel lets none of them run.
    Frozen,
}

/// A cgroup tree, or the bundle of trees that v1 has.
pub(crate) trait Tree: Debug + Send + Sync {
    /// Which generation.
    fn version(&self) -> Version;

    /// The controllers that there are.
    fn controllers(&self) -> Vec<Controller>;

    /// Makes the group and everything above it; what was there already stays.
    fn make(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error>;

    /// Writes the limits.
    fn limit(&self, path: &CgroupPath, limits: &Limits) -> Result<(), Error>;

    /// Puts device rules in the place of those that were.
    fn limit_devices(&self, path: &CgroupPath, rules: &[DeviceRule]) -> Result<(), Error>;

    /// The way in for a child that is yet to be cloned.
    fn entrance(&self, path: &CgroupPath) -> Result<Entrance, Error>;

    /// Moves a process in.
    fn add(&self, path: &CgroupPath, pid: Pid) -> Result<(), Error>;

    /// Where the group's directories are, or would be: one on v2, one a controller on v1; controllers that are mounted together
    /// share one.
    fn places(&self, path: &CgroupPath) -> Vec<PathBuf>;

    /// Those of them that exist.
    fn directories(&self, path: &CgroupPath) -> Vec<PathBuf> {
        let mut directories = self.places(path);
        directories.retain(|directory| directory.is_dir());
        directories
    }

    /// Begins to freeze or thaw, and returns when all members have followed.
    fn set_motion(&self, path: &CgroupPath, motion: Motion) -> Result<(), Error>;

    /// Whether members are stopped, or about to be.
    fn is_frozen(&self, path: &CgroupPath) -> Result<bool, Error>;

    /// Sends SIGKILL to every member once.
    fn kill(&self, path: &CgroupPath) -> Result<(), Error>;

    /// Reads what was counted.
    fn stats(&self, path: &CgroupPath) -> Result<Stats, Error>;
}
