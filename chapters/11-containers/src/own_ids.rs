//! A container whose users are not the machine's: `--uidmap`, `--gidmap`.
//!
//! Its root is an ordinary number outside, with power over nothing but the container. On disk its files keep the numbers that
//! the container knows, so that its layers stay what every other container of the image shares, and `commit` and `diff`
//! see what they always see. What lies between is the id map of a mount: chapter 3 makes one of each layer, and chapter 4 stacks
//! those.
//!
//! ```text
//!   in the container     the kernel         on disk
//!        uid 0      <->  uid 100000   <->    uid 0
//!            (user namespace)   (id-mapped mounts)
//! ```
//!
//! # References
//! user_namespaces(7); mount_setattr(2), "ID-mapped mounts", Linux 5.19 for overlayfs

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use layers::Overlay;
use namespaces::{IdMap, IdMaps};
use privileges::Identity;
use process::{CallError, During as _, step};
use rootfs::{DetachedMount, Recursion, elsewhere, id_mapped};

use crate::error::{Error, Result};
use crate::networking::NetworkMode;
use crate::options::CreateOptions;
use crate::sharing::{Ipc, Share};

const OPTION: &str = "--uidmap";

/// `CONTAINER:HOST[:SIZE]`, as podman has it: ids from the first on are those from the second on outside.
///
/// # Errors
/// [`Error::BadValue`] with the text.
pub fn id_range(text: &str) -> Result<IdMap> {
    let bad = || Error::bad(OPTION, text, "expected CONTAINER:HOST[:SIZE], three numbers");
    let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([inside, outside]) => Ok(IdMap::one(*inside, *outside)),
        Some([inside, outside, count]) => Ok(IdMap { inside: *inside, outside: *outside, count: *count }),
        _ => Err(bad()),
    }
}

/// Refuses what a container with ids of its own cannot have.
pub(crate) fn check(options: &CreateOptions) -> Result<()> {
    let Some(maps) = &options.id_maps else { return Ok(()) };
    let no = |reason: &str| Err(Error::bad(OPTION, "", reason));
    maps.check().map_err(|error| Error::bad(OPTION, "", error.to_string()))?;
    for (kind, maps) in [("user", &maps.users), ("group", &maps.groups)] {
        if !maps.iter().any(|map| map.outside_of(0).is_some()) {
            return no(&format!("{kind} 0 has to be among them: the files of an image are root's"));
        }
    }
    let sharing = &options.sharing;
    let own = matches!(sharing.ipc, Ipc::Private | Ipc::NoSharedMemory)
        && [&sharing.pid, &sharing.uts, &sharing.cgroup].iter().all(|share| **share == Share::Own);
    if namespaces::rootless::is_rootless() {
        return no("it needs root: only the owner of the file system may map its ids. Without root the ids that \
                   /etc/subuid lends are the containers' already");
    }
    if options.security.privileged {
        return no("a privileged container has the machine's users (--privileged)");
    }
    if !own {
        return no(
            "namespaces of others belong to other users: no --pid, --uts, --cgroupns, and of --ipc only private and none",
        );
    }
    if matches!(options.network.mode, NetworkMode::Host | NetworkMode::Container(_)) {
        return no("networks of others belong to other users: no --network host or container:NAME");
    }
    match options.mounts.iter().any(|mount| mount.owners.is_some()) {
        true => no("a mount has one map, and with idmap it would need two"),
        false => Ok(()),
    }
}

/// Refuses a user or a group that has no number outside.
pub(crate) fn check_user(maps: &IdMaps, user: &Identity) -> Result<()> {
    let mapped = |maps: &[IdMap], id: u32| maps.iter().any(|map| map.outside_of(id).is_some());
    if !mapped(&maps.users, user.uid) {
        return Err(Error::bad("--user", user.uid.to_string(), "it is not among the users of --uidmap"));
    }
    match [user.gid].iter().chain(&user.groups).find(|gid| !mapped(&maps.groups, **gid)) {
        Some(gid) => Err(Error::bad("--user", gid.to_string(), "it is not among the groups of --gidmap")),
        None => Ok(()),
    }
}

/// The stack with every layer's ids mapped, mounted nowhere. What is written to it has the container's ids on disk.
///
/// # Errors
/// A file system that cannot be mapped, by the layer that lies on it.
pub(crate) fn stacked(overlay: &Overlay, maps: &IdMaps) -> Result<OwnedFd> {
    // The views have to live until the stack has its own.
    let mut views: Vec<DetachedMount> = Vec::new();
    let mut view = |path: &Path| -> Result<PathBuf> {
        let mount = id_mapped::bind(path, Recursion::One, Recursion::One, maps)?;
        let shown = format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd());
        views.push(mount);
        Ok(shown.into())
    };
    let lower = overlay.lower.iter().map(|layer| view(layer)).collect::<Result<_>>()?;
    // overlayfs wants these two on one mount: it is mapped above both.
    let upper_work = match &overlay.upper_work {
        Some((upper, work)) => {
            let above = upper.parent().unwrap_or(upper);
            let seen = view(above)?;
            let below = |path: &Path| path.strip_prefix(above).map(|name| seen.join(name));
            let outside = |_| Error::bad(OPTION, work.display().to_string(), "it lies elsewhere than what is changed");
            Some((below(upper).map_err(outside)?, below(work).map_err(outside)?))
        }
        None => None,
    };
    let mapped = Overlay { lower, upper_work, durability: overlay.durability };
    Ok(elsewhere::apart(|| {
        become_their_root(maps)?;
        mapped.mount()
    })??)
}

/// Lets this thread make files as the container's root, whom the maps know, and keep its power: overlayfs works with the
/// credentials of whoever mounts it, and its work directory would otherwise be a file of nobody's, and the stack read-only.
///
/// # References
/// setfsuid(2), capabilities(7), "Effect of user ID changes on capabilities"
fn become_their_root(maps: &IdMaps) -> std::result::Result<(), CallError> {
    let outside = |maps: &[IdMap]| maps.iter().find_map(|map| map.outside_of(0)).unwrap_or(0);
    let before = rustix::thread::capabilities(None).during("capget", "own")?;
    step!(11, "setfsuid", "setfsuid(2)", "make files as the container's root", "{}", outside(&maps.users));
    nix::unistd::setfsgid(outside(&maps.groups).into());
    nix::unistd::setfsuid(outside(&maps.users).into());
    rustix::thread::set_capabilities(None, before).during("capset", "own")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_podman_s() {
        assert_eq!(id_range("0:100000:65536").unwrap(), IdMap { inside: 0, outside: 100_000, count: 65536 });
        assert_eq!(id_range("5:7").unwrap(), IdMap::one(5, 7));
        for wrong in ["", "0", "0:1:2:3", "a:b", "0:-1", "0:@1000"] {
            assert!(id_range(wrong).is_err(), "{wrong:?}");
        }
    }
}
