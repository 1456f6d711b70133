//! This chapter's steps of init, and the plan that says which namespaces a child gets.

use std::os::fd::RawFd;

use nix::sched::{CloneFlags, setns, unshare};
use process::channel::Inside;
use process::{CallError, During, Step, step};
use rustix::process::{Gid, Uid};

use crate::fd::NamespaceFd;
use crate::kind::NamespaceKind;
use crate::sys;

/// Which namespaces a child is given: new ones, those of others, and by silence the parent's.
///
/// Ordering rules, and what breaks otherwise:
/// 1. A namespace is *joined* before new ones are made, and the user namespace first of all: the new ones
///    then belong to it, and its root has power over them.
/// 2. New namespaces are made all at once, by `clone3`. If a user namespace is among them, the kernel makes
///    it first and gives it the others.
/// 3. A pid namespace that is joined holds only children made afterwards, so the child forks once more.
/// 4. The time namespace's clocks are set between `unshare` and the first process in it.
#[derive(Debug, Default)]
pub struct Plan {
    /// Kinds to make.
    pub create: Vec<NamespaceKind>,
    /// Namespaces to join.
    pub join: Vec<NamespaceFd>,
}

impl Plan {
    /// The flags for `clone3`. Those of the time namespace stay out: see [`NamespaceStep::OwnTime`]. Where
    /// something is joined first, all of them stay out, and [`NamespaceStep::Unshare`] follows the joining.
    pub fn clone_flags(&self) -> u64 {
        if !self.join.is_empty() {
            return 0;
        }
        self.created_now().map(NamespaceKind::bits).fold(0, |flags, bit| flags | bit)
    }

    /// The steps that complete what [`Plan::clone_flags`] began.
    pub fn steps(&self) -> Vec<NamespaceStep> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        let mut joined: Vec<_> = self.join.iter().map(|ns| (ns.kind(), ns.as_fd().as_raw_fd())).collect();
        joined.sort_unstable();
        let mut steps: Vec<_> = joined.into_iter().map(|(kind, fd)| NamespaceStep::Join(kind, fd)).collect();
        if !self.join.is_empty() {
            steps.extend(self.created_now().map(NamespaceStep::Unshare));
        }
        steps
    }

    /// Whether the child must fork once more to be inside its pid namespace.
    pub fn needs_fork(&self) -> bool {
        self.join.iter().any(|ns| ns.kind() == NamespaceKind::Pid)
            || (!self.join.is_empty() && self.create.contains(&NamespaceKind::Pid))
    }

    fn created_now(&self) -> impl Iterator<Item = NamespaceKind> {
        let mut kinds = self.create.clone();
        kinds.sort_unstable();
        kinds.into_iter().filter(|kind| *kind != NamespaceKind::Time)
    }
}

/// The steps of this chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceStep {
    /// Enter the namespace behind an inherited descriptor.
    Join(NamespaceKind, RawFd),
    /// Leave the parent's namespace for a new one.
    Unshare(NamespaceKind),
    /// Become root of the user namespace: user and group 0, and no supplementary groups where they may be dropped.
    BecomeRoot,
    /// The host name.
    HostName(String),
    /// The NIS domain name.
    DomainName(String),
    /// A time namespace whose clocks are ahead of the machine's by so many seconds.
    OwnTime {
        /// Offset of CLOCK_MONOTONIC.
        monotonic: i64,
        /// Offset of CLOCK_BOOTTIME.
        boottime: i64,
    },
}

impl Step for NamespaceStep {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Join(..) => "setns",
            Self::Unshare(_) => "unshare",
            Self::BecomeRoot => "setresuid",
            Self::HostName(_) => "sethostname",
            Self::DomainName(_) => "setdomainname",
            Self::OwnTime { .. } => "timens_offsets",
        }
    }

    fn run(&self, (): &mut (), _: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Join(kind, fd) => {
                step!(2, "setns", "setns(2)", "see what its members see", "{kind} namespace");
                setns(sys::borrow(*fd), kind.flag()).during("setns", kind)
            }
            Self::Unshare(kind) => {
                step!(2, "unshare", "unshare(2)", kind.hiding(), "{kind} namespace");
                unshare(kind.flag()).during("unshare", kind)
            }
            Self::BecomeRoot => become_root(),
            Self::HostName(name) => {
                step!(2, "sethostname", "sethostname(2)", "a name of its own", "{name}");
                nix::unistd::sethostname(name).during("sethostname", name)
            }
            Self::DomainName(name) => {
                step!(2, "setdomainname", "setdomainname(2)", "a NIS domain of its own", "{name}");
                rustix::system::setdomainname(name.as_bytes()).during("setdomainname", name)
            }
            Self::OwnTime { monotonic, boottime } => own_time(*monotonic, *boottime),
        }
    }
}

/// Takes user 0 and group 0 of a user namespace whose maps have been written.
///
/// # Errors
/// EINVAL when the namespace maps no 0.
pub fn become_root() -> Result<(), CallError> {
    step!(2, "setresuid", "setresuid(2)", "be root of the user namespace", "uid 0, gid 0");
    match rustix::thread::set_thread_groups(&[]) {
        // With a single map written by the user itself, the kernel denies setgroups: the groups stay.
        Ok(()) | Err(rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno).during("setgroups", ""),
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).during("setresgid", 0)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).during("setresuid", 0)
}

/// Makes a time namespace, sets its clocks while nobody is in it, and moves in.
///
/// # References
/// time_namespaces(7)
fn own_time(monotonic: i64, boottime: i64) -> Result<(), CallError> {
    let kind = NamespaceKind::Time;
    step!(2, "unshare", "time_namespaces(7)", kind.hiding(), "monotonic +{monotonic} s, boottime +{boottime} s");
    unshare(CloneFlags::from_bits_retain(nix::libc::CLONE_NEWTIME)).during("unshare", kind)?;
    let path = "/proc/self/timens_offsets";
    std::fs::write(path, format!("monotonic {monotonic} 0\nboottime {boottime} 0\n")).during("write", path)?;
    NamespaceFd::open(std::path::Path::new("/proc/self/ns/time_for_children"), kind)?.enter()
}
