//! What can go wrong in a runtime.

use std::path::PathBuf;

use nix::errno::Errno;
use process::{CallError, ChildError};

/// An error of this chapter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call in this process.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A step of the container's init.
    #[error(transparent)]
    Init(ChildError),
    /// The program is not in the container.
    #[error("{0}")]
    CommandNotFound(CallError),
    /// The program is there and cannot be executed.
    #[error("{0}")]
    NotExecutable(CallError),
    /// A bundle's configuration is malformed, or asks for what this runtime does not do.
    #[error("{}: {field}: {reason}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// The field, as a path of names.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A container of this id exists.
    #[error("container {0:?} exists already")]
    Exists(String),
    /// No container of this id exists.
    #[error("container {0:?} does not exist")]
    Unknown(String),
    /// The container is not in a state in which this can be done.
    #[error("cannot {operation} container {id:?}: it is {status}")]
    Status {
        /// What was asked.
        operation: &'static str,
        /// Of which container.
        id: String,
        /// What it is.
        status: String,
    },
    /// A hook failed.
    #[error("hook {}: {reason}", path.display())]
    Hook {
        /// The hook's program.
        path: PathBuf,
        /// How it ended.
        reason: String,
    },
    /// CRIU could not do it.
    #[error("criu {operation}: {said}")]
    Criu {
        /// `dump` or `restore`.
        operation: &'static str,
        /// What it said.
        said: String,
    },
    /// What was restored is not confined as it was when it was written down, and was killed.
    #[error("restored with {field} {is:?} instead of {was:?}: this criu does not restore it")]
    Weaker {
        /// The line of `/proc/PID/status`.
        field: String,
        /// What it said before.
        was: String,
        /// What it says now.
        is: String,
    },
    /// Cgroups.
    #[error(transparent)]
    Cgroup(#[from] cgroups::Error),
    /// Capabilities or seccomp.
    #[error(transparent)]
    Privileges(#[from] privileges::Error),
    /// What the caller of [`create`](crate::create()) does between namespaces and file system.
    #[error("{0}")]
    Caller(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The exit code that `docker run` would give: 127 not found, 126 not executable, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CommandNotFound(_) => 127,
            Self::NotExecutable(_) => 126,
            _ => 125,
        }
    }
}

impl From<ChildError> for Error {
    fn from(error: ChildError) -> Self {
        if !error.step.starts_with("execve") {
            return Self::Init(error);
        }
        // The last step: what was asked for could not be executed.
        let error = error.error;
        match error.errno() {
            Errno::ENOENT | Errno::ENOTDIR => Self::CommandNotFound(error),
            Errno::EACCES | Errno::ENOEXEC | Errno::EISDIR | Errno::EPERM => Self::NotExecutable(error),
            _ => Self::Call(error),
        }
    }
}

impl From<namespaces::IsolateError> for Error {
    fn from(error: namespaces::IsolateError) -> Self {
        match error {
            namespaces::IsolateError::Parent(error) => Self::Call(error),
            namespaces::IsolateError::Child(error) => error.into(),
        }
    }
}
