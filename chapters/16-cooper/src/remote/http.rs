//! HTTP/1.1 over a unix socket, as little of it as a daemon's client needs: one request on a connection, its answer read as it
//! comes, and the connection itself where the answer says that it is no longer HTTP.
//!
//! ```text
//!   client                                     daemon
//!     GET /v1.41/containers/json ->
//!                                           <- 200, body: by length, in chunks, or to the end
//!     POST .../attach  Upgrade: tcp ->
//!                                           <- 101, then both directions raw
//! ```

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail};

/// The longest head of an answer, bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// With the query, encoded.
    pub(super) target: &'a str,
    /// More header lines: name and value.
    pub(super) headers: &'a [(&'a str, String)],
    /// JSON, if anything.
    pub(super) body: Option<String>,
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Body,
}

/// A body, up to its end and not further.
pub(super) struct Body {
    from: BufReader<UnixStream>,
    extent: Extent,
}

/// How the end of a body is known.
enum Extent {
    /// So many bytes are left.
    Length(u64),
    /// So many of this chunk; none where a chunk is about to begin.
    Chunks(u64),
    /// The connection closes.
    Close,
    /// It is over.
    Over,
}

impl Request<'_> {
    /// Asks, and reads the answer's head.
    ///
    /// # Errors
    /// Nobody listens at the socket; an answer that is no HTTP.
    pub(super) fn send(&self, socket: &Path) -> anyhow::Result<Answer> {
        let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to the daemon at {socket:?}"))?;
        let body = self.body.as_deref().unwrap_or_default();
        let mut head = format!("{} {} HTTP/1.1\r\nHost: daemon\r\n", self.method, self.target);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body.is_some() {
            head.push_str("Content-Type: application/json\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(head.as_bytes()).context("send to the daemon")?;
        Answer::read(stream)
    }
}

impl Answer {
    fn read(mut stream: UnixStream) -> anyhow::Result<Self> {
        let head = read_head(&mut stream)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
        let status = status.context("the daemon's answer is no HTTP")?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Self { status, headers, body: Body { from: BufReader::new(stream), extent: Extent::Close } };
        answer.body.extent = match (status, answer.header("transfer-encoding"), answer.header("content-length")) {
            (204 | 304, ..) => Extent::Over,
            (_, Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Extent::Chunks(0),
            (_, _, Some(length)) => Extent::Length(length.parse().context("the daemon's answer has no length")?),
            _ => Extent::Close,
        };
        Ok(answer)
    }

    /// A header's value; names are written in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// The connection broke; no UTF-8.
    pub(super) fn text(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.body.read_to_string(&mut text).context("read the daemon's answer")?;
        Ok(text)
    }

    /// The connection, which is no longer HTTP. Nothing behind the head was read yet.
    pub(super) fn into_stream(self) -> UnixStream {
        self.body.from.into_inner()
    }
}

/// Reads byte by byte: what comes behind the head may be somebody else's to read.
fn read_head(stream: &mut UnixStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("read the daemon's answer")?;
        head.push(byte[0]);
        if head.len() > LONGEST_HEAD {
            bail!("the daemon's answer has a head of more than {LONGEST_HEAD} bytes");
        }
    }
    head.truncate(head.len() - 4);
    String::from_utf8(head).context("the daemon's answer is no HTTP")
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Extent::Chunks(0) = self.extent {
            self.begin_chunk()?;
        }
        let left = match self.extent {
            Extent::Over | Extent::Length(0) => return Ok(0),
            Extent::Close => return self.from.read(buffer),
            Extent::Length(left) | Extent::Chunks(left) => left,
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the daemon hung up"));
        }
        let left = left - read as u64;
        match self.extent {
            Extent::Chunks(_) => {
                self.extent = Extent::Chunks(left);
                if left == 0 {
                    self.line()?;
                }
            }
            _ => self.extent = Extent::Length(left),
        }
        Ok(read)
    }
}

impl Body {
    /// The length of the next chunk, in hexadecimal on a line of its own; the last one has none and ends the body.
    fn begin_chunk(&mut self) -> std::io::Result<()> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16)
            .map_err(|_| std::io::Error::other(format!("the daemon's answer has a chunk of length {digits:?}")))?;
        self.extent = match length {
            0 => Extent::Over,
            length => Extent::Chunks(length),
        };
        Ok(())
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        (&mut self.from).take(LONGEST_HEAD as u64).read_line(&mut line)?;
        match line.ends_with('\n') {
            true => Ok(line.trim_end().to_owned()),
            false => Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the daemon hung up")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What is read of an answer that the other side sends and closes after.
    fn read(answer: &'static [u8]) -> anyhow::Result<(u16, String)> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        drop(theirs);
        let mut answer = Answer::read(ours)?;
        Ok((answer.status, answer.text()?))
    }

    #[test]
    fn bodies_end_by_length_by_the_last_chunk_or_with_the_connection() {
        let said = (200, "hello".to_owned());
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore").unwrap(), said);
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\nmore";
        assert_eq!(read(chunks).unwrap(), said);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap(), said);
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, String::new()));
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error_and_not_a_short_answer() {
        for broken in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
            b"HTTP/1.1 200",
            b"220 mail.example ESMTP\r\n\r\n",
        ] {
            assert!(read(broken).is_err(), "{:?}", String::from_utf8_lossy(broken));
        }
    }
}
