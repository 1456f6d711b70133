//! The door into a container's network namespace.
//!
//! A network namespace belongs to a *thread*, and a socket speaks for the namespace in which it was opened. So whoever
//! wants to configure a container from outside sends a thread in, has it open a socket, takes the socket and lets the
//! thread end. Nobody has to come back: an ordinary user who is root only inside his own user namespace may enter the
//! container's network, but not the machine's, which he could therefore never re-enter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use namespaces::{NamespaceFd, NamespaceKind};
use process::{CallError, During, Pid};

/// A network namespace, held open.
#[derive(Debug)]
pub struct NetworkNamespace(NamespaceFd);

impl NetworkNamespace {
    /// The namespace that the process is in.
    ///
    /// # Errors
    /// `ENOENT` when there is no such process, `EACCES` when it may not be looked at.
    ///
    /// # References
    /// namespaces(7), "The /proc/pid/ns/ directory"
    pub fn of(pid: Pid) -> Result<Self, CallError> {
        NamespaceFd::of(pid, NamespaceKind::Net).map(Self)
    }

    /// Another descriptor of it, to be given away.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn descriptor(&self) -> Result<OwnedFd, CallError> {
        self.as_fd().try_clone_to_owned().during("dup", "a network namespace")
    }

    /// Does something in a thread that entered the namespace, and returns what came of it.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` in the user namespace that owns the network; whatever `what` fails with.
    ///
    /// # References
    /// setns(2), network_namespaces(7)
    pub fn inside<T: Send, E: From<CallError> + Send>(
        &self,
        what: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let entered = || {
            self.0.enter()?;
            what()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, entered).during("clone", "a thread")?;
            // A panic in there is not ours to swallow: it goes on here.
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
