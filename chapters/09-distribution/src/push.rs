//! Push: from an image in the store to a name in a registry.
//!
//! Blobs first, each only if the registry does not have it, then the manifest that needs them:
//! a registry never has a name for something incomplete. What another repository of the same
//! registry is known to have is *mounted* from there, and no byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use images::{Descriptor, Document, Image, LARGEST_DOCUMENT, Reference, Store};
use layers::Digest;
use ureq::http::{Method, Uri, header};

use crate::address::{percent_encoded, resolve_location};
use crate::answer::Answer;
use crate::client::Client;
use crate::conversation::{Ask, Conversation, Payload};
use crate::crew;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::resolve::mismatch;

/// Repositories that blobs may be mounted from in one push: each is one more thing to ask
/// permission for.
const MOST_SOURCES: usize = 8;

/// Sends an image to the registry and names it there. Returns the descriptor of its manifest.
///
/// # Errors
/// [`Error::Unauthorized`], [`Error::Unreachable`]; a blob that is missing or damaged in the
/// store; an answer that the specification does not foresee.
///
/// # References
/// distribution-spec 1.1, "Push"
pub fn push(
    client: &Client,
    reference: &Reference,
    store: &Store,
    image: &Image,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let sources = sources(reference, store);
    let mut scopes = vec![format!("repository:{}:pull,push", reference.repository())];
    let repositories: BTreeSet<&String> = sources.values().collect();
    scopes.extend(repositories.iter().take(MOST_SOURCES).map(|name| format!("repository:{name}:pull")));
    let conversation = Conversation::new(client, reference.registry(), reference.to_string(), scopes)?;

    let push = Push { conversation: &conversation, reference, store, progress, sources };
    let mut seen = BTreeSet::new();
    let parts = image.manifest.layers.iter().chain([&image.manifest.config]);
    let blobs: Vec<&Descriptor> = parts.filter(|blob| seen.insert(blob.digest)).collect();
    let stop = AtomicBool::new(false);
    crew::each(&blobs, client.options.parallel, &stop, |blob| push.blob(blob))?;
    push.manifest(image)?;
    progress.note(&format!("{reference} is {}", image.manifest_descriptor.digest));
    Ok(image.manifest_descriptor.clone())
}

/// Which blobs other repositories of the same registry have, as far as our store remembers.
/// Only a hint: what cannot be read here is simply sent.
fn sources(reference: &Reference, store: &Store) -> BTreeMap<Digest, String> {
    let mut sources = BTreeMap::new();
    for named in store.list().unwrap_or_default() {
        let Some(name) = named.reference else { continue };
        let elsewhere = name.registry() == reference.registry() && name.repository() != reference.repository();
        if let (true, Ok(Document::Manifest(manifest))) = (elsewhere, store.document(&named.target)) {
            let repository = || name.repository().to_owned();
            sources.extend(manifest.layers.iter().map(|layer| (layer.digest, repository())));
        }
    }
    sources
}

struct Push<'a> {
    conversation: &'a Conversation<'a>,
    reference: &'a Reference,
    store: &'a Store,
    progress: &'a dyn Progress,
    sources: BTreeMap<Digest, String>,
}

impl Push<'_> {
    /// Sees to it that the registry has a blob.
    fn blob(&self, blob: &Descriptor) -> Result<()> {
        let path = format!("/v2/{}/blobs/{}", self.reference.repository(), blob.digest);
        let ask = Ask::new(Method::HEAD, self.conversation.origin.url(&path), "ask whether the blob is there");
        let answer = self.conversation.send(&ask)?;
        match answer.status() {
            200 => {
                self.progress.blob(&blob.digest, Stage::AtRegistry);
                return Ok(());
            }
            404 => {}
            _ => return Err(answer.refusal(self.conversation, "look for a blob of")),
        }
        self.progress.blob(&blob.digest, Stage::Waiting(blob.size));
        let mut attempt = 1;
        let stage = loop {
            match self.send_blob(blob) {
                Ok(stage) => break stage,
                // An upload that broke off begins again with a session of its own.
                Err(Error::Unreachable { .. }) if attempt < self.conversation.client.options.attempts => attempt += 1,
                Err(Error::Status { status: 500.., .. }) if attempt < self.conversation.client.options.attempts => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
            self.progress.blob(&blob.digest, Stage::Retry(attempt));
        };
        self.progress.blob(&blob.digest, stage);
        Ok(())
    }

    /// Mounts the blob or uploads it.
    fn send_blob(&self, blob: &Descriptor) -> Result<Stage> {
        let mut path = format!("/v2/{}/blobs/uploads/", self.reference.repository());
        let mut purpose = "begin an upload";
        if let Some(source) = self.sources.get(&blob.digest) {
            path.push_str(&format!("?mount={}&from={}", blob.digest, percent_encoded(source)));
            purpose = "ask to take the blob from another repository";
        }
        let ask = Ask::new(Method::POST, self.conversation.origin.url(&path), purpose);
        let answer = self.conversation.send(&ask)?;
        match answer.status() {
            201 if self.sources.contains_key(&blob.digest) => Ok(Stage::Mounted),
            202 => self.upload(blob, &answer),
            _ => Err(answer.refusal(self.conversation, "begin an upload for")),
        }
    }

    /// Sends the whole blob in one request to where the registry wants it. That may be another
    /// server; the conversation sends no credentials there.
    fn upload(&self, blob: &Descriptor, begun: &Answer) -> Result<Stage> {
        let location = begun.header(header::LOCATION.as_str()).unwrap_or_default();
        let url = resolve_location(&begun.url, location)
            .ok_or_else(|| self.conversation.broken("the upload's Location is no URL"))?;
        self.conversation.allow(&url)?;
        let content = self.store.blob(&blob.digest).map_err(self.images())?;
        let mut content = Counted { inner: content, read: 0, blob: &blob.digest, progress: self.progress };
        let ask = Ask::new(Method::PUT, with_digest(&url, &blob.digest), "send the blob and what it must hash to")
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .payload(Payload::Once(Mutex::new(&mut content), blob.size));
        let answer = self.conversation.send(&ask)?;
        match answer.status() {
            201 | 204 => Ok(Stage::Pushed),
            _ => Err(answer.refusal(self.conversation, "upload a blob of")),
        }
    }

    /// The last step: from now on the name means this image.
    fn manifest(&self, image: &Image) -> Result<()> {
        let descriptor = &image.manifest_descriptor;
        let bytes = self.store.blob_bytes(&descriptor.digest, LARGEST_DOCUMENT).map_err(self.images())?;
        let selector = match self.reference.tag() {
            Some(tag) => tag.to_owned(),
            None => descriptor.digest.to_string(),
        };
        let path = format!("/v2/{}/manifests/{selector}", self.reference.repository());
        let ask = Ask::new(Method::PUT, self.conversation.origin.url(&path), "give the image its name")
            .header(header::CONTENT_TYPE, descriptor.media_type.as_str())
            .payload(Payload::Bytes(&bytes));
        let answer = self.conversation.send(&ask)?;
        if !matches!(answer.status(), 200..=202) {
            return Err(answer.refusal(self.conversation, "put the manifest of"));
        }
        match answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok()) {
            Some(stored) if stored != descriptor.digest => {
                let reason = format!("expected {}, it stored {stored}", descriptor.digest);
                Err(mismatch(self.conversation, self.reference, "the manifest", reason))
            }
            _ => Ok(()),
        }
    }

    fn images(&self) -> impl Fn(images::Error) -> Error {
        |source| Error::Images { reference: Box::new(self.reference.clone()), source: Box::new(source) }
    }
}

/// The upload's URL may have a query of the registry's own.
fn with_digest(url: &Uri, digest: &Digest) -> String {
    let joint = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{joint}digest={}", percent_encoded(&digest.to_string()))
}

/// Counts what is read, for those who wait.
struct Counted<'a, R> {
    inner: R,
    read: u64,
    blob: &'a Digest,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        self.progress.blob(self.blob, Stage::Moved(self.read));
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_added_to_whatever_query_there_is() {
        let digest = Digest::of(b"");
        let encoded = percent_encoded(&digest.to_string());
        let url = |text: &str| with_digest(&text.parse().unwrap(), &digest);
        assert_eq!(url("http://a/x"), format!("http://a/x?digest={encoded}"));
        assert_eq!(url("http://a/x?_state=1"), format!("http://a/x?_state=1&digest={encoded}"));
    }
}
