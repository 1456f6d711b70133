//! A namespace held by a descriptor: opened, compared, entered, and left again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::setns;
use process::{CallError, During, Pid, refuse_threads, step};
use rustix::fs::{Mode, OFlags};

use crate::kind::NamespaceKind;

/// One namespace. It exists at least as long as this descriptor.
#[derive(Debug)]
pub struct NamespaceFd {
    kind: NamespaceKind,
    fd: OwnedFd,
}

impl NamespaceFd {
    /// The namespace of this kind that `pid` is in.
    ///
    /// # Errors
    /// ENOENT when the process is gone or the kernel lacks the kind; EACCES when it is not ours to look at.
    ///
    /// # References
    /// namespaces(7), "The /proc/pid/ns/ directory"
    pub fn of(pid: Pid, kind: NamespaceKind) -> Result<Self, CallError> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/{}", kind.proc_name())), kind)
    }

    /// The caller's own namespace of this kind.
    ///
    /// # Errors
    /// As [`NamespaceFd::of`].
    pub fn own(kind: NamespaceKind) -> Result<Self, CallError> {
        Self::open(Path::new(&format!("/proc/self/ns/{}", kind.proc_name())), kind)
    }

    /// Opens a path that stands for a namespace: a link in `/proc/PID/ns`, or a file it was bind-mounted on.
    ///
    /// # Errors
    /// When the path is something else; `kind` is checked when it is entered.
    pub fn open(path: &Path, kind: NamespaceKind) -> Result<Self, CallError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, Mode::empty()).during("open", path.display())?;
        let kind_of_fs = rustix::fs::fstatfs(&fd).during("fstatfs", path.display())?.f_type;
        if kind_of_fs != nix::libc::NSFS_MAGIC {
            return Err(CallError::refused("open", path.display(), "not a namespace"));
        }
        Ok(Self { kind, fd })
    }

    /// The kind it was opened as.
    pub fn kind(&self) -> NamespaceKind {
        self.kind
    }

    /// The inode number that names it, as `readlink /proc/PID/ns/KIND` shows.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn id(&self) -> Result<u64, CallError> {
        Ok(rustix::fs::fstat(&self.fd).during("fstat", self.kind)?.st_ino)
    }

    /// Moves the calling thread in. For a pid namespace, the thread's *next child* is the one that is inside.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN in the namespace's own user namespace; EINVAL for the wrong kind, and for
    /// a user namespace entered by a process with threads.
    ///
    /// # References
    /// setns(2)
    pub fn enter(&self) -> Result<(), CallError> {
        step!(2, "setns", "setns(2)", "see what its members see", "{} namespace", self.kind);
        setns(&self.fd, self.kind.flag()).during("setns", self.kind)
    }
}

impl AsFd for NamespaceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `work` inside another namespace and comes back, whatever `work` returned.
///
/// A socket that `work` opens inside a network namespace belongs to that namespace for good, which is how a
/// process outside can speak netlink, or DNS, on the inside.
///
/// # Errors
/// The failure to enter or to come back. A process with threads is refused, for the others would not move.
pub fn within<T>(namespace: &NamespaceFd, work: impl FnOnce() -> T) -> Result<T, CallError> {
    refuse_threads("setns", namespace.kind)?;
    let own = NamespaceFd::own(namespace.kind)?;
    namespace.enter()?;
    let result = work();
    setns(&own.fd, own.kind.flag()).during("setns back to", own.kind)?;
    Ok(result)
}
