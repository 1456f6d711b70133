//! `save` and `load`: archives of images, out through an answer and in through a request.
//!
//! Neither is ever whole in memory: a thread that may block writes or reads at one end, the connection is at the other.

use std::io::{self, Read, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use images::archive;
use serde_json::json;
use tokio::sync::mpsc;

use crate::catalogue;
use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces::{self, Sender};

/// How many pieces of a request may wait for the thread that reads them.
const AHEAD: usize = 16;

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
    let (store, saved) = api
        .call(move |engine| {
            let saved = catalogue::saved(engine, &names)?;
            Ok((engine.store().clone(), saved))
        })
        .await?;
    let (sender, body) = pieces::channel();
    std::thread::spawn(move || {
        if let Err(error) = archive::save(&store, &saved, Sink(&sender)) {
            // Whether it was the store or the client that went away: either way the answer must not end well.
            sender.fail(io::Error::other(error.to_string()));
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// An answer's body as something to write to.
struct Sink<'a>(&'a Sender);

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
    let all = api.call(move |engine| Ok(archive::load(engine.store(), engine.snapshots(), source)?)).await;
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
async fn receive(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
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
struct Source {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
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
