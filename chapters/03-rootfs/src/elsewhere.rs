//! A mount of another mount namespace, seen once more in this one.
//!
//! Every path is looked up in the caller's own mount namespace, and a bind mount of what `/proc/PID/root` shows is EINVAL: the
//! kernel clones only mounts of the namespace that the caller is in. So a thread goes there, takes a detached copy, and ends;
//! what it took belongs to no namespace, and can be attached in any.
//!
//! ```text
//!   thread:  setns(their mounts) -> open_tree(/dev/shm, OPEN_TREE_CLONE) -> ends
//!   init:    move_mount(the copy, /dev/shm)
//! ```

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use namespaces::NamespaceFd;
use nix::sched::{CloneFlags, unshare};
use process::{CallError, During, step};
use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};

use crate::mount::{DetachedMount, Recursion};
use crate::root::Root;

/// A detached copy of what is mounted on `path` in another mount namespace.
///
/// The path is one of theirs, and whoever lives there may have put anything in its way: it is resolved without links, and
/// has to be the root of a mount, so that none but what they mounted is handed on.
///
/// # Errors
/// EPERM without power over that namespace; ENOENT; a path with a link on it, or on which nothing is mounted.
///
/// # References
/// setns(2), open_tree(2)
pub fn mount_of(theirs: &NamespaceFd, path: &Path) -> Result<DetachedMount, CallError> {
    apart(|| take(theirs, path))?
}

/// Does something on a thread of its own, which may become whoever it likes: nothing of it is left when this returns, nor is
/// the thread counted any more by who is about to clone.
///
/// # Errors
/// The work panicked: that is a bug of ours, and its message tells more.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, CallError> {
    let (done, thread) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| (work(), rustix::thread::gettid()));
        thread.join().map_err(|_| CallError::refused("run", "thread", "it panicked"))
    })?;
    // Whoever joins a thread wakes a moment before the kernel has let go of it.
    let there = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    while Path::new(&there).exists() {
        std::thread::yield_now();
    }
    Ok(done)
}

fn take(theirs: &NamespaceFd, path: &Path) -> Result<DetachedMount, CallError> {
    let shown = path.display();
    step!(3, "open_tree", "open_tree(2)", "take a mount out of another namespace", "{shown}");
    // Root and working directory are shared by a process's threads; who shares them may not change namespaces.
    unshare(CloneFlags::CLONE_FS).during("unshare", "CLONE_FS")?;
    theirs.enter()?;
    let root = Root::open(Path::new("/"))?;
    let relative = path.strip_prefix("/").unwrap_or(path);
    let place = root.open_plain(relative, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    if !is_mount_root(&place, path)? {
        return Err(CallError::refused("take", shown, "nothing is mounted there"));
    }
    DetachedMount::bind_fd(place.as_fd(), Recursion::One)
}

/// Whether a directory is what was mounted, and not one below it. Kernels before 5.8 do not say: there it has to be of
/// another file system than the directory it lies in.
fn is_mount_root(place: &OwnedFd, path: &Path) -> Result<bool, CallError> {
    let look = |name: &str, flags| rustix::fs::statx(place, name, flags, StatxFlags::BASIC_STATS);
    let stat = look("", AtFlags::EMPTY_PATH).during("statx", path.display())?;
    if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    let above = look("..", AtFlags::empty()).during("statx", path.display())?;
    Ok((above.stx_dev_major, above.stx_dev_minor) != (stat.stx_dev_major, stat.stx_dev_minor))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use namespaces::NamespaceKind;
    use rustix::mount::{MountAttrFlags, MountPropagationFlags};

    use super::*;

    /// A mount namespace with a tmpfs on /mnt in which a file lies, held by its descriptor.
    fn other_namespace() -> NamespaceFd {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let mount = DetachedMount::filesystem("tmpfs", "theirs", &[], MountAttrFlags::empty()).unwrap();
            mount.attach(Root::open(Path::new("/mnt")).unwrap().as_fd()).unwrap();
            std::fs::create_dir("/mnt/below").unwrap();
            std::fs::write("/mnt/file", "theirs").unwrap();
            NamespaceFd::open(Path::new("/proc/thread-self/ns/mnt"), NamespaceKind::Mount).unwrap()
        });
        made.join().unwrap()
    }

    #[test]
    fn a_mount_of_another_namespace_is_taken_and_nothing_but_a_mount() {
        if !process::needs::root() {
            return;
        }
        let theirs = other_namespace();
        let taken = mount_of(&theirs, Path::new("/mnt")).unwrap();
        let file = rustix::fs::openat(taken.as_fd(), "file", OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(std::io::read_to_string(std::fs::File::from(file)).unwrap(), "theirs");
        assert!(!Path::new("/mnt/file").exists(), "it is seen here");

        let below = mount_of(&theirs, Path::new("/mnt/below")).unwrap_err().to_string();
        assert!(below.contains("nothing is mounted there"), "{below}");
        let link = mount_of(&theirs, Path::new("/proc/self/root")).unwrap_err().to_string();
        assert!(link.contains("ELOOP"), "{link}");
        mount_of(&theirs, Path::new("/mnt/nowhere")).unwrap_err();
    }
}
