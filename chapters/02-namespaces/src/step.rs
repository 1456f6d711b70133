//! This chapter's steps of init.

use std::os::fd::RawFd;

use nix::sched::{CloneFlags, setns, unshare};
use process::channel::Inside;
use process::{CallError, During, Step, step};
use rustix::process::{Gid, Uid};

use crate::clock::ClockOffsets;
use crate::fd::NamespaceFd;
use crate::kind::NamespaceKind;
use crate::sys;
use crate::view::View;

/// The steps of this chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceStep {
    /// Enter the namespace behind an inherited descriptor.
    Join(NamespaceKind, RawFd),
    /// Enter several namespaces of the process behind an inherited pidfd: all of them, or none.
    JoinProcess(Vec<NamespaceKind>, RawFd),
    /// Leave the parent's namespace for a new one.
    Unshare(NamespaceKind),
    /// Become root of the user namespace: user and group 0, and no supplementary groups where they may be dropped.
    BecomeRoot,
    /// The host name.
    HostName(String),
    /// The NIS domain name.
    DomainName(String),
    /// A time namespace whose clocks differ from the machine's.
    OwnTime(ClockOffsets),
    /// Report what is seen from here, at the checkpoint whose name the [`View`] itself is.
    Look,
}

impl Step for NamespaceStep {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Join(..) | Self::JoinProcess(..) => "setns",
            Self::Unshare(_) => "unshare",
            Self::BecomeRoot => "setresuid",
            Self::HostName(_) => "sethostname",
            Self::DomainName(_) => "setdomainname",
            Self::OwnTime(_) => "timens_offsets",
            Self::Look => "look",
        }
    }

    fn run(&self, (): &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Join(kind, fd) => {
                step!(2, "setns", "setns(2)", "see what its members see", "{kind} namespace");
                setns(sys::borrow(*fd), kind.flag()).during("setns", kind)
            }
            Self::JoinProcess(kinds, pidfd) => join_process(kinds, *pidfd),
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
            Self::OwnTime(offsets) => own_time(offsets),
            Self::Look => channel.reach(&View::own()?.to_string(), None),
        }
    }
}

/// # References
/// setns(2), Linux 5.8
fn join_process(kinds: &[NamespaceKind], pidfd: RawFd) -> Result<(), CallError> {
    let names = kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    step!(2, "setns", "setns(2)", "enter all of a process's namespaces, or none", "pidfd: {names}");
    let flags = kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag());
    setns(sys::borrow(pidfd), flags).during("setns", "pidfd").map_err(|error| error.with(names))
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
fn own_time(offsets: &ClockOffsets) -> Result<(), CallError> {
    let kind = NamespaceKind::Time;
    step!(2, "unshare", "time_namespaces(7)", kind.hiding(), "{offsets}");
    unshare(CloneFlags::from_bits_retain(nix::libc::CLONE_NEWTIME)).during("unshare", kind)?;
    let path = "/proc/self/timens_offsets";
    std::fs::write(path, offsets.lines()).during("write", path).map_err(|error| error.with(offsets))?;
    NamespaceFd::open(std::path::Path::new("/proc/self/ns/time_for_children"), kind)?.enter()
}
