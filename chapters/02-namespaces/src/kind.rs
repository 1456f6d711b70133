//! The eight kinds of namespace, as one table.

use std::fmt;
use std::str::FromStr;

use nix::sched::CloneFlags;
use process::CallError;
use serde::{Deserialize, Serialize};

/// A kind of namespace.
///
/// The order is the one in which a process joins them: the user namespace first, because it gives the
/// capabilities that joining the others needs, and the mount namespace late, because the paths that lead to
/// the others are paths of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// User and group ids, capabilities.
    User,
    /// The cgroup that looks like the root of all cgroups.
    Cgroup,
    /// System V and POSIX message queues, semaphores, shared memory.
    Ipc,
    /// Host name and NIS domain name.
    Uts,
    /// Interfaces, addresses, routes, firewall, ports.
    Net,
    /// Process ids.
    Pid,
    /// The monotonic and boot-time clocks.
    Time,
    /// Mounted file systems.
    Mount,
}

impl NamespaceKind {
    /// All kinds, in joining order.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Cgroup, Self::Ipc, Self::Uts, Self::Net, Self::Pid, Self::Time, Self::Mount];

    /// The `CLONE_NEW*` flag that makes one.
    ///
    /// # References
    /// namespaces(7)
    pub fn flag(self) -> CloneFlags {
        match self {
            Self::User => CloneFlags::CLONE_NEWUSER,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            // nix has no name for it: it shares its bit with the exit signal of the old clone(2).
            Self::Time => CloneFlags::from_bits_retain(nix::libc::CLONE_NEWTIME),
            Self::Mount => CloneFlags::CLONE_NEWNS,
        }
    }

    /// The bits of [`flag`](Self::flag), as `clone3(2)` takes them.
    pub fn bits(self) -> u64 {
        u64::from(self.flag().bits().cast_unsigned())
    }

    /// The link's name in `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::Mount => "mnt",
        }
    }

    /// What a process in one of its own does not see any more.
    pub fn hides(self) -> &'static str {
        self.hiding().trim_start_matches("hide ")
    }

    /// The same as a purpose, for narration.
    pub fn hiding(self) -> &'static str {
        match self {
            Self::User => "hide who it is outside: ids and capabilities are its own",
            Self::Cgroup => "hide where it stands in the cgroup tree",
            Self::Ipc => "hide other processes' message queues and shared memory",
            Self::Uts => "hide the machine's name",
            Self::Net => "hide the machine's interfaces, addresses, routes and ports",
            Self::Pid => "hide other processes",
            Self::Time => "hide how long the machine has been up",
            Self::Mount => "hide what others mount and unmount",
        }
    }
}

impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mount => "mount",
            other => other.proc_name(),
        })
    }
}

impl FromStr for NamespaceKind {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let named = Self::ALL.into_iter().find(|kind| kind.to_string() == text || kind.proc_name() == text);
        // The OCI runtime spec writes "network" where the kernel writes "net".
        named
            .or((text == "network").then_some(Self::Net))
            .ok_or_else(|| CallError::refused("read namespace", text, "no such kind"))
    }
}
