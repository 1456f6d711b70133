//! How two output streams share one socket.
//!
//! A container without a terminal has two outputs, and whoever attaches wants to know which bytes
//! came from which. Docker's answer, kept here byte for byte, is a header in front of each piece:
//!
//! ```text
//!  0      1   2   3   4   5   6   7   8 ...
//! +------+---+---+---+---+---+---+---+-------------------+
//! |stream| 0 | 0 | 0 |  length (u32)  |  length bytes     |
//! +------+---+---+---+---+---+---+---+-------------------+
//!  1 = stdout, 2 = stderr             big endian
//! ```
//!
//! In the other direction bytes are standard input, unframed; shutting down one's writing half ends it.
//! A container with a terminal has one output, and both directions are unframed.
//!
//! # References
//! Docker Engine API, "Attach to a container", Stream format

use serde::{Deserialize, Serialize};

/// Which of a container's outputs some bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output; everything, of a container with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The length of a header, bytes.
pub const HEADER: usize = 8;

/// The longest piece that a reader accepts, bytes. The monitor's own are at most 16 KiB.
pub const LONGEST: usize = 1 << 20;

/// The header in front of `length` bytes of `stream`.
pub fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    let number = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    [number, 0, 0, 0, a, b, c, d]
}

/// Takes a framed stream apart, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub struct Unframer {
    head: Vec<u8>,
    left: usize,
    stream: Option<Stream>,
}

impl Unframer {
    /// Feeds bytes; `piece` is called with every part of a frame's content, in order.
    ///
    /// # Errors
    /// A message when the bytes are no such stream: an unknown stream number or an absurd length.
    // hole: take-frames-apart
    pub fn feed<E: From<String>>(
        &mut self,
        mut bytes: &[u8],
        mut piece: impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if let (Some(stream), true) = (self.stream, self.left > 0) {
                let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
                piece(stream, now)?;
                self.left -= now.len();
                bytes = rest;
                continue;
            }
            let (now, rest) = bytes.split_at((HEADER - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(now);
            bytes = rest;
            if let [number, _, _, _, a, b, c, d] = self.head[..] {
                self.begin(number, u32::from_be_bytes([a, b, c, d]) as usize)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, number: u8, length: usize) -> Result<(), String> {
        self.stream = Some(match number {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            other => return Err(format!("attach stream: {other} is the number of no stream")),
        });
        if length > LONGEST {
            return Err(format!("attach stream: a piece of {length} bytes is longer than {LONGEST}"));
        }
        self.left = length;
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn collect(chunks: &[&[u8]]) -> Result<Vec<(Stream, Vec<u8>)>, String> {
        let (mut unframer, mut seen) = (Unframer::default(), Vec::new());
        for chunk in chunks {
            unframer.feed(chunk, |stream, bytes| {
                seen.push((stream, bytes.to_vec()));
                Ok::<(), String>(())
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut wire = header(Stream::Stdout, 3).to_vec();
        wire.extend_from_slice(b"out");
        wire.extend_from_slice(&header(Stream::Stderr, 0));
        wire.extend_from_slice(&header(Stream::Stderr, 3));
        wire.extend_from_slice(b"err");
        for cut in 0..wire.len() {
            let pieces = collect(&[&wire[..cut], &wire[cut..]]).unwrap();
            let of = |wanted| -> Vec<u8> {
                pieces.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, bytes)| bytes.clone()).collect()
            };
            assert_eq!((of(Stream::Stdout), of(Stream::Stderr)), (b"out".to_vec(), b"err".to_vec()), "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_refused_not_allocated() {
        assert!(collect(&[&[9, 0, 0, 0, 0, 0, 0, 1]]).unwrap_err().contains("no stream"));
        assert!(collect(&[&[1, 0, 0, 0, 255, 255, 255, 255]]).unwrap_err().contains("longer than"));
    }
}
