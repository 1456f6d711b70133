//! An answer that grows: pieces from a thread that blocks, as the body of an HTTP response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// How many pieces may wait for a slow client before the thread that makes them waits too.
const AHEAD: usize = 16;

/// Where pieces are put.
#[derive(Debug, Clone)]
pub(crate) struct Sender(mpsc::Sender<Bytes>);

/// The client has gone: nothing more needs to be made.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct Gone;

impl Sender {
    /// Sends a piece from a thread that may block.
    pub(crate) fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.blocking_send(piece.into()).map_err(|_| Gone)
    }

    /// Sends a piece from asynchronous code.
    pub(crate) async fn push(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(piece.into()).await.map_err(|_| Gone)
    }
}

/// A body, and the sender that feeds it; dropping the sender ends the body.
pub(crate) fn channel() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    (Sender(sender), Body::new(Pieces(receiver)))
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
