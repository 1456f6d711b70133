//! What can go wrong in a container's life.

use process::CallError;

/// The result of this chapter's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a container's life.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has that name or id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// Several ids begin like that.
    #[error("{prefix:?} is the beginning of {count} container ids: give more of it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many containers answer to it.
        count: usize,
    },
    /// Another container has the name.
    #[error("the name {name:?} is in use by container {id}: remove or rename that one first")]
    NameInUse {
        /// The name.
        name: String,
        /// The id of the container that has it.
        id: String,
    },
    /// The operation needs a container in another state.
    #[error("container {id} is {status}: {operation} needs one that is {needed}")]
    WrongState {
        /// The container's short id.
        id: String,
        /// What it is.
        status: String,
        /// What was tried.
        operation: &'static str,
        /// What it should have been.
        needed: &'static str,
    },
    /// No volume has that name.
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    /// A container still uses the volume.
    #[error("volume {name:?} is in use by container {id}")]
    VolumeInUse {
        /// The volume.
        name: String,
        /// The container's short id.
        id: String,
    },
    /// A value that somebody typed is not one that the option takes.
    #[error("{option} {value:?}: {reason}")]
    BadValue {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The container did not start; the monitor said why.
    #[error("{message}")]
    Start {
        /// The reason, in the words of the chapter that failed.
        message: String,
        /// 125 for the engine, 126 not executable, 127 not found.
        exit_code: u8,
    },
    /// Something did not happen in the time that it may take.
    #[error("{operation} {object:?}: gave up after {seconds} s waiting for {awaited}")]
    TimedOut {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// How long.
        seconds: u64,
        /// What did not happen.
        awaited: String,
    },
    /// A kernel call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An earlier chapter failed.
    #[error("{operation} {object:?}: {reason}")]
    Below {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the chapter said.
        reason: Box<dyn std::error::Error + Send + Sync>,
        /// As `docker run` would exit.
        exit_code: u8,
    },
}

impl Error {
    /// The exit code that `docker run` would end with: 125 unless the command itself is at fault.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start { exit_code, .. } | Self::Below { exit_code, .. } => *exit_code,
            _ => 125,
        }
    }

    pub(crate) fn bad(option: &'static str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::BadValue { option, value: value.into(), reason: reason.into() }
    }
}

/// Says what this chapter was doing when an earlier one failed.
pub(crate) trait While<T> {
    fn doing(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> While<T> for Result<T, E> {
    fn doing(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| Error::Below {
            operation,
            object: object.to_string(),
            reason: Box::new(error),
            exit_code: 125,
        })
    }
}
