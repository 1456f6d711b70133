//! A procfs that is certainly one: for writing kernel parameters without trusting the container's `/proc`.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use process::{CallError, During, step};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::MountAttrFlags;

use crate::mount::DetachedMount;

/// Sets kernel parameters (`net.ipv4.ip_forward` = `1`) of this process's namespaces.
///
/// The container's own `/proc` may be covered by a mount of its choice (CVE-2019-16884), so the write goes
/// through a private, detached instance that only this function sees.
///
/// # Errors
/// ENOENT for an unknown parameter, EACCES for one that is not namespaced.
///
/// # References
/// sysctl(8), fsmount(2)
pub fn set_parameters(parameters: &[(String, String)]) -> Result<(), CallError> {
    if parameters.is_empty() {
        return Ok(());
    }
    let proc = DetachedMount::filesystem("proc", "proc", &[], MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    for (name, value) in parameters {
        step!(3, "write", "proc_sys(5)", "set a parameter of its own namespaces", "{name}={value}");
        let path = Path::new("sys").join(name.replace('.', "/"));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(proc.as_fd(), &path, flags, Mode::empty(), resolve);
        File::from(file.during("open sysctl", name)?)
            .write_all(value.as_bytes())
            .during("write sysctl", name)
            .map_err(|error| error.with(value))?;
    }
    Ok(())
}
