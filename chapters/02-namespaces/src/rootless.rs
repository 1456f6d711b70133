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

use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use process::state::{self, Lock};
use process::{CallError, During, Pid, kernel_file, step};
use rustix::mount::MountPropagationFlags;
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::fd::NamespaceFd;
use crate::idmap::{IdMap, IdMaps};
use crate::kind::NamespaceKind;
use crate::lent::{Ids, Mapper};
use crate::step::become_root;

/// A process that keeps the user namespace alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: Pid,
    start_time: u64,
}

/// Whether this process is in a user namespace that does not map every id to itself.
pub fn is_rootless() -> bool {
    let map = kernel_file::read_text("/proc/self/uid_map").unwrap_or_default();
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
    // Groups are lent to the user, not to the user's group.
    let Some((users, groups)) = Ids::Users.lent_to(uid).zip(Ids::Groups.lent_to(uid)) else {
        let maps = IdMaps::only_root();
        new_user_namespace()?;
        return maps.write_own();
    };
    let ranged = |own, (first, count)| [IdMap::one(0, own), IdMap { inside: 1, outside: first, count }];
    // Both programs are setuid root, so they must be started outside, before we leave.
    let users = Mapper::prepare(Ids::Users, Pid::this(), &ranged(uid, users))?;
    let groups = Mapper::prepare(Ids::Groups, Pid::this(), &ranged(gid, groups))?;
    new_user_namespace()?;
    users.finish()?;
    groups.finish()
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
