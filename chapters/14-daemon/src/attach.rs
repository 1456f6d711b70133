//! `start` and `attach`: a container's streams over the client's connection.
//!
//! The monitor's socket speaks Docker's stream format already, framed without a terminal and raw with one. So
//! nothing is translated here: bytes go through.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use containers::{Engine, StartOptions};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Query, flag};
use crate::upgrade;

/// `POST /containers/{id}/start`: 204, or 304 where it runs already.
pub async fn start(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let runs = Arc::clone(api.runs());
    api.call(move |engine| {
        let container = engine.find(&id)?;
        let id = container.id().clone();
        if container.life()?.status.is_live() {
            return Ok(StatusCode::NOT_MODIFIED);
        }
        let options = StartOptions { attach: runs.wants_streams(&id), ..StartOptions::default() };
        match engine.start(&id, &options) {
            Ok(mut running) => {
                let first = running.attachment.take().map(|attachment| attachment.into_stream());
                runs.began(id, running, first.into_iter().collect());
                Ok(StatusCode::NO_CONTENT)
            }
            Err(error) => {
                // A client that asked for --rm waits for the removal, and gets the code from there.
                runs.ended(&id, Some(error.exit_code()));
                Err(error.into())
            }
        }
    })
    .await
}

/// `POST /containers/{id}/attach`.
pub async fn attach(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    if flag(&query, "logs") {
        return Err(ApiError::not_implemented("attach with logs=1 is not supported: ask for the logs first"));
    }
    let stdin = flag(&query, "stdin");
    let container = api.call(move |engine| Ok(engine.find(&id)?)).await?;
    let id = container.id().clone();
    let live = api.call(move |_| Ok(container.life()?.status.is_live())).await?;
    // Asked before the answer is sent: the client starts the container as soon as it has that.
    let streams = match live {
        true => {
            let now = api.call(move |engine: &Engine| Ok(engine.attach(&id)?.into_stream())).await?;
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // The receiver is in this very function.
            let _kept = sender.send(now);
            receiver
        }
        false => api.runs().next_streams(&id),
    };
    upgrade::hijack(request, move |client| async move {
        // Dropped without streams: the container did not start, and the client hears of that elsewhere.
        match streams.await {
            Ok(monitor) => relay(client, monitor, stdin).await,
            Err(_) => Ok(()),
        }
    })
}

/// Copies both directions. The end of the client's input is passed on; the end of the container's output is the
/// end of it all, whatever the client still has to say.
async fn relay(client: TokioIo<Upgraded>, monitor: UnixStream, stdin: bool) -> std::io::Result<()> {
    monitor.set_nonblocking(true)?;
    let monitor = tokio::net::UnixStream::from_std(monitor)?;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut output, mut input) = monitor.into_split();
    let typing = tokio::spawn(async move {
        match stdin {
            true => {
                // Whichever side hung up, the other is told by the end of the stream.
                let _ended = tokio::io::copy(&mut from_client, &mut input).await;
                input.shutdown().await
            }
            // Kept open, unused: closing it would end the input of whoever else is attached.
            false => std::future::pending().await,
        }
    });
    let copied = tokio::io::copy(&mut output, &mut to_client).await;
    typing.abort();
    copied?;
    to_client.shutdown().await
}
