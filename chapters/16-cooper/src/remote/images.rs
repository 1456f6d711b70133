//! Images at a daemon: it pulls, pushes, tags and removes; logins are this user's, and sent along.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use distribution::address::percent_encoded;
use distribution::{Credentials, Login};
use images::Reference;
use serde_json::{Value, json};

use super::client::{Client, Refusal};
use super::look::text;
use crate::failure::each;
use crate::image::{Rm, Tag};
use crate::stdout::say;
use crate::transfer::{Pull, Push};

/// How much of a transfer is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Each blob, on standard error.
    Progress,
    /// Nothing.
    Nothing,
}

/// Whether that is the answer of a daemon that has not got an image.
pub(super) fn is_missing(error: &anyhow::Error) -> bool {
    let refusal: Option<&Refusal> = error.downcast_ref();
    refusal.is_some_and(|it| it.status == 404 && it.message.to_lowercase().contains("no such image"))
}

/// Who we are for the registry of an image, as the API wants it: JSON in base64.
fn login(name: &Reference) -> anyhow::Result<(&'static str, String)> {
    let found = Credentials::from_docker_config().context("read the logins")?.find(name.registry())?;
    let login = match found {
        None => json!({}),
        Some(Login::Password { user, password }) => {
            json!({ "username": user, "password": password, "serveraddress": name.registry() })
        }
        Some(Login::IdentityToken(token)) => json!({ "identitytoken": token, "serveraddress": name.registry() }),
    };
    Ok(("X-Registry-Auth", URL_SAFE.encode(login.to_string())))
}

/// What stands behind the name: a digest or a tag.
fn tag(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag().unwrap_or("latest").to_owned(),
    }
}

/// Has the daemon pull.
///
/// # Errors
/// What the daemon or the registry says, also in the middle of the stream.
pub(super) fn pull(far: &Client, name: &Reference, platform: Option<String>, told: Told) -> anyhow::Result<()> {
    let mut query = vec![("fromImage", name.familiar_name()), ("tag", tag(name))];
    query.extend(platform.map(|platform| ("platform", platform)));
    let answer = far.ask_with("POST", "/images/create", &query, None, &[login(name)?])?;
    far.lines(answer, |report| show(&report, told))
}

/// One report of a transfer. A bar's every step is not a line: only what begins and what is done.
fn show(report: &Value, told: Told) -> anyhow::Result<()> {
    if let Some(error) = report["error"].as_str() {
        bail!("{error}");
    }
    let moves = report["progressDetail"]["current"].is_number();
    let status = text(&report["status"]);
    if told == Told::Progress && !moves && !status.is_empty() {
        match report["id"].as_str() {
            Some(id) => eprintln!("{id}: {status}"),
            None => eprintln!("{status}"),
        }
    }
    Ok(())
}

fn told(quiet: bool) -> Told {
    if quiet { Told::Nothing } else { Told::Progress }
}

impl Pull {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { quiet, all_tags, platform, reach, image } = self;
        reach.refuse_elsewhere()?;
        if *all_tags {
            bail!("--all-tags cannot be sent to a daemon: pull them one by one");
        }
        pull(far, image, platform.as_ref().map(ToString::to_string), told(*quiet))?;
        say!("{image}");
        Ok(0)
    }
}

impl Push {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { quiet, all_tags, reach, image } = self;
        reach.refuse_elsewhere()?;
        if *all_tags {
            bail!("--all-tags cannot be sent to a daemon: push them one by one");
        }
        let path = format!("/images/{}/push", percent_encoded(&image.familiar_name()));
        let tag = image.tag().unwrap_or("latest");
        let answer = far.ask_with("POST", &path, &[("tag", tag.to_owned())], None, &[login(image)?])?;
        let mut pushed = None;
        far.lines(answer, |report| {
            if report["aux"]["Digest"].is_string() {
                pushed = Some(report["aux"].clone());
                return Ok(());
            }
            // Said below, where what was pushed belongs: on standard output.
            match text(&report["status"]).starts_with(&format!("{tag}: digest:")) {
                true => Ok(()),
                false => show(&report, told(*quiet)),
            }
        })?;
        match (quiet, pushed) {
            (true, _) => say!("{image}"),
            (false, Some(pushed)) => say!("{tag}: digest: {} size: {}", text(&pushed["Digest"]), pushed["Size"]),
            (false, None) => bail!("the daemon did not say that {image} was pushed"),
        }
        Ok(0)
    }
}

impl Tag {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { source, target } = self;
        let query = [("repo", target.familiar_name()), ("tag", tag(target))];
        far.post(&format!("/images/{}/tag", percent_encoded(source)), &query, None)?;
        Ok(0)
    }
}

impl Rm {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { force, images } = self;
        each(images, |name| {
            let removed = far.delete(&format!("/images/{}", percent_encoded(name)), &[("force", force.to_string())])?;
            for line in removed.as_array().into_iter().flatten().filter_map(Value::as_object) {
                line.iter().for_each(|(what, name)| say!("{what}: {}", text(name)));
            }
            Ok(())
        })
    }
}
