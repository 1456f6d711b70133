//! From HTTP to a plain pair of streams: the "hijack" behind `attach` and `exec`.
//!
//! ```text
//! client                                   daemon
//!   POST /containers/ID/attach?stream=1
//!   Connection: Upgrade  Upgrade: tcp  ->
//!                                      <-  101 UPGRADED
//!   stdin, raw                         ->
//!                                      <-  stdout and stderr, framed; raw with a terminal
//! ```
//!
//! After the 101 the connection is no longer HTTP. Old clients leave the headers out and expect
//! a 200; the bytes after it are the same.
//!
//! # References
//! Docker Engine API, "Attach to a container", Hijacking

use std::future::Future;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use crate::error::ApiError;

/// Docker's name for what flows when there is a terminal.
const RAW: &str = "application/vnd.docker.raw-stream";

/// Answers 101, and gives the connection to `serve` once the client has it.
///
/// # Errors
/// 400 for a client that does not ask for an upgrade: without one there is no way to
/// send it streams in both directions.
pub(crate) fn hijack<F, Fut>(mut request: Request, serve: F) -> Result<Response, ApiError>
where
    F: FnOnce(TokioIo<Upgraded>) -> Fut + Send + 'static,
    Fut: Future<Output = std::io::Result<()>> + Send,
{
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(ApiError::bad_request("this request needs the headers Connection: Upgrade and Upgrade: tcp"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            return; // The client left before the answer reached it.
        };
        // Nobody is left to tell: an error here is the client's hanging up.
        let _hung_up = serve(TokioIo::new(upgraded)).await;
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONTENT_TYPE, RAW)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Body::empty());
    response.map_err(|e| ApiError::internal(format!("build the answer: {e}")))
}
