//! Search: images whose names or descriptions have a word in them.
//!
//! Docker's hub answers questions in words, at an address and in a protocol of its own, older than all others in this chapter.
//! Other registries can at most be asked for the names of everything that they have.

use images::LARGEST_DOCUMENT;
use serde::{Deserialize, Serialize};
use ureq::http::Method;

use crate::answer::printable;
use crate::client::Client;
use crate::conversation::{Ask, Conversation};
use crate::error::Result;
use crate::listing::{catalogue, query};

/// Where `docker.io` answers questions.
const HUB: &str = "index.docker.io";

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name, within the registry.
    pub name: String,
    /// What its owner says about it; empty where the registry knows only names.
    #[serde(default)]
    pub description: String,
    /// How many users marked it.
    #[serde(default, rename = "star_count")]
    pub stars: u64,
    /// Whether the hub's own people look after it.
    #[serde(default, rename = "is_official")]
    pub official: bool,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Found>,
}

/// Asks a registry (`docker.io`, `localhost:5000`) for repositories with a word in their names, at most `limit` of them.
///
/// # Errors
/// Those of asking a registry, also that it answers no such questions.
pub fn search(client: &Client, registry: &str, term: &str, limit: usize) -> Result<Vec<Found>> {
    let hub = registry == "docker.io";
    let conversation = Conversation::about(client, if hub { HUB } else { registry }, Vec::new())?;
    let number = limit.to_string();
    let url = conversation.origin.url(&format!("/v1/search?{}", query(&[("q", term), ("n", &number)])));
    let answer = conversation.send(&Ask::new(Method::GET, url, "ask for images with this word"))?;
    let mut found = match answer.status() {
        200 => {
            let page = serde_json::from_slice::<Results>(&answer.bytes(&conversation, LARGEST_DOCUMENT)?);
            let wrong = |error: serde_json::Error| conversation.broken(&format!("the answer is not valid: {error}"));
            page.map_err(wrong)?.results
        }
        404 | 405 if !hub => named(client, registry, term)?,
        _ => return Err(answer.refusal(&conversation, "search")),
    };
    found.truncate(limit);
    for one in &mut found {
        (one.name, one.description) = (printable(&one.name), printable(&one.description));
    }
    Ok(found)
}

/// The repositories of a registry that can only list them.
fn named(client: &Client, registry: &str, term: &str) -> Result<Vec<Found>> {
    let names = catalogue(client, registry)?.into_iter().filter(|name| name.contains(term));
    Ok(names.map(|name| Found { name, ..Found::default() }).collect())
}
