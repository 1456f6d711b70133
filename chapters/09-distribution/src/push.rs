//! Push: from an image in the store to a name in a registry.
//!
//! Blobs first, each only if the registry does not have it, then the manifest that needs them:
//! a registry never has a name for something incomplete. What another repository of the same
//! registry is known to have is *mounted* from there, and no byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::AtomicBool;

use images::{Descriptor, Document, Image, LARGEST_DOCUMENT, Manifest, Reference, Store};
use layers::Digest;
use ureq::http::{Method, header};

use crate::address::percent_encoded;
use crate::client::Client;
use crate::conversation::{Ask, Conversation, Payload};
use crate::crew;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::resolve::mismatch;
use crate::upload::Upload;

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
    let endpoint = client.registries()?.to_push(reference)?;
    let sources = sources(reference, store);
    let mut scopes = vec![format!("repository:{}:pull,push", endpoint.repository)];
    let repositories: BTreeSet<&String> = sources.values().collect();
    scopes.extend(repositories.iter().take(MOST_SOURCES).map(|name| format!("repository:{name}:pull")));
    let conversation = Conversation::new(client, endpoint, reference.to_string(), scopes)?;

    let push = Push { conversation: &conversation, reference, store, progress, sources };
    let (named, inner) = push.documents(image);
    let mut seen = BTreeSet::new();
    let parts = inner.iter().flat_map(|(_, manifest)| manifest.layers.iter().chain([&manifest.config]));
    let blobs: Vec<&Descriptor> = parts.filter(|blob| seen.insert(blob.digest)).collect();
    let stop = AtomicBool::new(false);
    crew::each(&blobs, client.options.parallel, &stop, |blob| push.blob(blob))?;
    for (manifest, _) in inner.iter().filter(|(manifest, _)| manifest.digest != named.digest) {
        push.document(manifest, &manifest.digest.to_string())?;
    }
    let selector = reference.tag().map_or_else(|| named.digest.to_string(), str::to_owned);
    push.document(&named, &selector)?;
    progress.note(&format!("{reference} is {}", named.digest));
    Ok(named)
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
        let url = self.conversation.url(&format!("/blobs/{}", blob.digest));
        let ask = Ask::new(Method::HEAD, url, "ask whether the blob is there");
        let answer = self.conversation.send(&ask)?;
        match answer.status() {
            200 => {
                self.progress.blob(&blob.digest, Stage::AtRegistry);
                return Ok(());
            }
            // An answer to HEAD has no words. What is wrong with a request will be said to the next one.
            400 | 404 => {}
            _ => return Err(answer.refusal(self.conversation, "look for a blob of")),
        }
        self.progress.blob(&blob.digest, Stage::Waiting(blob.size));
        let mut attempt = 1;
        let stage = loop {
            match self.send_blob(blob) {
                Ok(stage) => break stage,
                // An upload that broke off begins again with a session of its own.
                Err(Error::Unreachable { .. }) if attempt < self.conversation.client.options.attempts => attempt += 1,
                Err(Error::Status { status: 429 | 500.., .. })
                    if attempt < self.conversation.client.options.attempts =>
                {
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
        let mut path = "/blobs/uploads/".to_owned();
        let mut purpose = "begin an upload";
        if let Some(source) = self.sources.get(&blob.digest) {
            path.push_str(&format!("?mount={}&from={}", blob.digest, percent_encoded(source)));
            purpose = "ask to take the blob from another repository";
        }
        let ask = Ask::new(Method::POST, self.conversation.url(&path), purpose);
        let answer = self.conversation.send(&ask)?;
        match answer.status() {
            201 if self.sources.contains_key(&blob.digest) => Ok(Stage::Mounted),
            202 => Upload::new(self.conversation, self.store, blob, self.progress)
                .run(&answer)
                .map_err(|error| self.blame(blob, error)),
            _ => Err(answer.refusal(self.conversation, "begin an upload for")),
        }
    }

    /// A registry that refuses what it got may have got what this disk made of it.
    fn blame(&self, blob: &Descriptor, error: Error) -> Error {
        if !matches!(error, Error::Status { status: 400..=499, .. }) {
            return error;
        }
        let read = self.store.blob(&blob.digest).map(|mut content| io::copy(&mut content, &mut io::sink()));
        match read {
            Ok(Err(reason)) => self.images()(images::Error::Transfer { digest: blob.digest, reason }),
            _ => error,
        }
    }

    /// What the name will stand for, and the manifests below it. That is an index if every image that it names is
    /// here, whole; else the image for this machine alone.
    fn documents(&self, image: &Image) -> (Descriptor, Vec<(Descriptor, Manifest)>) {
        let one =
            || (image.manifest_descriptor.clone(), vec![(image.manifest_descriptor.clone(), image.manifest.clone())]);
        let Ok(Document::Index(index)) = self.store.document(&image.target) else { return one() };
        let whole = |entry: &Descriptor| match self.store.document(entry) {
            Ok(Document::Manifest(manifest)) => {
                let here = manifest.layers.iter().chain([&manifest.config]).all(|part| self.store.has(&part.digest));
                here.then(|| (entry.clone(), manifest))
            }
            _ => None,
        };
        match index.manifests.iter().map(whole).collect::<Option<Vec<_>>>() {
            Some(inner) if !inner.is_empty() => (image.target.clone(), inner),
            _ => {
                let platform = &self.conversation.client.options.platform;
                self.progress
                    .note(&format!("not all images of the index are here: only the one for {platform} is pushed"));
                one()
            }
        }
    }

    /// A manifest or an index. With a tag it is the last step: from now on the name means this image.
    fn document(&self, descriptor: &Descriptor, selector: &str) -> Result<()> {
        let bytes = self.store.blob_bytes(&descriptor.digest, LARGEST_DOCUMENT).map_err(self.images())?;
        let url = self.conversation.url(&format!("/manifests/{selector}"));
        let purpose = if selector.contains(':') { "send a manifest of the index" } else { "give the image its name" };
        let ask = Ask::new(Method::PUT, url, purpose)
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
        |reason| Error::Images { reference: Box::new(self.reference.clone()), reason: Box::new(reason) }
    }
}
