//! Why a project could not be read, or not be brought up.

use std::path::{Path, PathBuf};

/// A failure of this chapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No compose file where one was looked for.
    #[error("no compose file in {} or above: looked for {names}", directory.display())]
    NotFound {
        /// Where the search began.
        directory: PathBuf,
        /// The names that were tried.
        names: String,
    },
    /// The compose file is wrong at a path: `services.web.ports[0]`.
    #[error("{}: {path}: {message}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Where in it.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// A file that is no text of the kind that is due.
    #[error("{}: {message}", file.display())]
    Text {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the line where there is one.
        message: String,
    },
    /// What was asked on the command line does not fit the project.
    #[error("{0}")]
    Asked(String),
    /// An image could not be built.
    #[error("service {service}: {reason}")]
    Build {
        /// The service.
        service: String,
        /// Why.
        reason: build::Error,
    },
    /// The engine could not do what a correct file asks.
    #[error("{operation}: {reason}")]
    Engine {
        /// What was being done, and to what.
        operation: String,
        /// Why it could not be done.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps an error of another room in what this one was doing.
    pub(crate) fn engine(
        operation: impl Into<String>,
        reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Engine { operation: operation.into(), reason: reason.into() }
    }

    /// A text that is wrong as a whole.
    pub(crate) fn text(file: &Path, message: impl ToString) -> Error {
        Error::Text { file: file.to_owned(), message: message.to_string() }
    }
}
