//! One blob on its way out: in one request, or in several.
//!
//! ```text
//! POST uploads/                -> 202, Location: a session
//! PUT session?digest=..        the whole blob                        the usual way
//!
//! PATCH session                Content-Range: 0-16777215             in parts: where the registry finds the whole
//! PATCH session                Content-Range: 16777216-...           too large, and to go on where a connection
//! PUT session?digest=..        nothing, or the rest                  broke
//! ```
//!
//! The blob is not hashed on its way out: the registry does that, and believes nobody.
//!
//! # References
//! distribution-spec 1.1, "Pushing a blob monolithically", "Pushing a blob in chunks"

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Mutex;
use std::time::Duration;

use images::{Descriptor, Store};
use layers::Digest;
use ureq::http::{Method, Uri, header};

use crate::address::{percent_encoded, resolve_location};
use crate::answer::Answer;
use crate::conversation::{Ask, Conversation, Payload};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// Bytes of one part, where the registry does not take the whole.
const PART: u64 = 16 << 20;

/// Largest part that a registry may ask for.
const LARGEST_PART: u64 = 1 << 30;

/// How often a registry is asked, at the most, how much of a broken upload it has.
const ANSWERS: usize = 20;

/// Between two such questions.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(100);

/// An upload.
pub(crate) struct Upload<'a> {
    conversation: &'a Conversation<'a>,
    store: &'a Store,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(
        conversation: &'a Conversation<'a>,
        store: &'a Store,
        blob: &'a Descriptor,
        progress: &'a dyn Progress,
    ) -> Upload<'a> {
        Upload { conversation, store, blob, progress }
    }

    /// Sends the blob to the session that was begun. That may be on another server; the conversation sends no credentials there.
    pub(crate) fn run(&self, begun: &Answer) -> Result<Stage> {
        let session = self.session(begun)?;
        let least = begun.header("oci-chunk-min-length").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if let Some(part) = self.conversation.client.options.chunk {
            return self.parts(session, 0, part.clamp(1, LARGEST_PART).max(least.min(LARGEST_PART)));
        }
        let whole = self.put(&session, 0);
        match whole {
            Ok(answer) if answer.status() == 413 => self.parts(session, 0, PART.max(least.min(LARGEST_PART))),
            Ok(answer) => self.ended(answer),
            // How far did it come? A registry that does not know is sent all of it again, by whoever called us. One that
            // hangs up on what is too large for it may like parts better.
            Err(error @ Error::Unreachable { .. }) => match self.settled(&session) {
                Some((session, at)) if at <= self.blob.size => {
                    self.progress.blob(&self.blob.digest, Stage::Retry(2));
                    match self.parts(session, at, PART.max(least.min(LARGEST_PART))) {
                        // It has given this upload up, or has other bytes of it by now.
                        Err(Error::Status { status: 404 | 416, .. }) => Err(error),
                        gone_on => gone_on,
                    }
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Sends what follows `at`, `part` bytes in a request, and ends the upload.
    fn parts(&self, mut session: Uri, mut at: u64, part: u64) -> Result<Stage> {
        while at < self.blob.size {
            let end = self.blob.size.min(at.saturating_add(part));
            let mut content = self.content(at, end)?;
            let ask = Ask::new(Method::PATCH, session.to_string(), "send a part of the blob")
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .header(header::CONTENT_RANGE, format!("{at}-{}", end - 1))
                .payload(Payload::Once(Mutex::new(&mut content), end - at));
            let answer = self.conversation.send(&ask)?;
            if !matches!(answer.status(), 200..=204) {
                return Err(answer.refusal(self.conversation, "upload a part of a blob of"));
            }
            session = self.session(&answer)?;
            at = end;
        }
        self.ended(self.put(&session, self.blob.size)?)
    }

    /// The request that ends an upload, with what follows `at`.
    fn put(&self, session: &Uri, at: u64) -> Result<Answer> {
        let mut content = self.content(at, self.blob.size)?;
        let ask =
            Ask::new(Method::PUT, with_digest(session, &self.blob.digest), "send the blob and what it must hash to")
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .payload(Payload::Once(Mutex::new(&mut content), self.blob.size - at));
        self.conversation.send(&ask)
    }

    fn ended(&self, answer: Answer) -> Result<Stage> {
        match answer.status() {
            201 | 204 => Ok(Stage::Pushed),
            _ => Err(answer.refusal(self.conversation, "upload a blob of")),
        }
    }

    /// How many bytes of a broken upload the registry has, and where it goes on, once it has stopped getting more: it may still
    /// write what was on its way when the connection broke, and an upload that goes on elsewhere than it has come to by then, it
    /// cancels. So two answers must agree.
    fn settled(&self, session: &Uri) -> Option<(Uri, u64)> {
        let mut known = self.arrived(session)?;
        for _ in 0..ANSWERS {
            std::thread::sleep(BETWEEN_ANSWERS);
            let before = known.1;
            known = self.arrived(&known.0)?;
            if known.1 == before {
                return Some(known);
            }
        }
        None
    }

    /// How many bytes of a broken upload the registry has now, and where it goes on.
    fn arrived(&self, session: &Uri) -> Option<(Uri, u64)> {
        let ask = Ask::new(Method::GET, session.to_string(), "ask how much of the blob has come");
        let answer = self.conversation.send(&ask).ok().filter(|answer| answer.status() == 204)?;
        let last: u64 = answer.header(header::RANGE.as_str())?.rsplit_once('-')?.1.parse().ok()?;
        // `0-0` is what registries say of nothing; one byte sent twice would be found by its hash.
        let at = if last == 0 { 0 } else { last.checked_add(1)? };
        Some((self.session(&answer).ok()?, at))
    }

    fn session(&self, answer: &Answer) -> Result<Uri> {
        let location = answer.header(header::LOCATION.as_str()).unwrap_or_default();
        let url = resolve_location(&answer.url, location)
            .ok_or_else(|| self.conversation.broken("the upload's Location is no URL"))?;
        self.conversation.allow(&url)?;
        Ok(url)
    }

    /// The bytes of the blob from `at` to `end`, counted for those who wait.
    fn content(&self, at: u64, end: u64) -> Result<Counted<'_>> {
        let wrong = |reason| Error::Io { operation: format!("read the blob {}", self.blob.digest), reason };
        let mut file = self.store.open_blob(&self.blob.digest).map_err(|error| wrong(io::Error::other(error)))?;
        file.seek(SeekFrom::Start(at)).map_err(wrong)?;
        Ok(Counted { inner: file.take(end - at), at, blob: &self.blob.digest, progress: self.progress })
    }
}

/// The upload's URL may have a query of the registry's own.
fn with_digest(url: &Uri, digest: &Digest) -> String {
    let joint = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{joint}digest={}", percent_encoded(&digest.to_string()))
}

/// Counts what is read.
struct Counted<'a> {
    inner: io::Take<File>,
    at: u64,
    blob: &'a Digest,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && self.inner.limit() > 0 && !buffer.is_empty() {
            // The request has promised more than the file has.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob in the store is too short"));
        }
        self.at += n as u64;
        self.progress.blob(self.blob, Stage::Moved(self.at));
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
