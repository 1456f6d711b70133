//! What is done to containers that exist already, at a daemon.

use anyhow::bail;
use distribution::address::percent_encoded;
use serde_json::{Value, json};

use super::body::limits;
use super::client::{Client, Refusal};
use crate::failure::{each, each_at_once};
use crate::lifecycle::{Kill, Pause, Rename, Restart, Rm, Stop, Unpause, Update, Wait};
use crate::stdout::say;

/// `/containers/NAME/DEED`.
pub(super) fn path(name: &str, deed: &str) -> String {
    format!("/containers/{}/{deed}", percent_encoded(name))
}

/// Does one thing to each, and prints the names of those that it was done to.
fn on_each(far: &Client, names: &[String], deed: &str, query: &[(&str, String)]) -> anyhow::Result<u8> {
    each(names, |name| {
        far.post(&path(name, deed), query, None)?;
        say!("{name}");
        Ok(())
    })
}

/// `t=SECONDS`, if it was given.
fn patience(seconds: Option<u64>) -> Vec<(&'static str, String)> {
    seconds.map(|seconds| ("t", seconds.to_string())).into_iter().collect()
}

impl Stop {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { timeout, containers } = self;
        each_at_once(containers, |name| {
            far.post(&path(name, "stop"), &patience(*timeout), None)?;
            Ok(Some(name.to_owned()))
        })
    }
}

impl Restart {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { timeout, containers } = self;
        on_each(far, containers, "restart", &patience(*timeout))
    }
}

impl Kill {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { signal, containers } = self;
        on_each(far, containers, "kill", &[("signal", signal.clone())])
    }
}

impl Pause {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { containers } = self;
        on_each(far, containers, "pause", &[])
    }
}

impl Unpause {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { containers } = self;
        on_each(far, containers, "unpause", &[])
    }
}

impl Rename {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { container, name } = self;
        far.post(&path(container, "rename"), &[("name", name.clone())], None)?;
        Ok(0)
    }
}

impl Update {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { resources, restart, publish_add, publish_rm, help: _, containers } = self;
        if !publish_add.is_empty() || !publish_rm.is_empty() {
            bail!("--publish-add and --publish-rm cannot be sent to a daemon: its API has no word for them");
        }
        let resources = resources.options()?;
        if resources == containers::Resources::default() && restart.is_none() {
            bail!("you must provide one or more flags when using this command");
        }
        let mut body = json!({});
        limits(&mut body, &resources);
        if let Some(policy) = restart {
            body["RestartPolicy"] = json!({ "Name": policy.name(), "MaximumRetryCount": policy.most() });
        }
        each(containers, |name| {
            far.post(&path(name, "update"), &[], Some(&body))?;
            say!("{name}");
            Ok(())
        })
    }
}

impl Rm {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { force, volumes, containers } = self;
        let query = [("force", force.to_string()), ("v", volumes.to_string())];
        each_at_once(containers, |name| match far.delete(&format!("/containers/{}", percent_encoded(name)), &query) {
            // Docker's rule: what is not there is as removed as one could wish. It is said all the same.
            Err(error) if *force && error.downcast_ref().is_some_and(|refusal: &Refusal| refusal.status == 404) => {
                eprintln!("cooper: {error}");
                Ok(None)
            }
            removed => removed.map(|_| Some(name.to_owned())),
        })
    }
}

impl Wait {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { containers } = self;
        each(containers, |name| {
            say!("{}", code(&far.post(&path(name, "wait"), &[], None)?)?);
            Ok(())
        })
    }
}

/// The exit code in what `wait` answers. One that nobody saw is not made up.
pub(super) fn code(answer: &Value) -> anyhow::Result<u8> {
    if let Some(message) = answer["Error"]["Message"].as_str().filter(|message| !message.is_empty()) {
        bail!("{message}");
    }
    match answer["StatusCode"].as_u64().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(code),
        None => bail!("the daemon did not say how the container ended"),
    }
}
