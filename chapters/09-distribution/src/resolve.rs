//! What a name means: from a tag to the manifest of one image for one machine.
//!
//! ```text
//! app:1  --registry-->  index  --platform-->  manifest  -->  config, layers
//!          (or straight to a manifest)
//! ```
//!
//! From the first document on, everything is fetched by digest: only what the tag stands for
//! is the registry's word, the rest can be checked.

use images::{Descriptor, Document, LARGEST_DOCUMENT, Manifest, Reference, media};
use layers::{Digest, Hasher};
use ureq::http::{Method, header};

use crate::answer::printable;
use crate::client::Client;
use crate::conversation::{Ask, Conversation};
use crate::error::{Error, Result};
use crate::progress::{Progress, Silent};
use crate::registries::Endpoint;

/// What a name means right now.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the name itself stands for: an index, or a manifest.
    pub target: Descriptor,
    /// The manifest for the machine that was asked for; the same if there is no index.
    pub manifest_descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The fetched documents, byte by byte as their digests were computed, the inner one first.
    pub(crate) documents: Vec<Vec<u8>>,
}

/// Asks the registry what a name means for [`Options::platform`](crate::Options::platform).
///
/// # Errors
/// [`Error::UnknownImage`], [`Error::Unauthorized`], [`Error::Unreachable`]; no image for the
/// platform; a document that is malformed, too large (4 MiB), or not what its digest says.
pub fn resolve(client: &Client, reference: &Reference) -> Result<Resolved> {
    Ok(locate(client, reference, &Silent)?.1)
}

/// The manifest or index that a name stands for, byte by byte, and nothing that it names.
///
/// # Errors
/// Those of [`resolve`], but for the platform.
pub fn document(client: &Client, reference: &Reference) -> Result<(Descriptor, Vec<u8>)> {
    let conversation = reading(client, reference, client.registries()?.to_push(reference)?)?;
    fetch(&conversation, reference, &selector(reference), reference.digest())
}

/// The first place that has the image, and what its name means there. A mirror that fails, however it does, only makes us
/// ask the next.
pub(crate) fn locate<'a>(
    client: &'a Client,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<(Conversation<'a>, Resolved)> {
    let mut endpoints = client.registries()?.to_pull(reference)?.into_iter();
    loop {
        // The last one is no mirror, so it ends the loop.
        let Some(endpoint) = endpoints.next() else { return Err(nowhere(reference)) };
        let mirror = endpoint.mirror;
        let found = reading(client, reference, endpoint).and_then(|conversation| {
            let resolved = resolve_in(&conversation, reference)?;
            Ok((conversation, resolved))
        });
        match found {
            Err(error) if mirror => progress.note(&format!("{error}; asking the next place")),
            Ok((conversation, resolved)) if mirror => {
                progress.note(&format!("found at the mirror {}", conversation.registry));
                return Ok((conversation, resolved));
            }
            found => return found,
        }
    }
}

fn nowhere(reference: &Reference) -> Error {
    Error::Unsupported { reference: Box::new(reference.clone()), reason: "there is nowhere to ask".to_owned() }
}

/// A conversation that may read a repository.
pub(crate) fn reading<'a>(client: &'a Client, reference: &Reference, endpoint: Endpoint) -> Result<Conversation<'a>> {
    let scope = format!("repository:{}:pull", endpoint.repository);
    Conversation::new(client, endpoint, reference.to_string(), vec![scope])
}

fn resolve_in(conversation: &Conversation, reference: &Reference) -> Result<Resolved> {
    let (target, bytes) = fetch(conversation, reference, &selector(reference), reference.digest())?;
    match parse(reference, &target, &bytes)? {
        Document::Manifest(manifest) => {
            Ok(Resolved { manifest_descriptor: target.clone(), target, manifest, documents: vec![bytes] })
        }
        Document::Index(index) => {
            let platform = &conversation.client.options.platform;
            let Some(chosen) = index.select(platform) else {
                let has: Vec<String> =
                    index.manifests.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
                let reason = format!("there is no image for {platform}; there is {}", has.join(", "));
                return Err(Error::Unsupported { reference: Box::new(reference.clone()), reason: printable(&reason) });
            };
            let (found, inner) = fetch(conversation, reference, &chosen.digest.to_string(), Some(&chosen.digest))?;
            if found.size != chosen.size {
                let reason = format!("expected {} bytes, found {}", chosen.size, found.size);
                return Err(mismatch(conversation, reference, "the manifest", reason));
            }
            match parse(reference, chosen, &inner)? {
                Document::Manifest(manifest) => Ok(Resolved {
                    target,
                    manifest_descriptor: chosen.clone(),
                    manifest,
                    documents: vec![inner, bytes],
                }),
                Document::Index(_) => {
                    let reason = "an index inside an index is not supported".to_owned();
                    Err(Error::Unsupported { reference: Box::new(reference.clone()), reason })
                }
            }
        }
    }
}

/// What a registry is asked for: the digest, if the name has one.
fn selector(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or(images::reference::DEFAULT_TAG).to_owned(),
    }
}

/// Fetches one document and describes what came.
fn fetch(
    conversation: &Conversation,
    reference: &Reference,
    selector: &str,
    expected: Option<&Digest>,
) -> Result<(Descriptor, Vec<u8>)> {
    let url = conversation.url(&format!("/manifests/{selector}"));
    let ask =
        Ask::new(Method::GET, url, "ask what the name stands for").header(header::ACCEPT, media::ACCEPTED.join(", "));
    let mut attempt = 1;
    let (announced, media_type, bytes) = loop {
        match received(conversation, reference, &ask) {
            Err(Error::Unreachable { .. }) if attempt < conversation.client.options.attempts => attempt += 1,
            result => break result?,
        }
    };
    // The digest that we asked for; without one, the digest that the registry announced.
    let promise = expected.copied().or(announced);
    let found = promise.map_or_else(|| Digest::of(&bytes), |promise| hash_like(&promise, &bytes));
    if let Some(promise) = promise.filter(|promise| *promise != found) {
        let reason = format!("expected {promise}, found {found}");
        return Err(mismatch(conversation, reference, "the manifest", reason));
    }
    let media_type = own_media_type(&bytes).filter(|_| !is_document(&media_type)).unwrap_or(media_type);
    Ok((Descriptor::new(media_type, found, bytes.len() as u64), bytes))
}

/// One answer to the question for a document, read whole: its announced digest, its type, its bytes.
fn received(
    conversation: &Conversation,
    reference: &Reference,
    ask: &Ask,
) -> Result<(Option<Digest>, String, Vec<u8>)> {
    let mut answer = conversation.send(ask)?;
    match answer.status() {
        200 => {}
        404 => {
            let (host, message) = (answer.host(conversation), answer.message(conversation));
            return Err(Error::UnknownImage { reference: Box::new(reference.clone()), host, message });
        }
        _ => return Err(answer.refusal(conversation, "get the manifest of")),
    }
    let announced = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    let content_type = answer.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
    Ok((announced, media_type, answer.bytes(conversation, LARGEST_DOCUMENT)?))
}

fn parse(reference: &Reference, descriptor: &Descriptor, bytes: &[u8]) -> Result<Document> {
    Document::parse(bytes, &descriptor.media_type)
        .map_err(|reason| Error::Images { reference: Box::new(reference.clone()), reason: Box::new(reason) })
}

/// Bytes that are not what was promised.
pub(crate) fn mismatch(conversation: &Conversation, reference: &Reference, what: &str, reason: String) -> Error {
    let host = conversation.registry.clone();
    Error::Mismatch { reference: Box::new(reference.clone()), what: what.to_owned(), host, reason }
}

fn hash_like(digest: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::like(digest);
    hasher.update(bytes);
    hasher.finish()
}

fn is_document(media_type: &str) -> bool {
    media::is_manifest(media_type)
        || media::is_index(media_type)
        || matches!(media_type, media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED)
}

/// What a document says of itself, for servers that send `application/json` or nothing.
fn own_media_type(bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    Some(document.get("mediaType")?.as_str()?.to_owned())
}
