//! What can go wrong with layers.

use std::io;
use std::path::PathBuf;

use process::CallError;

use crate::digest::{DiffId, ParseDigestError};

/// A failure of this chapter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel, or a check of ours around one call, said no.
    #[error(transparent)]
    Call(#[from] CallError),

    /// An archive that breaks the format's rules, or ours. The member is counted from 1.
    #[error("archive member {member} {path:?}: {reason}")]
    Archive {
        /// Which member of the archive.
        member: u64,
        /// Its name as far as it could be read.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// An archive member that the file system refused.
    #[error("archive member {member} {path:?}: {reason}")]
    Member {
        /// Which member of the archive.
        member: u64,
        /// Its name.
        path: String,
        /// What failed.
        reason: CallError,
    },

    /// An archive that goes past one of the [`Limits`](crate::Limits).
    #[error("the archive has more than {limit} {what}")]
    Limit {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },

    /// Reading the archive failed: truncated, damaged, or cut off by the sender.
    #[error("read the archive: {0}")]
    Read(io::Error),

    /// Writing an archive failed.
    #[error("write the archive: {0}")]
    Write(io::Error),

    /// The archive is whole, but it is another one.
    #[error("layer {expected}: the archive's diff id is {found}")]
    DiffId {
        /// What the image's config promised.
        expected: Box<DiffId>,
        /// What the bytes are.
        found: Box<DiffId>,
    },

    /// A layer that is not in the store.
    #[error("no layer {0} in the store")]
    NoLayer(DiffId),

    /// A file in the store that is not what this engine writes there.
    #[error("{path}: {reason}", path = path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// A text that is not a digest.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

/// The result of this chapter's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
