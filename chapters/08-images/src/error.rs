//! What can go wrong with images.

use std::io;
use std::path::PathBuf;

use layers::{Digest, ParseDigestError};
use process::CallError;

use crate::reference::ParseReferenceError;

/// A failure of this chapter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel, or a check of ours around one call, said no.
    #[error(transparent)]
    Call(#[from] CallError),

    /// A layer could not be extracted.
    #[error(transparent)]
    Layers(#[from] layers::Error),

    /// A manifest, an index or a config that breaks its rules.
    #[error("{digest}: {reason}")]
    Document {
        /// The document.
        digest: Digest,
        /// What is wrong, with line and column where it is JSON.
        reason: String,
    },

    /// Bytes that are not what a descriptor promised.
    #[error("blob {digest}: {reason}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },

    /// Reading or writing a blob failed.
    #[error("blob {digest}: {reason}")]
    Transfer {
        /// The blob.
        digest: Digest,
        /// What failed; a [`layers::Mismatch`] inside means that the bytes are others.
        reason: io::Error,
    },

    /// No blob of this digest in the store.
    #[error("blob {0} is not in the store")]
    NoBlob(Digest),

    /// No image of this name or id.
    #[error("no such image: {0}")]
    NoImage(String),

    /// An id prefix that fits several images.
    #[error("image id {prefix:?} is ambiguous: it begins {count} ids")]
    Ambiguous {
        /// What was asked.
        prefix: String,
        /// How many images it fits.
        count: usize,
    },

    /// An index without an image for this machine.
    #[error("{name}: no image for {wanted}; it has {available}")]
    NoPlatform {
        /// The index.
        name: String,
        /// The machine.
        wanted: String,
        /// What there is.
        available: String,
    },

    /// A file of the store that is not what belongs there.
    #[error("{path}: {reason}", path = path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where it is JSON.
        reason: String,
    },

    /// A built-in image that cannot be made on this machine.
    #[error("built-in image {name}: {reason}")]
    Builtin {
        /// `hello` or `host`.
        name: &'static str,
        /// Why not.
        reason: String,
    },

    /// A text that is not an image's name.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),

    /// A text that is not a digest.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

/// The result of this chapter's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
