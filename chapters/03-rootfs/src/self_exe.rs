//! The engine's own program file, out of a container's reach.
//!
//! Until it becomes the container's program, init *is* the engine: `/proc/PID/exe` of it, seen from inside, leads to the
//! engine's file on the machine. And a container may make that last: it names `/proc/self/exe` as the program to
//! execute, or as a script's interpreter, and the engine runs once more, with the container's libraries. Who then
//! opens that link and waits until nobody runs the file any more, writes to it, and the machine's root runs
//! what was written at the next start (CVE-2019-5736).
//!
//! No check of the program's name helps: the kernel follows links of links, and the file may be exchanged after
//! the check. What helps is that the file cannot be written *through that link*: before it works for a container, the
//! engine executes itself again from a read-only view of its directory, which is mounted nowhere and so can
//! never be made writable. Where it cannot have one it executes a sealed copy in memory.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use process::{CallError, During, step};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::MountAttrFlags;

use crate::mount::{DetachedMount, Recursion};

/// Makes sure that this process runs from a file that nobody can write to through `/proc/PID/exe`: executes it
/// again, with the same arguments and environment, unless it does already. Call it first thing in `main`, before anything
/// that an exec would lose.
///
/// # Errors
/// When neither a read-only view nor a copy in memory can be had.
///
/// # References
/// proc_pid_exe(5), open_tree(2), execveat(2), memfd_create(2)
pub fn protect() -> Result<(), CallError> {
    let file = File::open("/proc/self/exe").during("open", "/proc/self/exe")?;
    if is_protected(file.as_fd())? {
        return Ok(());
    }
    let path = std::fs::read_link("/proc/self/exe").during("readlink", "/proc/self/exe")?;
    match read_only_view(&path, &file) {
        Ok((directory, name)) => execute(directory.as_fd(), &name, AtFlags::empty()),
        // No privilege, a kernel without mount_setattr, a file that was replaced since: a copy does as well.
        Err(_) => execute(sealed_copy(file)?.as_fd(), OsStr::new(""), AtFlags::AT_EMPTY_PATH),
    }
}

fn is_protected(file: BorrowedFd<'_>) -> Result<bool, CallError> {
    let flags = rustix::fs::fstatvfs(file).during("fstatvfs", "/proc/self/exe")?.f_flag;
    // EINVAL: it is no memfd, and has no seals.
    let seals = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    Ok(flags.contains(StatVfsMountFlags::RDONLY) || seals.contains(SealFlags::WRITE))
}

/// A read-only, detached view of the directory that the program's file is in.
fn read_only_view(path: &Path, file: &File) -> Result<(DetachedMount, PathBuf), CallError> {
    let missing = || CallError::refused("find", path.display(), "it has no directory");
    let (directory, name) = path.parent().zip(path.file_name()).ok_or_else(missing)?;
    step!(
        3,
        "open_tree",
        "open_tree(2)",
        "keep its own program file out of reach",
        "{} read-only",
        directory.display()
    );
    let view = DetachedMount::bind(directory, Recursion::One)?;
    view.set(MountAttrFlags::MOUNT_ATTR_RDONLY, Recursion::One)?;
    let seen = rustix::fs::openat(&view, name, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .during("open", path.display())?;
    let (seen, ours) = (rustix::fs::fstat(&seen).during("fstat", path.display())?, rustix::fs::fstat(file));
    let ours = ours.during("fstat", "/proc/self/exe")?;
    if (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino) {
        return Ok((view, name.into()));
    }
    Err(CallError::refused("find", path.display(), "another file has its name"))
}

fn sealed_copy(mut file: File) -> Result<OwnedFd, CallError> {
    step!(3, "memfd_create", "memfd_create(2)", "keep its own program file out of reach", "a sealed copy in memory");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is asked for since Linux 6.3, and unknown before.
    let made = match rustix::fs::memfd_create("cooper", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("cooper", flags),
        made => made,
    };
    let mut copy = File::from(made.during("memfd_create", "cooper")?);
    std::io::copy(&mut file, &mut copy).during("copy", "/proc/self/exe")?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals).during("fcntl F_ADD_SEALS", "cooper")?;
    Ok(copy.into())
}

/// Returns only on failure.
fn execute(directory: BorrowedFd<'_>, name: impl AsRef<OsStr>, flags: AtFlags) -> Result<(), CallError> {
    let c_string = |text: &OsStr| {
        CString::new(text.as_bytes()).map_err(|_| CallError::refused("execveat", text.display(), "a NUL byte"))
    };
    let arguments = std::env::args_os().map(|argument| c_string(&argument)).collect::<Result<Vec<_>, _>>()?;
    let environment = std::env::vars_os()
        .map(|(key, value)| c_string(&[key, "=".into(), value].into_iter().collect::<std::ffi::OsString>()))
        .collect::<Result<Vec<_>, _>>()?;
    let Err(errno) = nix::unistd::execveat(directory, &c_string(name.as_ref())?, &arguments, &environment, flags);
    Err(CallError::new("execveat", "/proc/self/exe", errno))
}
