//! Uploads: bytes that arrive in pieces and are believed only when their digest fits.
//!
//! ```text
//! POST /blobs/uploads/            -> 202, Location: /blobs/uploads/SESSION
//! PATCH SESSION  bytes            -> 202, Range: 0-(received - 1)      (as often as needed)
//! PUT SESSION?digest=D  bytes     -> 201, the blob exists
//! ```
//!
//! Each piece is hashed as it is written, so the last request costs no second reading. The
//! half-received file lives in `ROOT/uploads`; only a matching digest gives it a name.
//! Sessions are memory, bounded in number and in idle time; after a restart the client is
//! told `BLOB_UPLOAD_UNKNOWN` and begins again, as the specification has it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use layers::{Digest, Hasher};
use tempfile::NamedTempFile;

use crate::error::{Code, Refusal};
use crate::name::RepositoryName;
use crate::storage::Storage;

/// Uploads that may be open at once.
const MOST_SESSIONS: usize = 1024;

/// An upload that nobody touched for this long is forgotten.
const LONGEST_IDLE: Duration = Duration::from_secs(3600);

/// Largest blob, in bytes: a bound for a client that never stops, far above any layer.
const LARGEST_BLOB: u64 = 64 << 30;

/// The name of an upload: 32 hexadecimal digits that nobody can guess.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    fn random() -> Result<SessionId, Refusal> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Refusal::new(Code::Unknown, format!("no random numbers: {error}")))?;
        Ok(SessionId(hex::encode(bytes)))
    }
}

impl FromStr for SessionId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(digit) {
            return Ok(SessionId(text.to_owned()));
        }
        Err(unknown())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A blob on its way in. Dropping it removes the file.
pub(crate) struct Upload {
    repository: RepositoryName,
    file: NamedTempFile,
    hasher: Hasher,
    received: u64,
    touched: Instant,
}

impl Upload {
    /// Takes the next piece.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if self.received + piece.len() as u64 > LARGEST_BLOB {
            return Err(Refusal::new(Code::SizeInvalid, "the blob is larger than 64 GiB"));
        }
        let disk = Refusal::disk("write the upload");
        self.file.write_all(piece).map_err(&disk)?;
        self.hasher.write_all(piece).map_err(&disk)?;
        self.received += piece.len() as u64;
        self.touched = Instant::now();
        Ok(())
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Ends the upload: compares the digest, keeps the bytes, links them into the repository.
    ///
    /// # Errors
    /// `DIGEST_INVALID` if the bytes are not those that were announced; they are gone then.
    pub(crate) fn finish(self, storage: &Storage, expected: &Digest) -> Result<(), Refusal> {
        let actual = self.hasher.finish();
        if actual != *expected {
            return Err(Refusal::new(
                Code::DigestInvalid,
                format!("the {} bytes received have the digest {actual}, not {expected}", self.received),
            ));
        }
        storage.keep(self.file, expected).map_err(Refusal::disk("store the blob"))?;
        storage.link(&self.repository, expected).map_err(Refusal::disk("link the blob"))
    }
}

/// All uploads that are open and not being written to at the moment.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Upload>>,
}

impl Sessions {
    /// Begins an upload. It is the caller's until [`Sessions::put`] gives it a place.
    pub(crate) fn begin(&self, storage: &Storage, repository: RepositoryName) -> Result<(SessionId, Upload), Refusal> {
        {
            let mut open = self.lock();
            open.retain(|_, upload| upload.touched.elapsed() < LONGEST_IDLE);
            if open.len() >= MOST_SESSIONS {
                return Err(Refusal::new(Code::TooManyRequests, "too many uploads are open"));
            }
        }
        let file = storage.temporary().map_err(Refusal::disk("open an upload"))?;
        let (hasher, touched) = (Hasher::new(), Instant::now());
        Ok((SessionId::random()?, Upload { repository, file, hasher, received: 0, touched }))
    }

    /// Takes an upload out to write to it; a second request meanwhile finds nothing, so that
    /// two clients can never mix their bytes. A session belongs to the repository it began in.
    pub(crate) fn take(&self, id: &SessionId, repository: &RepositoryName) -> Result<Upload, Refusal> {
        let mut open = self.lock();
        match open.get(id) {
            Some(upload) if upload.repository == *repository => open.remove(id).ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }

    /// Puts an upload back, for the next request to go on with.
    pub(crate) fn put(&self, id: SessionId, upload: Upload) {
        self.lock().insert(id, upload);
    }

    /// The map is valid between any two statements, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the next piece must begin, from `Content-Range: 0-99` (or `bytes 0-99/*`).
///
/// # Errors
/// `BLOB_UPLOAD_INVALID` if it is no range.
pub(crate) fn range_start(header: &str) -> Result<u64, Refusal> {
    let range = header.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    range
        .split_once('-')
        .and_then(|(start, _)| start.parse().ok())
        .ok_or_else(|| Refusal::new(Code::BlobUploadInvalid, "the Content-Range is not START-END"))
}

/// `Range` of an upload's answers: the bytes that are here. An empty upload says `0-0` as
/// Docker's registry does, since the notation cannot express "none".
pub(crate) fn received_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::BlobUploadUnknown,
        "there is no such upload in this repository (it may have ended, or another request is writing to it)",
    )
}

/// Adds what went wrong while a body was read.
pub(crate) fn broken_body(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    let error = io::Error::other(error);
    Refusal::new(Code::BlobUploadInvalid, format!("the request's body broke off: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_with_the_wrong_digest_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open(root.path()).unwrap();
        let sessions = Sessions::default();
        let (_, mut upload) = sessions.begin(&storage, "a".parse().unwrap()).unwrap();
        upload.append(b"hello").unwrap();
        upload.finish(&storage, &Digest::of(b"other")).unwrap_err();
        assert_eq!(std::fs::read_dir(root.path().join("uploads")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(root.path().join("blobs/sha256")).unwrap().count(), 0);
    }

    #[test]
    fn a_session_belongs_to_its_repository() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open(root.path()).unwrap();
        let sessions = Sessions::default();
        let (id, upload) = sessions.begin(&storage, "a".parse().unwrap()).unwrap();
        sessions.put(id.clone(), upload);
        assert!(sessions.take(&id, &"b".parse().unwrap()).is_err());
        assert!(sessions.take(&id, &"a".parse().unwrap()).is_ok());
        assert!(sessions.take(&id, &"a".parse().unwrap()).is_err());
    }

    #[test]
    fn ranges_are_read_in_both_spellings() {
        assert_eq!(range_start("0-99").unwrap(), 0);
        assert_eq!(range_start("bytes 100-199/*").unwrap(), 100);
        range_start("x").unwrap_err();
        range_start("-1").unwrap_err();
    }
}
