//! `cp`: archives out of a container and into it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use containers::{ContainerId, Engine, NewOwner};
use layers::Place;
use rustix::fs::FileType;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::archive::{AHEAD, Sink, Source, receive};
use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces;
use crate::query::{Query, flag, text};

/// What is known of a path, in a header of every answer.
const STAT: &str = "x-docker-container-path-stat";

/// `HEAD /containers/{id}/archive?path=P`: what is there.
pub async fn head(
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let path = path(&query)?;
    let (_, stat) = api.call(move |engine| find(engine, &id, &path)).await?;
    Ok(([(STAT, stat)], ()).into_response())
}

/// `GET /containers/{id}/archive?path=P`: what is there, as an archive whose names begin with its own.
pub async fn get(
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let path = path(&query)?;
    let asked = path.clone();
    let (id, stat) = api.call(move |engine| find(engine, &id, &asked)).await?;
    let (sender, body) = pieces::channel();
    std::thread::spawn(move || {
        let copied = api.engine().copy_out(&id, &path, &name_in_archive(&path), Sink(&sender));
        if let Err(error) = copied {
            // An archive that is too short must not look whole.
            sender.fail(std::io::Error::other(error.to_string()));
        }
    });
    Ok((
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
            (header::HeaderName::from_static(STAT), stat),
        ],
        body,
    )
        .into_response())
}

/// `PUT /containers/{id}/archive?path=P`: the body is an archive, compressed or not, to be laid into the directory `P`.
pub async fn put(
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    query: Query,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let path = path(&query)?;
    let owner = if flag(&query, "copyUIDGID") { NewOwner::User } else { NewOwner::Archive };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let arrival = tokio::spawn(receive(body, sender));
    let source = Source { receiver, piece: Bytes::new() };
    let laid = api
        .call(move |engine| {
            let container = engine.find(&id)?;
            let place =
                engine.look_at(container.id(), &path).map_err(|error| missing(container.name(), &path, error))?;
            let place = engine.look_at(container.id(), &place.target)?;
            if kind(&place) != FileType::Directory {
                return Err(ApiError::bad_request("extraction point is not a directory"));
            }
            Ok(engine.copy_in(container.id(), &place.target, source, owner)?)
        })
        .await;
    arrival.abort();
    laid.map(|()| StatusCode::OK)
}

fn path(query: &Query) -> Result<PathBuf, ApiError> {
    text(query, "path").map(PathBuf::from).ok_or_else(|| ApiError::bad_request("path: missing"))
}

/// The container, and the header of what is at a path of it.
fn find(engine: &Engine, id: &str, path: &Path) -> Result<(ContainerId, HeaderValue), ApiError> {
    let container = engine.find(id)?;
    let place = engine.look_at(container.id(), path).map_err(|error| missing(container.name(), path, error))?;
    let text = STANDARD.encode(stat(path, &place).to_string());
    let header = HeaderValue::from_str(&text).map_err(|e| ApiError::internal(e.to_string()))?;
    Ok((container.id().clone(), header))
}

fn missing(container: &str, path: &Path, error: containers::Error) -> ApiError {
    match &error {
        containers::Error::Call(call) if call.errno() as i32 == rustix::io::Errno::NOENT.raw_os_error() => {
            ApiError::not_found(format!("Could not find the file {} in container {container}", path.display()))
        }
        _ => error.into(),
    }
}

/// The name that an archive of `path` begins with: `.` for a directory's content, as in `dir/.`.
pub fn name_in_archive(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    match path.file_name() {
        Some(name) if !bytes.ends_with(b"/.") => PathBuf::from(name),
        _ => PathBuf::from("."),
    }
}

/// What a place is.
pub fn kind(place: &Place) -> FileType {
    FileType::from_raw_mode(place.stat.st_mode)
}

/// A place in Docker's words.
pub fn stat(path: &Path, place: &Place) -> Value {
    let modified = jiff::Timestamp::new(place.stat.st_mtime, place.stat.st_mtime_nsec as i32).unwrap_or_default();
    json!({
        "name": path.file_name().map_or("/".into(), |name| name.to_string_lossy()),
        "size": place.stat.st_size,
        "mode": go_mode(place.stat.st_mode),
        "mtime": modified.to_string(),
        "linkTarget": if kind(place) == FileType::Symlink { place.target.to_string_lossy() } else { "".into() },
    })
}

/// Go's file modes have the permission bits of Unix and bits of their own for everything else.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => (1 << 26) | (1 << 21),
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { 1 << go } else { 0 };
    (mode & 0o777) | kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
    }

    #[test]
    fn an_archive_s_names_begin_with_the_path_s_last_or_with_a_dot() {
        let name = |path: &str| name_in_archive(Path::new(path)).display().to_string();
        assert_eq!([name("/etc/passwd"), name("/etc/"), name("/etc/."), name("/")], ["passwd", "etc", ".", "."]);
    }
}
