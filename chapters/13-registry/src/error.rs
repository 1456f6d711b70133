//! What goes wrong, in the two forms that it takes.
//!
//! A [`Refusal`] is an answer: the client asked for something that does not exist or may not
//! be, and the specification has a code for it. An [`Error`] is the operator's: the directory
//! cannot be used, the address is taken. A failing disk in the middle of a request is both, so
//! an [`std::io::Error`] turns into a refusal with status 500 whose message says what was done.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The codes that a registry may answer with.
///
/// # References
/// distribution-spec 1.1, "Error codes"; the last four are those of Docker's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Unsupported,
    TooManyRequests,
    PaginationNumberInvalid,
    RangeInvalid,
    TagInvalid,
    Unknown,
}

impl Code {
    /// The code as the specification writes it, and the status that goes with it.
    fn wire(self) -> (&'static str, StatusCode) {
        match self {
            Code::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            Code::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
            Code::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
            Code::DigestInvalid => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
            Code::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST),
            Code::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            Code::ManifestUnknown => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
            Code::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST),
            Code::NameUnknown => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            Code::SizeInvalid => ("SIZE_INVALID", StatusCode::PAYLOAD_TOO_LARGE),
            Code::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED),
            Code::Unsupported => ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
            Code::TooManyRequests => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
            Code::PaginationNumberInvalid => ("PAGINATION_NUMBER_INVALID", StatusCode::BAD_REQUEST),
            Code::RangeInvalid => ("RANGE_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
            Code::TagInvalid => ("TAG_INVALID", StatusCode::BAD_REQUEST),
            Code::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A request that is answered with an error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    code: Code,
    message: String,
    headers: Vec<(header::HeaderName, String)>,
}

impl Refusal {
    /// A refusal with the status that belongs to the code.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), headers: Vec::new() }
    }

    /// Adds a header that tells the client how to go on (`WWW-Authenticate`, `Range`).
    pub fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// Turns a failure of the registry's own disk into an answer. The client learns the
    /// operation and the errno, not the server's paths.
    pub fn disk(operation: &'static str) -> impl Fn(io::Error) -> Refusal {
        move |error| Refusal::new(Code::Unknown, format!("{operation}: {error}"))
    }
}

impl IntoResponse for Refusal {
    /// The JSON form of the specification: `{"errors":[{"code", "message"}]}`.
    fn into_response(self) -> Response {
        let (code, status) = self.code.wire();
        let body = json!({ "errors": [{ "code": code, "message": self.message }] });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            // A value that is no header value can only come from a client's own text; the
            // answer stands without it.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Why the registry cannot start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the registry could not be used.
    #[error("{operation} {}: {reason}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}: {reason}")]
    Listen {
        /// The address that was asked for.
        address: std::net::SocketAddr,
        /// The system's reason.
        reason: io::Error,
    },
    /// Another registry process uses the same directory.
    #[error("{} is in use by another registry", .0.display())]
    InUse(PathBuf),
    /// A line of the htpasswd file cannot be understood.
    #[error("{}:{line}: {reason}", path.display())]
    Htpasswd {
        /// The htpasswd file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// For `map_err`: says what was being done to which file.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |reason| Error::Io { operation, path, reason }
    }
}
