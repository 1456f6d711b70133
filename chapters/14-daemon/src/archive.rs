//! `save` and `load`, `export` and `import`: archives, out through an answer and in through a request.
//!
//! Neither is ever whole in memory: a thread that may block writes or reads at one end, the connection is at the other.

use std::io::{self, Read, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use containers::{Engine, ImageEvent};
use http_body_util::BodyExt as _;
use images::{Imported, Platform, archive};
use serde_json::json;
use tokio::sync::mpsc;

use crate::catalogue;
use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces::{self, Sender};

/// How many pieces of a request may wait for the thread that reads them.
pub(crate) const AHEAD: usize = 16;

/// `GET /images/get?names=A&names=B`.
///
/// A failure on the way breaks the connection: an archive that is too short must not look whole.
///
/// # Errors
/// 404 for a name that is none.
pub async fn save(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    // Some clients write one parameter, with commas.
    let values = query.iter().filter(|(key, _)| key == "names").flat_map(|(_, value)| value.split(','));
    let names: Vec<String> = values.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("names: no image is named"));
    }
    answer(api, names).await
}

/// An archive of the images of these names, as an answer.
///
/// # Errors
/// 404 for a name that is none.
pub async fn answer(api: Arc<Api>, names: Vec<String>) -> Result<Response, ApiError> {
    let saved = api.call(move |engine| catalogue::saved(engine, &names)).await?;
    let (sender, body) = pieces::channel();
    std::thread::spawn(move || {
        let engine = api.engine();
        match archive::save(engine.store(), &saved, Sink(&sender)) {
            Ok(()) => catalogue::record_all(engine, saved.iter().map(|saved| &saved.image), ImageEvent::Save),
            // Whether it was the store or the client that went away: either way the answer must not end well.
            Err(error) => sender.fail(io::Error::other(error.to_string())),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// `GET /containers/{id}/export`: a container's files. It breaks off as [`save`] does.
///
/// # Errors
/// 404 for no such container.
pub async fn export(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let id = api.call(move |engine| Ok(engine.find(&name)?.id().clone())).await?;
    let (sender, body) = pieces::channel();
    tokio::spawn(async move {
        // The overlay is mounted and let go on one thread that may block.
        let work = move |engine: &Engine| {
            if let Err(error) = engine.export(&id, Sink(&sender)) {
                sender.fail(io::Error::other(error.to_string()));
            }
            Ok(())
        };
        // What failed was said where the client hears it.
        let _said = api.call(work).await;
    });
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// `POST /images/create?fromSrc=-`: the request's body is an archive of files, the answer the new image's id.
///
/// # Errors
/// 400 for a source that is not the body, for names and changes that are none; 500 for an archive that is damaged.
pub async fn import(api: Arc<Api>, query: &[(String, String)], body: Body) -> Result<Response, ApiError> {
    let value = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let value = |key: &str| value(key).filter(|value| !value.is_empty());
    if value("fromSrc").is_some_and(|source| source != "-") {
        return Err(ApiError::not_implemented("import: only an archive in the request (fromSrc=-) is read, no URL"));
    }
    let name = crate::pull::optional_reference(value("repo").as_deref(), value("tag").as_deref())?;
    let changes: Vec<String> = query.iter().filter(|(key, _)| key == "changes").map(|(_, text)| text.clone()).collect();
    let mut config = images::ImageConfig::default();
    (api.amend())(&mut config, &changes).map_err(ApiError::bad_request)?;
    let platform = value("platform").map_or(Ok(Platform::host()), |text| text.parse());
    let about = Imported {
        created: jiff::Timestamp::now().to_string(),
        message: value("message").unwrap_or_else(|| "Imported from -".to_owned()),
        platform: platform.map_err(ApiError::bad_request)?,
        name,
        config,
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let arrival = tokio::spawn(receive(body, sender));
    let source = Source { receiver, piece: Bytes::new() };
    let work = move |engine: &Engine| {
        let name = about.name.clone();
        let image = images::import(engine.store(), engine.snapshots(), source, about)?;
        catalogue::record_import(engine, &image, name.as_ref());
        Ok(image)
    };
    let image = api.call(work).await;
    arrival.abort();
    let line = format!("{}\n", json!({ "status": image?.id.to_string() }));
    Ok(([(header::CONTENT_TYPE, "application/json")], line).into_response())
}

/// An answer's body as something to write to.
pub(crate) struct Sink<'a>(pub(crate) &'a Sender);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map_err(|gone| io::Error::new(io::ErrorKind::BrokenPipe, gone.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `POST /images/load`: the request's body is the archive, the answer says what was in it. `quiet` asks for no progress, and
/// there is none.
///
/// # Errors
/// 500 with the reason for an archive that is damaged or none.
pub async fn load(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let arrival = tokio::spawn(receive(body, sender));
    let source = Source { receiver, piece: Bytes::new() };
    let work = move |engine: &Engine| {
        let all = archive::load(engine.store(), engine.snapshots(), source)?;
        catalogue::record_all(engine, all.iter().map(|loaded| &loaded.image), ImageEvent::Load);
        Ok(all)
    };
    let all = api.call(work).await;
    // A client that sends on after a failure is not listened to.
    arrival.abort();
    let mut lines = String::new();
    for loaded in &all? {
        let names: Vec<String> = loaded.names.iter().map(|name| format!("Loaded image: {}", name.familiar())).collect();
        let names = if names.is_empty() { vec![format!("Loaded image ID: {}", loaded.image.id)] } else { names };
        names.iter().for_each(|line| lines.push_str(&format!("{}\n", json!({ "stream": format!("{line}\n") }))));
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], lines).into_response())
}

/// Passes a request's body on, piece by piece, to whoever reads the other end.
pub(crate) async fn receive(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => Ok(data),
            // Trailers are no part of the archive.
            Ok(Err(_)) => continue,
            Err(error) => Err(io::Error::other(error)),
        };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// A request's body as something to read from.
pub(crate) struct Source {
    pub(crate) receiver: mpsc::Receiver<io::Result<Bytes>>,
    pub(crate) piece: Bytes,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
