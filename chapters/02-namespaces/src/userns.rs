//! A user namespace with nobody in it: for its id maps alone.

use process::{CallError, CloneArgs, Event, ProcessStep, spawn, step};

use crate::fd::NamespaceFd;
use crate::idmap::IdMaps;
use crate::kind::NamespaceKind;

/// Makes a user namespace that has these maps and no process, held by its descriptor.
///
/// The kernel has no call for that. A child is made in a new one, stopped at its first step, mapped from outside and
/// ended; the namespace lives on as long as the descriptor. An id-mapped mount wants just this: `inside` is
/// then the id on disk, and `outside` the one that it is seen as.
///
/// # Errors
/// A malformed map; EPERM for ids that the caller has no power over.
///
/// # References
/// mount_setattr(2), "ID-mapped mounts"
pub fn with_maps(maps: &IdMaps) -> Result<NamespaceFd, CallError> {
    maps.check()?;
    step!(2, "clone3", "user_namespaces(7)", "a user namespace for its id maps alone", "CLONE_NEWUSER");
    let arguments = CloneArgs { namespaces: NamespaceKind::User.bits(), cgroup: None };
    // The plan ends at its checkpoint: nothing of it is ever executed.
    let mut child = spawn(&arguments, &[ProcessStep::Checkpoint("mapped")])?;
    let made = child.next_event().and_then(|event| match event {
        Event::Reached(..) => maps.write(child.pid()).and_then(|()| NamespaceFd::of(child.pid(), NamespaceKind::User)),
        other => Err(CallError::refused("make", "user namespace", format!("{other:?}"))),
    });
    child.discard();
    made
}
