//! What can go wrong with control groups.

use process::{CallError, Pid};

use crate::CgroupPath;

/// An error of this chapter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Control groups cannot be used here at all.
    #[error("cgroups cannot be used: {reason}")]
    Unavailable {
        /// Why, and what would help.
        reason: String,
    },
    /// A path that names no cgroup.
    #[error("cgroup path {path:?}: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A limit that means nothing.
    #[error("limit {field}: {reason}")]
    Limit {
        /// The field of [`Limits`](crate::Limits).
        field: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A controller that a limit needs and this tree does not offer.
    #[error("cgroup controller {controller}: {reason}")]
    Controller {
        /// The controller's name.
        controller: &'static str,
        /// Why it is missing.
        reason: String,
    },
    /// The cgroup has members, and an empty one was needed.
    #[error("cgroup {path}: still has {count} processes, the first is {first}{doing}")]
    Busy {
        /// The cgroup.
        path: String,
        /// How many there are.
        count: usize,
        /// One of them.
        first: i32,
        /// Its name and what it does, in parentheses; empty if it has gone meanwhile.
        doing: String,
    },
}

impl Error {
    /// A group is still in use: by whom, and what keeps that process there.
    pub(crate) fn busy(path: &CgroupPath, count: usize, first: Pid) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        // "D (disk sleep)" is the one that no signal ends; "Z (zombie)" waits for its parent.
        let doing = match (field("Name:"), field("State:")) {
            (Some(name), Some(state)) => format!(" ({name}, state {state})"),
            _ => String::new(),
        };
        Self::Busy { path: path.to_string(), count, first: first.get(), doing }
    }
}
