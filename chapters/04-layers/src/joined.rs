//! Mounting a stack on kernels before Linux 6.7, which take all lower layers in one option.
//!
//! `lowerdir=A:B:C` has to fit, with all other options, into one page of 4,096 bytes; and `fsconfig` takes no more
//! than 255 bytes for one value. So this is a plain mount(2), and layers are named as shortly as can be: by the numbers
//! of open descriptors, relative to `/proc/thread-self/fd`. Five hundred of them fit.
//!
//! mount(2) has to mount *somewhere*. To keep that out of every mount table, a thread gets a mount namespace of its own,
//! mounts there, takes a detached copy, and ends; with it goes the namespace, even if the process is killed half-way.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount as nix_mount};
use nix::sched::{CloneFlags, unshare};
use process::{CallError, During, step};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use crate::idmap::Ids;
use crate::overlay::{Durability, Overlay};

/// What one call takes, a final zero byte included.
const PAGE: usize = 4096;

/// Mounts the stack nowhere.
///
/// # Errors
/// Those of the kernel calls; options that are longer than a page.
///
/// # References
/// mount(2), unshare(2), open_tree(2)
pub(crate) fn mount(overlay: &Overlay) -> Result<OwnedFd, CallError> {
    let inside = || mount_in_own_namespace(overlay);
    let joined = std::thread::scope(|scope| scope.spawn(inside).join());
    // A thread of ours that panicked has a bug; there is nothing to tell that its message did not.
    joined.unwrap_or_else(|_| Err(CallError::refused("mount", "overlay", "the thread that mounts it panicked")))
}

fn mount_in_own_namespace(overlay: &Overlay) -> Result<OwnedFd, CallError> {
    let Some(first) = overlay.lower.first() else {
        return Err(CallError::refused("mount", "overlay", "there is no lower layer"));
    };
    // Any directory will do, and this one is there. Nobody else sees it covered.
    let place = std::path::absolute(first).during("find", first.display())?;
    step!(4, "unshare", "unshare(2)", "give this thread mounts of its own", "mount namespace");
    unshare(CloneFlags::CLONE_NEWNS).during("unshare", "mount namespace")?;
    let nothing: Option<&str> = None;
    nix_mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .during("mount --make-rprivate", "/")?;
    // Opened here and not before: the kernel takes layers only from mounts of this namespace.
    let mut handles = Vec::new();
    let options = options(overlay, &mut handles)?;
    if options.len() >= PAGE {
        let reason = format!("its options take {} bytes, and this kernel takes {}", options.len(), PAGE - 1);
        return Err(CallError::refused("mount", "overlay", reason));
    }
    // The unshare made the working directory this thread's own, too.
    std::env::set_current_dir("/proc/thread-self/fd").during("chdir", "/proc/thread-self/fd")?;
    step!(4, "mount", "mount(2)", "stack the layers, named by descriptors", "overlay {options}");
    nix_mount(Some("overlay"), &place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| CallError::new("mount", "overlay", errno).with(&options))?;
    step!(4, "open_tree", "open_tree(2)", "take the mount out of the namespace", "overlay");
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, &place, flags).during("open_tree", "overlay")
}

/// The options in one line, with the descriptors that they name.
fn options(overlay: &Overlay, handles: &mut Vec<OwnedFd>) -> Result<String, CallError> {
    let mut number = |path: &Path| -> Result<String, CallError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).during("open", path.display())?;
        let number = handle.as_raw_fd().to_string();
        handles.push(handle);
        Ok(number)
    };
    let lower: Vec<String> = overlay.lower.iter().map(|layer| number(layer)).collect::<Result<_, _>>()?;
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some((upper, work)) = &overlay.upper_work {
        options += &format!(",upperdir={},workdir={}", number(upper)?, number(work)?);
        if overlay.durability == Durability::Volatile {
            options += ",volatile";
        }
    }
    options += match Ids::here() {
        Ids::Namespace => ",userxattr",
        Ids::Host => ",redirect_dir=off,metacopy=off,index=off",
    };
    Ok(options)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_layers_are_mounted_in_one_option_and_in_no_mount_table() {
        if !process::needs::root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<_> = (0..499).map(|n| dir.path().join(n.to_string())).collect();
        for (n, layer) in lower.iter().enumerate() {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join(format!("from-{n}")), b"x").unwrap();
        }
        let upper_work = Some((dir.path().join("upper"), dir.path().join("work")));
        let overlay = Overlay { lower, upper_work, durability: Durability::Volatile };
        overlay.prepare().unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mount(&overlay).unwrap();
        let root = crate::attributes::name_of(std::os::fd::AsFd::as_fd(&mount));
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 499);
        std::fs::write(root.join("new"), b"new").unwrap();
        assert_eq!(std::fs::read(dir.path().join("upper/new")).unwrap(), b"new");
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        assert_ne!(std::env::current_dir().unwrap(), Path::new("/proc/thread-self/fd"));
    }
}
