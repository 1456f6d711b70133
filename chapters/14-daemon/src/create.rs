//! The body of `POST /containers/create`, and what it asks for.
//!
//! The real client sends every field that it knows, most of them empty. So each field that this
//! engine honours is named here, and all others are kept aside: where one of them holds
//! anything but its empty value, the request is refused by that field's name. A client
//! never gets a container that silently lacks what it asked for.

use std::collections::BTreeMap;

use containers::{AttachedStream, CreateOptions, Update};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::host_config::HostConfig;
use crate::network::Endpoint;

/// What a container is to be, in Docker's words.
///
/// # References
/// Docker Engine API v1.41, `ContainerCreate`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Body {
    /// The image, as the user wrote it.
    pub image: String,
    hostname: String,
    domainname: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    exposed_ports: Option<BTreeMap<String, Value>>,
    user: String,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<Vec<String>>,
    cmd: Option<Words>,
    entrypoint: Option<Words>,
    working_dir: String,
    labels: Option<BTreeMap<String, String>>,
    volumes: Option<BTreeMap<String, Value>>,
    stop_signal: String,
    stop_timeout: Option<u64>,
    healthcheck: Option<images::Healthcheck>,
    host_config: HostConfig,
    networking_config: Option<NetworkingConfig>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A command as a list, or as one word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::Many(words) => words,
            Words::One(word) => vec![word],
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkingConfig {
    pub(crate) endpoints_config: Option<BTreeMap<String, Option<Endpoint>>>,
}

impl Body {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 with the place in the JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes).map_err(|e| ApiError::bad_request(format!("invalid body of create: {e}")))
    }

    /// The options that the body asks for; `name` came in the query.
    ///
    /// # Errors
    /// 400 for a value that is none, 501 with the name of a field that cannot be honoured.
    pub fn options(self, name: Option<&str>) -> Result<CreateOptions, ApiError> {
        refuse_others("", &self.others)?;
        refuse_others("HostConfig.", &self.host_config.others)?;
        let wanted = [
            (self.attach_stdin, AttachedStream::Stdin),
            (self.attach_stdout, AttachedStream::Stdout),
            (self.attach_stderr, AttachedStream::Stderr),
        ];
        let exposed = self.exposed_ports.unwrap_or_default().into_keys().collect();
        let network = self.host_config.network(self.networking_config.unwrap_or_default(), exposed)?;
        let mounts = self.host_config.mounts(self.volumes.unwrap_or_default())?;
        let empty = |text: String| (!text.is_empty()).then_some(text);
        Ok(CreateOptions {
            name: name.map(str::to_owned),
            image: self.image,
            command: self.cmd.map(Into::into).unwrap_or_default(),
            // The client sends [""] for `--entrypoint ""`: no entrypoint at all.
            entrypoint: self.entrypoint.map(|words| {
                let words: Vec<String> = words.into();
                words.into_iter().filter(|word| !word.is_empty()).collect()
            }),
            env: self.env.unwrap_or_default(),
            workdir: empty(self.working_dir),
            user: empty(self.user),
            hostname: empty(self.hostname),
            domainname: empty(self.domainname),
            labels: self.labels.unwrap_or_default(),
            terminal: self.tty,
            interactive: self.open_stdin,
            stdin_once: self.stdin_once,
            attached: wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, stream)| stream).collect(),
            network,
            mounts,
            health: self.healthcheck,
            stop_signal: empty(self.stop_signal),
            stop_timeout: self.stop_timeout,
            ..self.host_config.options()?
        })
    }
}

/// The body of `POST /containers/{id}/update`: some of the fields of `HostConfig`.
///
/// # Errors
/// As [`Body::parse`] and [`Body::options`].
pub fn update(bytes: &[u8]) -> Result<Update, ApiError> {
    let bad = |e: serde_json::Error| ApiError::bad_request(format!("invalid body of update: {e}"));
    let body: HostConfig = serde_json::from_slice(bytes).map_err(bad)?;
    refuse_others("", &body.others)?;
    let restart = (!body.restart_policy.name.is_empty()).then(|| body.restart_policy.policy()).transpose()?;
    Ok(Update { resources: body.resources(), restart, ..Update::default() })
}

/// Fields that ask nothing of the engine: how large the client's terminal is (it says so again when it attaches), and
/// a file that it writes itself.
const INFORMATIVE: [&str; 2] = ["ConsoleSize", "ContainerIDFile"];

/// Refuses the first field that is not known and asks for something.
pub(crate) fn refuse_others(prefix: &str, others: &Map<String, Value>) -> Result<(), ApiError> {
    let asked = others.iter().find(|(name, value)| !is_default(name, value));
    asked.map_or(Ok(()), |(name, _)| Err(ApiError::not_implemented(format!("{prefix}{name} is not supported"))))
}

/// Whether a field says nothing: null, false, zero, empty, or a default that clients spell out.
fn is_default(name: &str, value: &Value) -> bool {
    match (name, value) {
        (name, _) if INFORMATIVE.contains(&name) => true,
        (_, Value::Null | Value::Bool(false)) => true,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(list)) => list.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
        (_, Value::Bool(true)) => false,
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
