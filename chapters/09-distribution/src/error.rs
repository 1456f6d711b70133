//! What goes wrong between two machines, told apart so that a hint can be right.

use std::io;
use std::path::Path;

use images::Reference;
use layers::Digest;

/// A pull, push, login or lookup that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry answers, and has no such image.
    #[error("{reference}: no such image at {host}: {message}")]
    UnknownImage {
        /// What was asked for.
        reference: Box<Reference>,
        /// The registry that was asked.
        host: String,
        /// The registry's own words, or its status.
        message: String,
    },
    /// The registry asks for a name and password, or for better ones. Many registries say this
    /// of images that do not exist, too: they will not tell strangers which ones do.
    #[error("{object}: {host} refuses access ({status}): {message}")]
    Unauthorized {
        /// What was asked for: a reference, or a registry for a login.
        object: String,
        /// Who refused.
        host: String,
        /// The status: 401 or 403.
        status: u16,
        /// The registry's own words.
        message: String,
    },
    /// Nobody answers, or the conversation broke off more often than is worth trying.
    #[error("{object}: cannot reach {host}: {reason}")]
    Unreachable {
        /// What was asked for.
        object: String,
        /// The host and port.
        host: String,
        /// The network's reason.
        reason: String,
    },
    /// The bytes that came are not the bytes that were asked for.
    #[error("{reference}: {what} from {host} is not what was promised: {reason}")]
    Mismatch {
        /// What was being pulled.
        reference: Box<Reference>,
        /// The manifest, config or layer.
        what: String,
        /// Who sent it.
        host: String,
        /// Expected and found.
        reason: String,
    },
    /// Any other answer than the one that the specification foresees.
    #[error("{operation} {object}: {host} answers {status}: {message}")]
    Status {
        /// The request's method and what it was for.
        operation: &'static str,
        /// What it was about.
        object: String,
        /// Who answered.
        host: String,
        /// The status.
        status: u16,
        /// The registry's own words.
        message: String,
    },
    /// An answer that breaks the protocol's rules, or ours (size, redirects, plain http).
    #[error("{object}: {host}: {reason}")]
    Protocol {
        /// What was asked for.
        object: String,
        /// Who answered.
        host: String,
        /// Which rule.
        reason: String,
    },
    /// Another blob of the same image failed; that one's error is the one that is told.
    #[error("{object}: stopped, because another blob failed")]
    Stopped {
        /// What was asked for.
        object: String,
    },
    /// The image is there and is none that this engine can take.
    #[error("{reference}: {reason}")]
    Unsupported {
        /// What was being pulled.
        reference: Box<Reference>,
        /// Why not.
        reason: String,
    },
    /// A file of this machine's configuration: `registries.conf`, certificates, a proxy.
    #[error("{subject}: {reason}")]
    Configuration {
        /// The file, or the variable's value.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// Docker's configuration file, or a credential helper that it names.
    #[error("{subject}: {reason}")]
    Credentials {
        /// The file or the program.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// The store.
    #[error("{reference}: {reason}")]
    Images {
        /// What was being pulled or pushed.
        reference: Box<Reference>,
        /// The store's reason.
        reason: Box<images::Error>,
    },
    /// A layer that cannot be extracted.
    #[error("{reference}: layer {layer}: {reason}")]
    Layer {
        /// What was being pulled.
        reference: Box<Reference>,
        /// The layer's blob.
        layer: Digest,
        /// Why not.
        reason: Box<layers::Error>,
    },
    /// This machine's own files.
    #[error("{operation}: {reason}")]
    Io {
        /// What was being done.
        operation: String,
        /// The system's reason.
        reason: io::Error,
    },
}

impl Error {
    pub(crate) fn configuration(file: &Path, reason: String) -> Error {
        Error::Configuration { subject: file.display().to_string(), reason }
    }

    pub(crate) fn proxy(url: &str, reason: &dyn std::fmt::Display) -> Error {
        // What stands before an @ is a password.
        let shown = url.rsplit('@').next().unwrap_or(url);
        Error::Configuration { subject: format!("proxy {shown:?}"), reason: reason.to_string() }
    }

    /// Whether what came before it is worth keeping: the connection failed, and not what it brought.
    pub(crate) fn leaves_a_beginning(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Stopped { .. } | Error::Status { status: 429 | 500.., .. })
    }

    /// What the user may do about it, to be printed once, apart from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unauthorized { host, .. } => {
                Some(format!("log in with `cooper login {host}`, or check that the image's name is right"))
            }
            Error::UnknownImage { reference, .. } => {
                let (typed, meant) = (reference.familiar(), reference.to_string());
                let meaning = if typed == meant { String::new() } else { format!(": {typed} means {meant}") };
                Some(format!("check the name and the tag{meaning}"))
            }
            Error::Unreachable { host, reason, .. } if reason.contains("certificate") => Some(format!(
                "if you trust {host}, put its authority's certificate into /etc/docker/certs.d/{host}/ca.crt, or ask for \
                 --tls-verify=false"
            )),
            Error::Status { host, status: 400, message, .. } if message.contains("HTTPS") => Some(format!(
                "{host} wants an encrypted conversation: put its authority's certificate into \
                 /etc/docker/certs.d/{host}/ca.crt, or ask for --tls-verify=false"
            )),
            Error::Status { host, status: 429, .. } => {
                Some(format!("wait, or log in with `cooper login {host}`: registries let known users ask more often"))
            }
            Error::Unreachable { reason, .. }
                if ["nothing moved", "only", "the connection broke"].iter().any(|begin| reason.starts_with(begin)) =>
            {
                Some("try again: what has come of a layer is kept, and the next pull goes on from there".to_owned())
            }
            Error::Unreachable { host, .. } => {
                Some(format!("is {host} the right registry, is it running, and is this machine online?"))
            }
            _ => None,
        }
    }
}

/// The result of this chapter's operations.
pub type Result<T> = std::result::Result<T, Error>;
