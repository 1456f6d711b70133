//! Kernels before Linux 5.12 have no `mount_setattr`: what it does is done by `mount(2)`, after the mount is attached.
//!
//! What is lost there: attributes of submounts (`rro`), owners (`idmap`), and the order in which a mount is finished
//! before anybody can see it. The last matters little here: it happens in a mount namespace in which nobody runs yet.

use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use process::{CallError, During, step};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags};

use crate::mount::{Propagation, Recursion};

/// A change that waits for its mount to be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Attributes(MountAttrFlags),
    Propagation(Propagation, Recursion),
}

impl Late {
    /// Refuses what `mount(2)` has no word for.
    pub(crate) fn is_possible(self, reach: Recursion) -> Result<(), CallError> {
        let known = |attributes: MountAttrFlags| flags(attributes).is_some();
        match self {
            Self::Attributes(attributes) if reach == Recursion::One && known(attributes) => Ok(()),
            Self::Attributes(_) => Err(CallError::new("mount_setattr", self, nix::errno::Errno::ENOSYS)
                .with("for the mounts below, it needs Linux 5.12")),
            Self::Propagation(..) => Ok(()),
        }
    }

    /// Does it, by the one path that leads to a mount held open.
    pub(crate) fn apply(self, mount: BorrowedFd<'_>) -> Result<(), CallError> {
        let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
        step!(3, "mount", "mount(2)", "this kernel has no mount_setattr: change it in place", "{self}");
        match self {
            Self::Attributes(attributes) => {
                let flags = flags(attributes).unwrap_or(MountFlags::empty());
                rustix::mount::mount_remount(&path, MountFlags::BIND | flags, "").during("mount MS_REMOUNT", self)
            }
            Self::Propagation(propagation, reach) => {
                let deep =
                    if reach == Recursion::All { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
                let kind = match propagation {
                    Propagation::Private => MountPropagationFlags::PRIVATE,
                    Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
                    Propagation::Shared => MountPropagationFlags::SHARED,
                    Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
                };
                rustix::mount::mount_change(&path, kind | deep).during("mount", self)
            }
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attributes(attributes) => write!(f, "{attributes:?}"),
            Self::Propagation(propagation, _) => write!(f, "{propagation:?}"),
        }
    }
}

/// The same attributes as `mount(2)` names them; none if it has no name for one.
fn flags(attributes: MountAttrFlags) -> Option<MountFlags> {
    const NAMES: [(MountAttrFlags, MountFlags); 7] = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
    ];
    let known = NAMES.iter().fold(MountAttrFlags::empty(), |known, (name, _)| known | *name);
    let named = NAMES.iter().filter(|(name, _)| attributes.contains(*name));
    (known.contains(attributes)).then(|| named.fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::path::Path;

    use super::*;
    use crate::mount::DetachedMount;
    use crate::mountinfo::MountInfo;
    use crate::root::Root;

    #[test]
    fn an_attached_mount_is_changed_as_mount_setattr_would_have() {
        if !process::needs::root() {
            return;
        }
        // A mount namespace of this thread's own, gone with it.
        let changed = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let place = Root::open(Path::new("/mnt")).unwrap();
            let mount = DetachedMount::filesystem("tmpfs", "late", &[], MountAttrFlags::empty()).unwrap();
            mount.attach(place.as_fd()).unwrap();
            let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME;
            Late::Attributes(attributes).apply(mount.as_fd()).unwrap();
            Late::Propagation(Propagation::Shared, Recursion::One).apply(mount.as_fd()).unwrap();
            let mounts = MountInfo::read(Path::new("/proc/thread-self/mountinfo")).unwrap();
            mounts.into_iter().find(|mount| mount.source == "late").unwrap()
        });
        let mount = changed.join().unwrap();
        assert_eq!(mount.options, ["ro", "noatime"]);
        assert!(mount.tags.iter().any(|tag| tag.starts_with("shared:")), "{mount:?}");
    }

    #[test]
    fn what_the_old_call_cannot_say_is_refused_by_name() {
        let read_only = Late::Attributes(MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert!(read_only.is_possible(Recursion::One).is_ok());
        let error = read_only.is_possible(Recursion::All).unwrap_err().to_string();
        assert!(error.contains("it needs Linux 5.12") && error.ends_with("ENOSYS"), "{error}");
        let links = Late::Attributes(MountAttrFlags::from_bits_retain(0x0020_0000));
        assert!(links.is_possible(Recursion::One).is_err());
    }
}
