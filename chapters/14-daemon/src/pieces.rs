//! An answer that grows: pieces from a thread that blocks, as the body of an HTTP response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// How many pieces may wait for a slow client before the thread that makes them waits too.
const AHEAD: usize = 16;

/// Where pieces are put.
#[derive(Debug, Clone)]
pub(crate) struct Sender(mpsc::Sender<io::Result<Bytes>>);

/// The client has gone: nothing more needs to be made.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct Gone;

impl Sender {
    /// Sends a piece from a thread that may block.
    pub(crate) fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.blocking_send(Ok(piece.into())).map_err(|_| Gone)
    }

    /// Breaks the answer off, from a thread that may block: the client sees a connection that failed, not an end.
    pub(crate) fn fail(&self, error: io::Error) {
        // A client that has gone needs no news.
        let _ = self.0.blocking_send(Err(error));
    }

    /// Whether the client has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends a piece from asynchronous code.
    pub(crate) async fn push(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)
    }
}

/// A body, and the sender that feeds it; dropping the sender ends the body.
pub(crate) fn channel() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    (Sender(sender), Body::new(Pieces(receiver)))
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
