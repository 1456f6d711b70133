//! What can be wrong with a description of privileges.

use process::CallError;

/// An error of this chapter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No capability has this name.
    #[error("capability {0:?}: no such capability (names as in capabilities(7), with or without CAP_)")]
    UnknownCapability(String),
    /// A `USER` specification that means nothing, or that other programs would read as something else.
    #[error("user {spec:?}: {reason}")]
    User {
        /// The specification as given.
        spec: String,
        /// Why it was refused.
        reason: String,
    },
    /// A seccomp profile that cannot be turned into a filter.
    #[error("seccomp profile, {place}: {reason}")]
    Profile {
        /// Where in the profile: `syscalls[3].args[0].index`.
        place: String,
        /// What is wrong there.
        reason: String,
    },
}
