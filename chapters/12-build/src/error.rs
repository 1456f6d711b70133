//! What can go wrong while an image is built.
//!
//! Two kinds of trouble meet here. The *author* of a Dockerfile made a mistake: then the error
//! names the file, the line, and shows the line, because that is where the cure is. Or the
//! *engine* could not do what a correct line asks: then the error names the operation, the
//! object and the system's own word for it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a Dockerfile: the file's name as the user wrote it, and the line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The Dockerfile, as it was named.
    pub file: PathBuf,
    /// The first line of the instruction, counted from 1.
    pub line: usize,
    /// The instruction as written, continuation lines joined.
    pub text: String,
}

impl Place {
    /// A place in `file` at `line`, whose text is `text`.
    pub fn new(file: &Path, line: usize, text: impl Into<String>) -> Place {
        Place { file: file.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why an image was not built.
///
/// Each message is whole: it holds the message of its cause, so the causes are no `source`s to be printed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile is wrong at a line: the message says how, the place says where.
    #[error("{place}: {message}\n{:>5} | {}", place.line, place.text)]
    Dockerfile {
        /// Where.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// The whole file is wrong, at no line in particular (it is empty, or far too large).
    #[error("{}: {message}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A RUN step's command ended with a failure.
    #[error("{place}: process {command:?} did not complete successfully: exit code: {code}\n{:>5} | {}", place.line, place.text)]
    Run {
        /// The RUN instruction.
        place: Place,
        /// The command with its shell, words joined by blanks.
        command: String,
        /// Its exit code; 128+n for a signal.
        code: u8,
    },
    /// A correct instruction could not be carried out.
    #[error("{place}: {operation}: {reason}\n{:>5} | {}", place.line, place.text)]
    Step {
        /// The instruction.
        place: Place,
        /// What was being done, and to what.
        operation: String,
        /// Why it could not be done.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something around the steps failed: reading the context, keeping the cache, the export.
    #[error("{operation}: {reason}")]
    Engine {
        /// What was being done, and to what.
        operation: String,
        /// Why it could not be done.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The exit code that a command line tool should end with: 1, as `docker build` does for
    /// every failed build, whatever the code of the command that failed inside it.
    pub fn exit_code(&self) -> u8 {
        1
    }

    /// Wraps an error of another room in what this one was doing.
    pub fn engine(operation: impl Into<String>, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Engine { operation: operation.into(), reason: reason.into() }
    }

    /// A mistake in the Dockerfile at `place`.
    pub fn dockerfile(place: &Place, message: impl Into<String>) -> Error {
        Error::Dockerfile { place: place.clone(), message: message.into() }
    }

    /// Gives an error that has no place yet the place of the step during which it happened.
    pub(crate) fn at(self, place: &Place) -> Error {
        match self {
            Error::Engine { operation, reason } => Error::Step { place: place.clone(), operation, reason },
            placed => placed,
        }
    }
}
