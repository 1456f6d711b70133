//! The kernel calls that lay privileges down, one step each, run in the child between clone and exec.
//!
//! Steps are plain data: the parent plans them ([`Confinement::steps`](crate::Confinement::steps) gives their
//! order and the reasons for it), the child runs them. All of them affect the calling process for good.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use process::channel::Inside;
use process::{CallError, During as _, step};
use rustix::thread::CapabilitiesSecureBits;
use serde::{Deserialize, Serialize};

use crate::landlock::Ruleset;
use crate::seccomp::Program;
use crate::{CapSet, Capabilities, Capability, Identity, Label, sys};

/// The checkpoint at which a process hands over the descriptor on which its filter's `NOTIFY` is answered.
pub const LISTENER: &str = "seccomp listener";

/// One thing that a process gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Join a fresh session keyring, so that the caller's keys are out of reach.
    SessionKeyring {
        /// The keyring's name, for `/proc/keys`.
        name: String,
    },
    /// The ordinary rules of root: uid 0 gains capabilities at execve, and leaving it loses them. Needs CAP_SETPCAP
    /// where the caller lives by other rules, which would be inherited.
    OrdinaryRoot,
    /// The label that a security module gives the program at execve.
    Label(Label),
    /// Drop from the bounding set everything that is not in `keep`. Needs CAP_SETPCAP.
    LimitBounding {
        /// What may remain.
        keep: CapSet,
    },
    /// Become this user. Needs CAP_SETUID and CAP_SETGID.
    SetIds {
        /// Who.
        identity: Identity,
        /// Whether the permitted set survives, for a [`Step::SetCapabilities`] that follows.
        keep_capabilities: bool,
    },
    /// Set the effective, permitted, inheritable and ambient sets.
    SetCapabilities {
        /// The sets; `bounding` is not looked at.
        capabilities: Capabilities,
    },
    /// No execve grants anything new any more.
    NoNewPrivileges,
    /// Build a fence of files and ports. Needs no_new_privs or CAP_SYS_ADMIN.
    Landlock(Ruleset),
    /// Load a system call filter. Needs no_new_privs or CAP_SYS_ADMIN.
    Seccomp {
        /// The filter.
        program: Program,
    },
}

impl process::step::Step for Step {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Step::SessionKeyring { .. } => "session-keyring",
            Step::OrdinaryRoot => "securebits",
            Step::Label(_) => "label",
            Step::LimitBounding { .. } => "limit-bounding",
            Step::SetIds { .. } => "set-ids",
            Step::SetCapabilities { .. } => "set-capabilities",
            Step::NoNewPrivileges => "no-new-privs",
            Step::Landlock(_) => "landlock",
            Step::Seccomp { .. } => "seccomp",
        }
    }

    fn run(&self, (): &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Step::SessionKeyring { name } => join_session_keyring(name),
            Step::OrdinaryRoot => ordinary_root(),
            Step::Label(label) => label.write(),
            Step::LimitBounding { keep } => limit_bounding(*keep),
            Step::SetIds { identity, keep_capabilities } => set_ids(identity, *keep_capabilities),
            Step::SetCapabilities { capabilities } => set_capabilities(capabilities),
            Step::NoNewPrivileges => {
                step!(6, "prctl", "PR_SET_NO_NEW_PRIVS(2const)", "setuid programs lose their power", "no_new_privs");
                sys::no_new_privs().during("prctl", "PR_SET_NO_NEW_PRIVS")
            }
            Step::Landlock(ruleset) => ruleset.enforce(),
            Step::Seccomp { program } => load(program, channel),
        }
    }
}

/// Loads the filter. From then on only what it allows can be said, so what must be said is said before.
fn load(program: &Program, channel: &mut Inside) -> Result<(), CallError> {
    let length = program.instructions.len();
    step!(6, "seccomp", "seccomp(2)", "filter every system call", "{length} BPF instructions");
    channel.ready()?;
    let listener = sys::seccomp(&program.instructions, program.flags)
        .during("seccomp", "SECCOMP_SET_MODE_FILTER")
        .map_err(|error| error.with(format!("{length} instructions, {}", program.flags)))?;
    match listener {
        Some(listener) => channel.hand_over(LISTENER, listener.as_fd()),
        None => Ok(()),
    }
}

fn join_session_keyring(name: &str) -> Result<(), CallError> {
    step!(6, "keyctl", "keyctl(2)", "leave the caller's keys behind", "session keyring {name}");
    let text = CString::new(name).map_err(|_| CallError::refused("keyctl", name, "a NUL in the name"))?;
    match sys::join_session_keyring(&text) {
        // A kernel without keyrings has no keys to leave behind.
        Err(Errno::ENOSYS) => Ok(()),
        result => result.during("keyctl", name).map_err(|error| error.with("KEYCTL_JOIN_SESSION_KEYRING")),
    }
}

/// A caller that lives by SECBIT_NO_SETUID_FIXUP would hand it down, and a server in the container that becomes
/// `nobody` would keep every capability.
///
/// # References
/// capabilities(7), "The securebits flags"
fn ordinary_root() -> Result<(), CallError> {
    let bits = rustix::thread::capabilities_secure_bits().during("prctl", "PR_GET_SECUREBITS")?;
    if bits.is_empty() {
        return Ok(());
    }
    step!(6, "prctl", "PR_SET_SECUREBITS(2const)", "the caller's rules for root end here", "{bits:?}");
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::empty())
        .during("prctl", "PR_SET_SECUREBITS")
        .map_err(|error| error.with(format!("the caller's {bits:?}")))
}

/// Drops what is not in `keep`, and whatever the kernel knows beyond our table: a capability that is younger than
/// this program must not slip through.
// hole: limit-bounding
fn limit_bounding(keep: CapSet) -> Result<(), CallError> {
    step!(6, "prctl", "PR_CAPBSET_DROP(2const)", "what no execve may bring back", "keep {keep}");
    for number in 0..64 {
        let known = Capability::from_number(number);
        if known.is_some_and(|capability| keep.contains(capability)) {
            continue;
        }
        match sys::bounding_drop(number) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            // Who may not drop any need not, where it is gone already.
            Err(Errno::EPERM) if known.is_some_and(|capability| sys::bounding_has(capability) == Ok(false)) => {}
            Err(errno) => {
                let object = known.map_or_else(|| format!("capability {number}"), |known| known.to_string());
                return Err(CallError::new("prctl", object, errno).with("PR_CAPBSET_DROP"));
            }
        }
    }
    Ok(())
}

/// Groups before the user: the uid's loss takes CAP_SETGID with it.
fn set_ids(identity: &Identity, keep_capabilities: bool) -> Result<(), CallError> {
    let Identity { uid, gid, groups, umask: mask } = identity;
    if keep_capabilities {
        step!(6, "prctl", "PR_SET_KEEPCAPS(2const)", "the change of uid must not empty the sets", "keepcaps on");
        sys::keep_capabilities(true).during("prctl", "PR_SET_KEEPCAPS")?;
    }
    set_groups(groups)?;
    step!(6, "setresgid", "setresgid(2)", "real, effective and saved group", "{gid}");
    let group = Gid::from_raw(*gid);
    setresgid(group, group, group).during("setresgid", gid).map_err(|error| unmapped(error, "gid_map"))?;
    step!(6, "setresuid", "setresuid(2)", "real, effective and saved user", "{uid}");
    let user = Uid::from_raw(*uid);
    setresuid(user, user, user).during("setresuid", uid).map_err(|error| unmapped(error, "uid_map"))?;
    if let Some(mask) = mask {
        umask(Mode::from_bits_truncate(*mask));
    }
    Ok(())
}

/// An inherited supplementary group would be a key to the host's files, so an empty list is set too.
fn set_groups(groups: &[u32]) -> Result<(), CallError> {
    step!(6, "setgroups", "setgroups(2)", "no group of the caller's stays", "{groups:?}");
    let gids: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&gids) {
        // In a user namespace that an unprivileged user mapped alone, the kernel forbids the call: groups could have
        // been used to *deny* access. Nothing can be set then, and nothing was asked for.
        Err(Errno::EPERM) if groups.is_empty() && setgroups_denied() => Ok(()),
        Err(Errno::EPERM) if setgroups_denied() => {
            Err(CallError::new("setgroups", format!("{groups:?}"), Errno::EPERM)
                .with("a user namespace that an ordinary user has mapped alone has no supplementary groups"))
        }
        result => result.during("setgroups", format!("{groups:?}")).map_err(|error| unmapped(error, "gid_map")),
    }
}

/// EINVAL means that the id does not exist in this user namespace: says which ones do.
fn unmapped(error: CallError, map: &str) -> CallError {
    if error.errno() != Errno::EINVAL {
        return error;
    }
    let text = fs::read_to_string(format!("/proc/self/{map}")).unwrap_or_default();
    let ranges: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    error.with(format!("no such id in this user namespace; {map}: {}", ranges.join(", ")))
}

fn setgroups_denied() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

fn set_capabilities(sets: &Capabilities) -> Result<(), CallError> {
    step!(6, "capset", "capset(2)", "what root inside may do", "{}", sets.effective);
    // The ambient set first: it may never be larger than the permitted and inheritable sets that follow.
    match sys::ambient_clear() {
        // Before Linux 4.3 there was none.
        Err(Errno::EINVAL) => {}
        result => result.during("prctl", "PR_CAP_AMBIENT_CLEAR_ALL")?,
    }
    sys::capset(sets)
        .during("capset", sets.permitted)
        .map_err(|error| error.with("a set beyond what this process has itself"))?;
    for capability in sets.ambient.iter() {
        sys::ambient_raise(capability).during("prctl PR_CAP_AMBIENT_RAISE", capability)?;
    }
    step!(6, "prctl", "PR_SET_KEEPCAPS(2const)", "back to the ordinary rule", "keepcaps off");
    sys::keep_capabilities(false).during("prctl", "PR_SET_KEEPCAPS")
}
