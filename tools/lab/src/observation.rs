//! What a mount namespace shows to somebody who steps into it from outside.

use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

/// The two fields of a line of mountinfo that say *what* is mounted: device and directory on it.
pub fn what(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split_whitespace().skip(2);
    Some((fields.next()?, fields.next()?))
}

/// Where the line says that it is mounted.
pub fn place(line: &str) -> Option<&str> {
    line.split_whitespace().nth(4)
}

/// The line of mountinfo for `/`, as the calling process sees it: the last one, because mounts can be stacked.
///
/// # Errors
/// `/proc` is not mounted.
pub fn own_root() -> Result<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let root = text.lines().rfind(|line| place(line) == Some("/")).context("no mount on /")?;
    Ok(root.to_owned())
}

/// What a process finds that steps into another's mount namespace, at the namespace's own root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    /// Lines of mountinfo.
    pub mounts: Vec<String>,
    /// Whether the marker could be opened.
    pub marker_reachable: bool,
}

/// Steps into the mount namespace of `pid` and looks around.
///
/// `chroot` changes what one process calls `/`; `setns` undoes that, because whoever enters a mount namespace arrives at
/// the namespace's root. So this sees through a `chroot`, and finds a root that was moved but not let go.
///
/// The caller never comes back: this is for a process of its own.
///
/// # Errors
/// The process is gone, or its namespace cannot be entered.
///
/// # References
/// setns(2), "mount namespace"; mount_namespaces(7)
pub fn look(pid: u32, marker: &str) -> Result<Look> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let namespace =
        open(format!("/proc/{pid}/ns/mnt").as_str(), flags, Mode::empty()).context("open its mount namespace")?;
    // Kept from before: inside, `/proc` belongs to a pid namespace in which we do not exist.
    let proc = open("/proc", flags | OFlag::O_DIRECTORY, Mode::empty()).context("open /proc")?;
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS).context("setns to its mount namespace")?;
    let mountinfo =
        nix::fcntl::openat(proc.as_fd(), "self/mountinfo", flags, Mode::empty()).context("open mountinfo")?;
    let text = std::io::read_to_string(fs::File::from(mountinfo)).context("read mountinfo")?;
    let mounts = text.lines().map(str::to_owned).collect();
    Ok(Look { mounts, marker_reachable: fs::File::open(marker).is_ok() })
}
