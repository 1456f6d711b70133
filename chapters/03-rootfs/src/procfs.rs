//! A procfs that is certainly one: for writing kernel parameters without trusting the container's `/proc`.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use process::{CallError, During, step};
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;

use crate::mount::DetachedMount;
use crate::root::Root;

/// A verified procfs, held open. What is opened in it is procfs too, down to the last component.
///
/// The container's own `/proc` may be covered: as a whole by a directory of the image, or in the one file that
/// is about to be written, by a mount that leads the write to another (CVE-2019-16884, CVE-2025-52881).
#[derive(Debug)]
pub struct ProcFs {
    root: Root,
}

impl ProcFs {
    /// A private, detached instance of this process's pid namespace, which only its holder sees. Where none can be
    /// mounted (a user namespace in which parts of `/proc` are masked already), the mounted one, verified.
    ///
    /// # Errors
    /// When `/proc` is not a procfs.
    ///
    /// # References
    /// fsopen(2), fsmount(2)
    pub fn open() -> Result<Self, CallError> {
        match DetachedMount::filesystem("proc", "proc", &[], MountAttrFlags::MOUNT_ATTR_NOSUID) {
            Ok(detached) => Self::verified(detached.into(), "a detached procfs"),
            Err(error) if matches!(error.errno(), Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => {
                Self::at(Path::new("/proc"))
            }
            Err(error) => Err(error),
        }
    }

    /// The procfs that is mounted on a directory.
    ///
    /// # Errors
    /// When it is another file system, or not the root of a procfs.
    pub fn at(directory: &Path) -> Result<Self, CallError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, rustix::fs::Mode::empty()).during("open", directory.display())?;
        Self::verified(fd, &directory.display().to_string())
    }

    fn verified(fd: OwnedFd, shown: &str) -> Result<Self, CallError> {
        refuse_other_file_systems(fd.as_fd(), shown)?;
        // A directory of a procfs, bind-mounted in its place, is procfs as well; its root has inode 1.
        if rustix::fs::fstat(&fd).during("fstat", shown)?.st_ino != 1 {
            return Err(CallError::refused("verify procfs at", shown, "it is not the root of one"));
        }
        Ok(Self { root: Root::from(fd) })
    }

    /// Writes a value to a file in one call.
    ///
    /// # Errors
    /// ELOOP and EXDEV when something lies over the file; those of the file itself.
    pub fn write(&self, path: &Path, value: &[u8]) -> Result<(), CallError> {
        let fd = self.root.open_same_mount(path, OFlags::WRONLY)?;
        refuse_other_file_systems(fd.as_fd(), &path.display().to_string())?;
        File::from(fd).write_all(value).during("write", path.display())
    }
}

fn refuse_other_file_systems(fd: BorrowedFd<'_>, shown: &str) -> Result<(), CallError> {
    if rustix::fs::fstatfs(fd).during("fstatfs", shown)?.f_type == libc::PROC_SUPER_MAGIC {
        return Ok(());
    }
    Err(CallError::refused("verify procfs at", shown, "it is another file system"))
}

/// Sets kernel parameters (`net.ipv4.ip_forward` = `1`) of this process's namespaces.
///
/// # Errors
/// A name that is none; ENOENT for an unknown parameter, EACCES for one that is not namespaced.
///
/// # References
/// sysctl(8), proc_sys(5)
pub fn set_parameters(parameters: &[(String, String)]) -> Result<(), CallError> {
    if parameters.is_empty() {
        return Ok(());
    }
    let proc = ProcFs::open()?;
    for (name, value) in parameters {
        step!(3, "write", "proc_sys(5)", "set a parameter of its own namespaces", "{name}={value}");
        let path = parameter_path(name)?;
        proc.write(Path::new(&path), value.as_bytes()).map_err(|error| error.with(format!("sysctl {name}={value}")))?;
    }
    Ok(())
}

/// Where a parameter lies in a procfs. As with sysctl(8), if the first separator is a slash, dots are letters:
/// `net/ipv4/conf/eth0.100/forwarding`.
fn parameter_path(name: &str) -> Result<String, CallError> {
    let separator = name.find(['.', '/']).map(|place| name.as_bytes()[place]);
    let path = match separator {
        Some(b'/') => name.to_owned(),
        _ => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(CallError::refused("set parameter", name, "it is not a parameter's name"));
    }
    Ok(format!("sys/{path}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_parameters_name_stays_below_sys() {
        assert_eq!(parameter_path("net.ipv4.ip_forward").unwrap(), "sys/net/ipv4/ip_forward");
        assert_eq!(
            parameter_path("net/ipv4/conf/eth0.100/forwarding").unwrap(),
            "sys/net/ipv4/conf/eth0.100/forwarding"
        );
        assert_eq!(
            parameter_path("net.ipv4.conf.eth0/100.forwarding").unwrap(),
            "sys/net/ipv4/conf/eth0.100/forwarding"
        );
        for name in ["", ".", "..", "/etc/passwd", "net//x", "net/../../sysrq-trigger", "kernel."] {
            assert!(parameter_path(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_procfs_or_not_its_root_is_refused() {
        let reason = |path: &str| ProcFs::at(Path::new(path)).unwrap_err().to_string();
        assert_eq!(reason("/sys"), r#"verify procfs at "/sys": it is another file system"#);
        assert_eq!(reason("/proc/sys"), r#"verify procfs at "/proc/sys": it is not the root of one"#);
        assert!(ProcFs::at(Path::new("/proc")).is_ok());
    }

    #[test]
    fn links_of_procfs_are_not_written_through() {
        let proc = ProcFs::at(Path::new("/proc")).unwrap();
        assert_eq!(proc.write(Path::new("self/comm"), b"x").unwrap_err().errno(), Errno::ELOOP);
    }
}
