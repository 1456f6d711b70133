//! From bytes of a pipe to Docker's stream format, in an asynchronous body.

use containers::framing::{self, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest piece that is framed at once, bytes.
const PIECE: usize = 16 << 10;

/// Copies what `from` says into `to`, each piece under a header that names `stream`.
///
/// `to` is shared with the other stream's copy, and locked only while a whole frame is written: a
/// header and its bytes stay together.
///
/// # Errors
/// Those of reading and writing.
pub(crate) async fn copy(
    stream: Stream,
    mut from: impl AsyncRead + Unpin,
    to: &tokio::sync::Mutex<impl AsyncWrite + Unpin>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        let mut to = to.lock().await;
        // At most PIECE, so the cast loses nothing.
        to.write_all(&framing::header(stream, length as u32)).await?;
        to.write_all(&piece[..length]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn each_piece_stands_under_its_header() {
        let to = tokio::sync::Mutex::new(Vec::new());
        copy(Stream::Stdout, &b"out"[..], &to).await.unwrap();
        copy(Stream::Stderr, &b"no"[..], &to).await.unwrap();
        assert_eq!(to.into_inner(), b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x02no");
    }
}
