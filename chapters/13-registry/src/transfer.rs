//! Blobs on their way out and in.
//!
//! Bytes never pile up in memory: a download is read as fast as the client takes it, an upload
//! is written by one blocking task that is fed through a short channel. When the disk is slow
//! the channel fills, the socket is not read, and TCP slows the sender down.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use layers::Digest;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::answer::{DIGEST, Registry, STALL, created, query, unsayable};
use crate::error::{Code, Refusal};
use crate::name::{RepositoryName, parse_digest};
use crate::upload::{SessionId, Upload, broken_body, range_start, received_range};

/// Bytes that are read from the disk at a time.
const PIECE: usize = 256 << 10;

/// Received pieces that may wait for the disk.
const QUEUE: usize = 16;

/// `GET` and `HEAD` of a blob, whole or one range of it.
pub(crate) async fn blob(
    registry: &Arc<Registry>,
    name: RepositoryName,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let asked = name.clone();
    let disk = Refusal::disk("open the blob");
    let opened = registry.blocking(move |registry| registry.storage.open_blob(&asked, &digest).map_err(disk)).await?;
    let Some((file, size)) = opened else {
        return Err(Refusal::new(Code::BlobUnknown, format!("the repository {name} does not have {digest}")));
    };
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let part = match range.map(|range| byte_range(range, size)) {
        Some(Wanted::Nothing) => {
            let message = format!("the blob has {size} bytes");
            return Err(
                Refusal::new(Code::RangeInvalid, message).with(header::CONTENT_RANGE, format!("bytes */{size}"))
            );
        }
        Some(Wanted::Part(part)) => Some(part),
        Some(Wanted::Whole) | None => None,
    };
    let Range { start, end } = part.clone().unwrap_or(0..size);
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(start)).await.map_err(Refusal::disk("read the blob"))?;
    let stream = ReaderStream::with_capacity(file.take(end - start), PIECE);
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, end - start)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(DIGEST, digest.to_string());
    if part.is_some() {
        let range = format!("bytes {start}-{}/{size}", end - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    }
    response.body(Body::from_stream(stream)).map_err(unsayable)
}

/// `POST`: mounts a blob that another repository has, takes one in a single request, or opens
/// a session for more requests.
pub(crate) async fn begin(
    registry: &Arc<Registry>,
    name: RepositoryName,
    request: Request,
) -> Result<Response, Refusal> {
    let query = query(request.uri())?;
    if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from")) {
        let (digest, from) = (parse_digest(mount)?, from.parse()?);
        if mount_from(registry, &name, from, digest).await? {
            return created(&format!("/v2/{name}/blobs/{digest}"), &digest);
        }
        // Not there: the specification has the client send it instead.
    }
    let expected = query.get("digest").map(|digest| parse_digest(digest)).transpose()?;
    let target = name.clone();
    let (id, upload) = registry.blocking(move |registry| registry.sessions.begin(&registry.storage, target)).await?;
    match expected {
        Some(digest) => {
            receive(registry, id.clone(), upload, request.into_body()).await?;
            keep(registry, name, id, digest).await
        }
        None => {
            let received = upload.received();
            registry.sessions.put(id.clone(), upload);
            progress(StatusCode::ACCEPTED, &name, &id, received)
        }
    }
}

/// `PATCH`: the next piece. With a `Content-Range` it must continue where the last one ended.
pub(crate) async fn append(
    registry: &Arc<Registry>,
    name: RepositoryName,
    id: SessionId,
    request: Request,
) -> Result<Response, Refusal> {
    let upload = resume(registry, &name, &id, request.headers())?;
    let received = receive(registry, id.clone(), upload, request.into_body()).await?;
    progress(StatusCode::ACCEPTED, &name, &id, received)
}

/// `PUT ?digest=`: the last piece, often none, and what all of it must add up to.
pub(crate) async fn finish(
    registry: &Arc<Registry>,
    name: RepositoryName,
    id: SessionId,
    request: Request,
) -> Result<Response, Refusal> {
    let query = query(request.uri())?;
    let Some(digest) = query.get("digest") else {
        return Err(Refusal::new(Code::DigestInvalid, "an upload ends with ?digest="));
    };
    let digest = parse_digest(digest)?;
    let upload = resume(registry, &name, &id, request.headers())?;
    receive(registry, id.clone(), upload, request.into_body()).await?;
    keep(registry, name, id, digest).await
}

/// `GET` of a session: how far it is, for a client that lost its connection.
pub(crate) fn status(registry: &Arc<Registry>, name: &RepositoryName, id: &SessionId) -> Result<Response, Refusal> {
    let upload = registry.sessions.take(id, name)?;
    let received = upload.received();
    registry.sessions.put(id.clone(), upload);
    progress(StatusCode::NO_CONTENT, name, id, received)
}

/// `DELETE` of a session: the bytes so far are removed.
pub(crate) fn cancel(registry: &Arc<Registry>, name: &RepositoryName, id: &SessionId) -> Result<Response, Refusal> {
    drop(registry.sessions.take(id, name)?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Links a blob of one repository into another; false if the first does not have it.
async fn mount_from(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    from: RepositoryName,
    digest: Digest,
) -> Result<bool, Refusal> {
    let name = name.clone();
    let work = move |registry: &Registry| {
        let there = registry.storage.open_blob(&from, &digest)?.is_some();
        if there {
            registry.storage.link(&name, &digest)?;
        }
        Ok(there)
    };
    registry.blocking(move |registry| work(registry).map_err(Refusal::disk("mount the blob"))).await
}

/// Takes the session out, if the piece that comes is the one that is due.
fn resume(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    id: &SessionId,
    headers: &HeaderMap,
) -> Result<Upload, Refusal> {
    let start = match headers.get(header::CONTENT_RANGE).map(|value| value.to_str()) {
        Some(value) => Some(range_start(value.unwrap_or_default())?),
        None => None,
    };
    let upload = registry.sessions.take(id, name)?;
    let received = upload.received();
    if start.is_some_and(|start| start != received) {
        registry.sessions.put(id.clone(), upload);
        let message = format!("the next piece begins at byte {received}");
        return Err(Refusal::new(Code::RangeInvalid, message)
            .with(header::RANGE, received_range(received))
            .with(header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")));
    }
    Ok(upload)
}

/// Writes a request's body to an upload and puts the session back. If the body breaks off,
/// what came is kept: the client may ask for the status and go on from there.
async fn receive(registry: &Arc<Registry>, id: SessionId, upload: Upload, mut body: Body) -> Result<u64, Refusal> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(QUEUE);
    let owner = Arc::clone(registry);
    // A task of its own, so that it puts the session back even if hyper drops this future
    // because the connection is gone.
    let writer = tokio::task::spawn_blocking(move || {
        let mut upload = upload;
        while let Some(piece) = pieces.blocking_recv() {
            upload.append(&piece)?;
        }
        let received = upload.received();
        owner.sessions.put(id, upload);
        Ok(received)
    });
    let mut broken = None;
    loop {
        match tokio::time::timeout(STALL, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                // The other kind of frame is a trailer, which means nothing here.
                let Ok(piece) = frame.into_data() else { continue };
                if sender.send(piece).await.is_err() {
                    break; // the writer has failed and says why below
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => broken = Some(broken_body(error)),
            Err(stalled) => broken = Some(broken_body(stalled)),
        }
        if broken.is_some() {
            break;
        }
    }
    drop(sender);
    let written = writer.await.map_err(|error| Refusal::new(Code::Unknown, format!("a task ended early: {error}")))?;
    match broken {
        Some(refusal) => Err(refusal),
        None => written,
    }
}

async fn keep(
    registry: &Arc<Registry>,
    name: RepositoryName,
    id: SessionId,
    digest: Digest,
) -> Result<Response, Refusal> {
    let location = format!("/v2/{name}/blobs/{digest}");
    registry.blocking(move |registry| registry.sessions.take(&id, &name)?.finish(&registry.storage, &digest)).await?;
    created(&location, &digest)
}

fn progress(status: StatusCode, name: &RepositoryName, id: &SessionId, received: u64) -> Result<Response, Refusal> {
    Response::builder()
        .status(status)
        .header(header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}"))
        .header(header::RANGE, received_range(received))
        .header("docker-upload-uuid", id.to_string())
        .header(header::CONTENT_LENGTH, 0)
        .body(Body::empty())
        .map_err(unsayable)
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    /// A range beyond the end: status 416.
    Nothing,
}

/// Reads `bytes=A-B`, `bytes=A-` and `bytes=-LENGTH`. Anything else, several ranges too, may
/// be ignored by a server, and is.
///
/// # References
/// RFC 9110, section 14.1.2
fn byte_range(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    let range = match (first.trim().parse::<u64>(), last.trim()) {
        (Ok(first), "") => first..size,
        (Ok(first), last) => match last.parse::<u64>() {
            Ok(last) if last >= first => first..last.saturating_add(1).min(size),
            _ => return Wanted::Whole,
        },
        (Err(_), last) if first.trim().is_empty() => match last.parse::<u64>() {
            Ok(length) => size.saturating_sub(length)..size,
            Err(_) => return Wanted::Whole,
        },
        _ => return Wanted::Whole,
    };
    if range.start >= size { Wanted::Nothing } else { Wanted::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        let cases = [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=5-", Wanted::Part(5..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=90-200", Wanted::Part(90..100)),
            ("bytes=0-18446744073709551615", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=9-5", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
        ];
        for (header, wanted) in cases {
            assert_eq!(byte_range(header, 100), wanted, "{header}");
        }
        assert_eq!(byte_range("bytes=0-0", 0), Wanted::Nothing);
    }
}
