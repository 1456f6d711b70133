//! What a registry has: its repositories, a repository's tags, and what refers to an image.
//!
//! Long lists come in pages, each with a `Link` to the next. The link is the server's word: it must lead back to the same
//! server, and both pages and entries are counted.

use std::collections::HashSet;

use images::{Descriptor, Document, Index, LARGEST_DOCUMENT, Reference, media};
use layers::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, header};

use crate::address::{Origin, percent_encoded, resolve_location};
use crate::client::Client;
use crate::conversation::{Ask, Conversation};
use crate::error::{Error, Result};
use crate::resolve::{mismatch, reading};

/// Most entries of one list.
const MOST: usize = 200_000;

/// Entries that are asked for at a time.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Repositories {
    /// Some servers say `null` for none.
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// The names of all repositories, as far as the registry tells them.
///
/// # Errors
/// Those of asking a registry; many public ones refuse.
///
/// # References
/// The Docker registry's HTTP API v2, "Catalog"
pub fn catalogue(client: &Client, registry: &str) -> Result<Vec<String>> {
    let conversation = Conversation::about(client, registry, vec!["registry:catalog:*".to_owned()])?;
    let first = conversation.origin.url(&format!("/v2/_catalog?n={PAGE}"));
    pages(&conversation, first, "ask for the names of all repositories", |page: Repositories| page.repositories)
}

/// The tags of the repository that a name is in.
///
/// # Errors
/// Those of asking a registry; [`Error::UnknownImage`] if there is no such repository.
///
/// # References
/// distribution-spec 1.1, "Listing Tags"
pub fn tags(client: &Client, reference: &Reference) -> Result<Vec<String>> {
    let conversation = reading(client, reference, client.registries()?.to_push(reference)?)?;
    let first = conversation.url(&format!("/tags/list?n={PAGE}"));
    pages(&conversation, first, "ask for the tags", |page: Tags| page.tags).map_err(|error| unknown(reference, error))
}

/// The manifests that say they are about the image with this digest: signatures, lists of contents.
///
/// A registry without that part of the specification keeps them, if anything, under a tag made from the digest.
///
/// # Errors
/// Those of asking a registry; an answer that is no index.
///
/// # References
/// distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema"
pub fn referrers(client: &Client, reference: &Reference, subject: &Digest) -> Result<Vec<Descriptor>> {
    let conversation = reading(client, reference, client.registries()?.to_push(reference)?)?;
    let fallback = format!("/manifests/{}-{}", subject.algorithm(), subject.hex());
    for path in [format!("/referrers/{subject}"), fallback] {
        let ask = Ask::new(Method::GET, conversation.url(&path), "ask what refers to the image")
            .header(header::ACCEPT, media::OCI_INDEX);
        let answer = conversation.send(&ask)?;
        match answer.status() {
            200 => {
                let bytes = answer.bytes(&conversation, LARGEST_DOCUMENT)?;
                let Ok(Document::Index(Index { manifests, .. })) = Document::parse(&bytes, media::OCI_INDEX) else {
                    let reason = "this is no index".to_owned();
                    return Err(mismatch(&conversation, reference, "the list of referrers", reason));
                };
                return Ok(manifests);
            }
            404 => {}
            _ => return Err(answer.refusal(&conversation, "list the referrers of")),
        }
    }
    Ok(Vec::new())
}

/// All entries of a list in pages.
fn pages<T: DeserializeOwned>(
    conversation: &Conversation,
    first: String,
    purpose: &'static str,
    entries: impl Fn(T) -> Option<Vec<String>>,
) -> Result<Vec<String>> {
    let (mut all, mut seen, mut next) = (Vec::new(), HashSet::new(), Some(first));
    while let Some(url) = next.take() {
        if !seen.insert(url.clone()) || all.len() > MOST {
            return Err(conversation.broken("the list of names does not end"));
        }
        let answer = conversation.send(&Ask::new(Method::GET, url, purpose))?;
        if answer.status() != 200 {
            return Err(answer.refusal(conversation, "list the names of"));
        }
        next = following(conversation, answer.header(header::LINK.as_str()), &answer.url)?;
        let page = serde_json::from_slice(&answer.bytes(conversation, LARGEST_DOCUMENT)?);
        let page = page.map_err(|error| conversation.broken(&format!("the list of names is not valid: {error}")))?;
        let found = entries(page).unwrap_or_default();
        if found.is_empty() {
            break;
        }
        // They are shown on terminals.
        all.extend(found.into_iter().filter(|name| !name.chars().any(char::is_control)));
    }
    Ok(all)
}

/// The next page's URL: `<...>; rel="next"`.
fn following(conversation: &Conversation, link: Option<&str>, asked: &ureq::http::Uri) -> Result<Option<String>> {
    let Some(link) = link.filter(|link| link.contains("rel=\"next\"") || link.contains("rel=next")) else {
        return Ok(None);
    };
    let target = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(target, _)| target);
    let url = target.and_then(|target| resolve_location(asked, target));
    match url.filter(|url| Origin::of(url).as_ref() == Some(&conversation.origin)) {
        Some(url) => Ok(Some(url.to_string())),
        None => Err(conversation.broken("the next page of the list is at another server, or nowhere")),
    }
}

fn unknown(reference: &Reference, error: Error) -> Error {
    match error {
        Error::Status { host, status: 404, message, .. } => {
            Error::UnknownImage { reference: Box::new(reference.clone()), host, message }
        }
        other => other,
    }
}

/// `text` with what it contains fit for a query.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    pairs.join("&")
}
