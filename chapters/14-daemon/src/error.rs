//! What a client is told when something cannot be done: a status and one sentence.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// The daemon itself could not start or keep serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket's path is an address that would be reachable from other machines.
    #[error("listen on {address:?}: TCP without mutual TLS is refused")]
    Tcp {
        /// The address as it was given.
        address: String,
    },
    /// Another daemon answers on the socket already.
    #[error("listen on {path:?}: another daemon answers there")]
    InUse {
        /// The socket's path.
        path: std::path::PathBuf,
    },
    /// A system call on the socket failed.
    #[error("{operation} {path:?}: {reason}")]
    Socket {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The socket's path.
        path: std::path::PathBuf,
        /// What the kernel answered.
        reason: std::io::Error,
    },
    /// The engine behind the API did not open.
    #[error(transparent)]
    Engine(#[from] containers::Error),
}

/// A request that failed: the HTTP status and the sentence that `docker` prints after
/// "Error response from daemon: ".
///
/// # References
/// Docker Engine API v1.41, "Errors": `{"message": "page not found"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status of the answer.
    pub status: StatusCode,
    /// One sentence without a full stop.
    pub message: String,
}

impl ApiError {
    /// 400: the request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: what the request names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: what the request names is in a state that forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 501: Docker has this, this engine does not (yet).
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 500: the engine failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "message": self.message }));
        (self.status, body).into_response()
    }
}

impl From<containers::Error> for ApiError {
    fn from(error: containers::Error) -> Self {
        use containers::Error as E;
        let text = error.to_string();
        match error {
            E::NoSuchContainer(name) => Self::not_found(format!("No such container: {name}")),
            E::NoSuchVolume(name) => Self::not_found(format!("get {name}: no such volume")),
            E::NameInUse { name, id } => Self::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            )),
            E::WrongState { .. } | E::VolumeInUse { .. } => Self::conflict(text),
            E::BadValue { .. } | E::Ambiguous { .. } => Self::bad_request(text),
            // The client derives its exit code from these very words.
            _ => match error.exit_code() {
                127 => Self::bad_request(with_words(text, "executable file not found")),
                126 => Self::bad_request(with_words(text, "permission denied")),
                _ => Self::internal(text),
            },
        }
    }
}

fn with_words(text: String, words: &str) -> String {
    match text.contains(words) {
        true => text,
        false => format!("{text}: {words}"),
    }
}

impl From<process::CallError> for ApiError {
    fn from(error: process::CallError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<layers::Error> for ApiError {
    fn from(error: layers::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<distribution::Error> for ApiError {
    fn from(error: distribution::Error) -> Self {
        use distribution::Error as E;
        let text = error.to_string();
        match error {
            E::UnknownImage { .. } => Self::not_found(text),
            E::Unauthorized { .. } => Self { status: StatusCode::UNAUTHORIZED, message: text },
            _ => Self::internal(text),
        }
    }
}

impl From<images::Error> for ApiError {
    fn from(error: images::Error) -> Self {
        use images::Error as E;
        let text = error.to_string();
        match error {
            E::NoImage(name) => Self::not_found(format!("No such image: {name}")),
            E::Reference(_) | E::Ambiguous { .. } | E::Digest(_) => Self::bad_request(text),
            _ => Self::internal(text),
        }
    }
}

impl From<network::Error> for ApiError {
    fn from(error: network::Error) -> Self {
        use network::Error as E;
        let text = error.to_string();
        match error {
            E::NoSuchNetwork(name) => Self::not_found(format!("network {name} not found")),
            E::NetworkExists(name) => Self::conflict(format!("network with name {name} already exists")),
            E::BuiltIn(_) | E::NetworkInUse { .. } => Self { status: StatusCode::FORBIDDEN, message: text },
            E::AlreadyConnected { .. } => Self { status: StatusCode::FORBIDDEN, message: text },
            E::BadName { .. }
            | E::BadSubnet { .. }
            | E::BadPort { .. }
            | E::BadOption { .. }
            | E::BadAddress { .. } => Self::bad_request(text),
            _ => Self::internal(text),
        }
    }
}
