//! Id-mapped mounts: a directory of the machine whose files have other owners where it is mounted.
//!
//! A bind mount shows files with the owners that they have on disk: user 1000's files are not root's in a
//! container, and what the container's root writes there is root's on the machine. With an id map on the
//! *mount*, the kernel translates owners on the way in and out, and not one file on disk is changed.
//!
//! ```text
//!   on disk                    the mount's id map              seen through the mount
//!   notes.txt   uid 1000  -->  1000 0 1                   -->  uid 0
//!   new.txt     uid 1000  <--  (a user namespace's map)   <--  written by uid 0
//! ```
//!
//! The map is a user namespace's, which chapter 2 makes for that alone. Only who has power over the *file system*
//! may map it: on the machine's disks that is the machine's root, and never an ordinary user. So the mount is made
//! by the parent, before it gives anything up, and the child attaches it.

use std::os::fd::AsFd as _;
use std::path::Path;

use namespaces::{IdMaps, userns};
use nix::errno::Errno;
use process::{CallError, During, step};

use crate::mount::{DetachedMount, Recursion};
use crate::sys::{self, MountAttr};

/// `MOUNT_ATTR_IDMAP` of `linux/mount.h`.
const IDMAP: u64 = 0x0010_0000;

/// A second view of `path`, detached, in which an id on disk that `maps` calls `inside` is seen as its `outside`.
///
/// `depth` says whether what is mounted below comes along, `reach` whether it is mapped as well.
///
/// Ids that the maps do not name are seen as nobody's, and cannot be written: EOVERFLOW.
///
/// # Errors
/// A malformed map; EPERM without power over the file system; EINVAL where it cannot be mapped or is mapped already.
///
/// # References
/// mount_setattr(2), "ID-mapped mounts", Linux 5.12
pub fn bind(path: &Path, depth: Recursion, reach: Recursion, maps: &IdMaps) -> Result<DetachedMount, CallError> {
    let shown = path.display();
    let userns = userns::with_maps(maps)?;
    step!(3, "mount_setattr", "mount_setattr(2)", "show its files with the right owners", "{shown} MOUNT_ATTR_IDMAP");
    let mount = DetachedMount::bind(path, depth)?;
    let attr = MountAttr { attr_set: IDMAP, userns_fd: sys::number(userns.as_fd()), ..MountAttr::default() };
    sys::mount_setattr(mount.as_fd(), reach == Recursion::All, &attr).during("mount_setattr", &shown).map_err(
        |error| {
            let reason = reason(error.errno(), path);
            error.with(format!("MOUNT_ATTR_IDMAP: {reason}"))
        },
    )?;
    Ok(mount)
}

/// What the kernel's bare number means here, and what would help.
fn reason(errno: Errno, path: &Path) -> String {
    match errno {
        Errno::EPERM => "only the file system's owner may map its ids: on a disk that is the machine's root".to_owned(),
        Errno::EINVAL => {
            let kind = rustix::fs::statfs(path).map_or("?".to_owned(), |stat| format!("{:#x}", stat.f_type));
            format!("its file system (type {kind}) or one mounted below cannot be id-mapped")
        }
        Errno::ENOSYS => "needs Linux 5.12".to_owned(),
        _ => String::new(),
    }
}
