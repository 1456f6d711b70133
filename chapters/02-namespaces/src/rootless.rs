//! Being root without being root: the user namespace in which an ordinary user's engine runs.
//!
//! Nothing above this module distinguishes root from an ordinary user. An engine that is started by an
//! ordinary user first moves into a user namespace where it *is* root: of itself, and of the ids that
//! `/etc/subuid` lends to the user. All its containers, mounts and networks then belong to that namespace.
//!
//! Two engine processes must be in the *same* one to work on each other's containers. So the namespace is
//! found again through whoever is in it: each engine process is recorded as a holder while it lives, a new
//! one joins a living holder's namespace, and only where there is none makes a fresh one, with the same
//! maps. No process has to be kept alive just to hold it.

use std::ffi::OsString;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use process::state::{self, Lock};
use process::{CallError, During, Event, ExitStatus, Pid, ProcessStep, Program, needs, spawn, step};
use rustix::mount::MountPropagationFlags;
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::fd::NamespaceFd;
use crate::idmap::{IdMap, IdMaps};
use crate::kind::NamespaceKind;
use crate::step::become_root;

/// A process that keeps the user namespace alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: Pid,
    start_time: u64,
}

/// Whether this process is in a user namespace that does not map every id to itself.
pub fn is_rootless() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !matches!(IdMap::parse(&map).as_deref(), Ok([IdMap { inside: 0, outside: 0, count: u32::MAX }]))
}

/// Moves an ordinary user's process into the user's own user and mount namespace, as root of it.
///
/// For root nothing happens. `run_directory` is where holders are recorded; it must exist. Call it first
/// thing in `main`: a process with threads cannot change its user namespace.
///
/// # Errors
/// When user namespaces are not allowed here (EPERM, ENOSPC, EUSERS).
///
/// # References
/// user_namespaces(7), subuid(5), newuidmap(1)
pub fn enter(run_directory: &Path) -> Result<(), CallError> {
    if geteuid().is_root() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&run_directory.join("userns.lock"))?;
    let mut holders = living_holders(run_directory)?;
    match holders.iter().find_map(|holder| NamespaceFd::of(holder.pid, NamespaceKind::User).ok()) {
        Some(namespace) => namespace.enter()?,
        None => create()?,
    }
    become_root()?;
    own_mounts()?;
    record(run_directory, &mut holders)
}

/// Records this process as one that keeps the namespace alive: for a process that was started by one inside.
///
/// # Errors
/// When the record cannot be written.
pub fn hold(run_directory: &Path) -> Result<(), CallError> {
    if !is_rootless() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&run_directory.join("userns.lock"))?;
    let mut holders = living_holders(run_directory)?;
    record(run_directory, &mut holders)
}

fn record(run_directory: &Path, holders: &mut Vec<Holder>) -> Result<(), CallError> {
    let pid = Pid::this();
    holders.retain(|holder| holder.pid != pid);
    holders.push(Holder { pid, start_time: pid.start_time()? });
    state::write_run_json(&run_directory.join("userns.json"), holders)
}

fn living_holders(run_directory: &Path) -> Result<Vec<Holder>, CallError> {
    let holders: Vec<Holder> = state::read_run_json(&run_directory.join("userns.json"))?.unwrap_or_default();
    let lives = |holder: &Holder| holder.pid.start_time().is_ok_and(|ticks| ticks == holder.start_time);
    Ok(holders.into_iter().filter(lives).collect())
}

/// Makes the namespace, with as many ids as this user may have.
fn create() -> Result<(), CallError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let ranges = lent_ids("/etc/subuid", uid).zip(lent_ids("/etc/subgid", uid));
    let helpers = needs::find_program("newuidmap").zip(needs::find_program("newgidmap"));
    match (ranges, helpers) {
        (Some((users, groups)), Some((newuidmap, newgidmap))) => {
            // Both helpers are setuid root, so they must be started outside, before we leave.
            let users = prepare_helper(&newuidmap, uid, users)?;
            let groups = prepare_helper(&newgidmap, gid, groups)?;
            new_user_namespace()?;
            finish_helper(users, "newuidmap")?;
            finish_helper(groups, "newgidmap")
        }
        _ => {
            let maps = IdMaps::only_root();
            new_user_namespace()?;
            maps.write(Pid::this())
        }
    }
}

fn new_user_namespace() -> Result<(), CallError> {
    let kind = NamespaceKind::User;
    step!(2, "unshare", "unshare(2)", kind.hiding(), "{kind} namespace");
    unshare(CloneFlags::CLONE_NEWUSER).during("unshare", kind)
}

/// Mounts of our own, which still see what the host mounts later.
fn own_mounts() -> Result<(), CallError> {
    let kind = NamespaceKind::Mount;
    step!(2, "unshare", "unshare(2)", kind.hiding(), "{kind} namespace");
    unshare(CloneFlags::CLONE_NEWNS).during("unshare", kind)?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).during("mount --make-rslave", "/")
}

/// Starts `newuidmap` or `newgidmap`, stopped before its exec: `ID:1` for ourselves, then the lent range.
fn prepare_helper(program: &Path, id: u32, lent: IdMap) -> Result<process::Spawned, CallError> {
    let words = [
        program.as_os_str().to_owned(),
        Pid::this().to_string().into(),
        "0".into(),
        id.to_string().into(),
        "1".into(),
        lent.inside.to_string().into(),
        lent.outside.to_string().into(),
        lent.count.to_string().into(),
    ];
    let steps = [
        ProcessStep::Checkpoint("unshared"),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(Program { arguments: words.to_vec(), environment: Vec::<OsString>::new() }),
    ];
    let mut helper = spawn(&process::CloneArgs::default(), &steps)?;
    match helper.next_event()? {
        Event::Reached(..) => Ok(helper),
        other => Err(CallError::refused("run", program.display(), format!("{other:?}"))),
    }
}

fn finish_helper(mut helper: process::Spawned, name: &'static str) -> Result<(), CallError> {
    step!(2, "write", "newuidmap(1)", "say who its users are outside, with the ids lent to us", "{name}");
    helper.go()?;
    helper.run_to_exec().map_err(|error| error.error)?;
    match helper.pidfd().wait()? {
        ExitStatus::Exited(0) => Ok(()),
        status => Err(CallError::refused("run", name, format!("it ended with {}", status.code()))),
    }
}

/// The first range that a file of the shape `USER:FIRST:COUNT` lends to this user, mapped from 1 on.
///
/// # References
/// subuid(5)
fn lent_ids(path: &str, uid: u32) -> Option<IdMap> {
    let name = user_name(uid);
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        let ours = owner == uid.to_string() || Some(owner) == name.as_deref();
        ours.then_some(IdMap { inside: 1, outside: first, count })
    })
}

fn user_name(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok()??;
    Some(user.name)
}
