//! A daemon that commands are sent to: its address, the version that is spoken with it, and its answers.

use distribution::address::percent_encoded;
use std::io::BufRead as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::http::{Answer, Request};

/// The version of the API that is spoken, where the daemon speaks it too: major and minor.
const NEWEST: (u32, u32) = (1, 47);

/// What the daemon said no with. Its words alone: whoever reads them sees the same as where the engine is this program.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The sentence.
    pub(crate) message: String,
}

/// A daemon.
pub(crate) struct Client {
    socket: PathBuf,
    version: (u32, u32),
    id: String,
}

/// Parameters of a query, in order.
pub(super) type Query<'a> = &'a [(&'a str, String)];

impl Client {
    /// The daemon at `unix://PATH`, which is asked at once whether it is there and what it speaks.
    ///
    /// # Errors
    /// An address that is none; a daemon that is not there, or answers in another language.
    pub(crate) fn at(address: &str) -> anyhow::Result<Self> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if path.contains("://") || !path.starts_with('/') {
            bail!(
                "-H {address:?}: only unix:///PATH can be reached; over a network, have ssh forward the socket (ssh -L)"
            );
        }
        let mut client = Self { socket: path.into(), version: NEWEST, id: address.to_owned() };
        let request = Request { method: "GET", target: "/_ping", headers: &[], body: None };
        let answer = request.send(&client.socket)?;
        let theirs = answer.header("api-version").and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        client.version = theirs.with_context(|| format!("{address}: no Docker API is spoken there"))?.min(NEWEST);
        Ok(client)
    }

    /// The address, as it was given.
    pub(super) fn address(&self) -> &str {
        &self.id
    }

    /// Whether the daemon knows what came with this version; `what` is named where it does not.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn needs(&self, minor: u32, what: &str) -> anyhow::Result<()> {
        match self.version >= (1, minor) {
            true => Ok(()),
            false => bail!(
                "{what} cannot be sent to a daemon: this one speaks version {}.{} of the API, and it came with 1.{minor}",
                self.version.0,
                self.version.1
            ),
        }
    }

    /// One request, answered with success.
    ///
    /// # Errors
    /// [`Refusal`]; no connection.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.ask_with(method, path, query, body, &[])
    }

    /// As [`ask`](Self::ask), with more headers.
    pub(super) fn ask_with(
        &self,
        method: &str,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
        headers: &[(&str, String)],
    ) -> anyhow::Result<Answer> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let target = format!("/v{}.{}{path}{mark}{}", self.version.0, self.version.1, pairs.join("&"));
        let request = Request { method, target: &target, headers, body: body.map(Value::to_string) };
        let mut answer = request.send(&self.socket)?;
        if answer.status < 400 {
            return Ok(answer);
        }
        let text = answer.text()?;
        let message =
            serde_json::from_str::<Value>(&text).ok().and_then(|json| Some(json["message"].as_str()?.to_owned()));
        Err(Refusal { status: answer.status, message: message.unwrap_or(text) }.into())
    }

    /// A document.
    pub(super) fn get(&self, path: &str, query: Query<'_>) -> anyhow::Result<Value> {
        document(&mut self.ask("GET", path, query, None)?)
    }

    /// Something done, with a document for an answer, or none.
    pub(super) fn post(&self, path: &str, query: Query<'_>, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut answer = self.ask("POST", path, query, body)?;
        let text = answer.text()?;
        match text.trim().is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_str(&text).context("the daemon's answer is no JSON"),
        }
    }

    /// Something removed.
    pub(super) fn delete(&self, path: &str, query: Query<'_>) -> anyhow::Result<Value> {
        let mut answer = self.ask("DELETE", path, query, None)?;
        let text = answer.text()?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// A connection that both sides write to, after the HTTP.
    ///
    /// # Errors
    /// [`Refusal`]; a daemon that does not let go of HTTP.
    pub(super) fn hijack(
        &self,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
    ) -> anyhow::Result<std::os::unix::net::UnixStream> {
        let headers = [("Connection", "Upgrade".to_owned()), ("Upgrade", "tcp".to_owned())];
        let answer = self.ask_with("POST", path, query, body, &headers)?;
        // 200 is what daemons say to clients that do not ask, and some to all; the bytes behind it are the same.
        match answer.status {
            101 | 200 => Ok(answer.into_stream()),
            status => bail!("the daemon answered {status} where it was to give its connection"),
        }
    }

    /// A stream of documents, one a line, until it ends or `each` has had enough.
    pub(super) fn lines(
        &self,
        answer: Answer,
        mut each: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for line in std::io::BufReader::new(answer.body).lines() {
            let line = line.context("read the daemon's answer")?;
            if !line.trim().is_empty() {
                each(serde_json::from_str(&line).context("the daemon's answer is no JSON")?)?;
            }
        }
        Ok(())
    }
}

/// An answer's body as JSON.
pub(super) fn document(answer: &mut Answer) -> anyhow::Result<Value> {
    serde_json::from_str(&answer.text()?).context("the daemon's answer is no JSON")
}
