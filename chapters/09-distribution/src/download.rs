//! One blob on its way in, over as many connections as it takes.
//!
//! A connection that breaks is made again and the blob goes on where it stopped (`Range`). The
//! reader of [`Download`] sees one stream of exactly the promised length, or an error.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use images::{Descriptor, Reference};
use ureq::http::{Method, header};

use crate::conversation::{Ask, Conversation};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::resolve::mismatch;

/// The first pause after a broken connection; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A connection that brought this much was a good one: earlier failures are forgotten.
const GOOD: u64 = 4 << 20;

/// A blob that is being fetched.
pub(crate) struct Download<'a> {
    conversation: &'a Conversation<'a>,
    reference: &'a Reference,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    body: Option<Box<dyn Read + Send>>,
    at: u64,
    good_from: u64,
    attempt: u32,
}

impl<'a> Download<'a> {
    /// Prepares to fetch what follows the first `at` bytes; nothing is asked before the first [`Download::next`].
    pub(crate) fn new(
        conversation: &'a Conversation<'a>,
        reference: &'a Reference,
        blob: &'a Descriptor,
        progress: &'a dyn Progress,
        stop: &'a AtomicBool,
        at: u64,
    ) -> Download<'a> {
        Download { conversation, reference, blob, progress, stop, body: None, at, good_from: at, attempt: 1 }
    }

    /// The next bytes into `buffer`; 0 at the end, after exactly the promised number.
    ///
    /// # Errors
    /// The server refuses, sends more or less than was promised, or breaks the connection more
    /// often than [`Options::attempts`](crate::Options::attempts) allows.
    pub(crate) fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped { object: self.conversation.object.clone() });
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None if self.at == self.blob.size && self.at > 0 => return Ok(0),
                None => self.connect()?,
            };
            let left = self.blob.size - self.at;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            // At the end one more byte is asked for: a server that has it lied about the size.
            let read = if left == 0 { body.read(&mut [0]) } else { body.read(&mut buffer[..most]) };
            match read {
                Ok(0) if left == 0 => return Ok(0),
                Ok(_) if left == 0 => return Err(self.wrong_size("more")),
                Ok(0) => self.broken(io::ErrorKind::UnexpectedEof.into())?,
                Ok(n) => {
                    self.body = Some(body);
                    self.at += n as u64;
                    self.progress.blob(&self.blob.digest, Stage::Moved(self.at));
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.body = Some(body),
                Err(error) => self.broken(error)?,
            }
        }
    }

    /// Asks for the blob, or for the rest of it.
    fn connect(&mut self) -> Result<Box<dyn Read + Send>> {
        let url = self.conversation.url(&format!("/blobs/{}", self.blob.digest));
        let mut ask = Ask::new(Method::GET, url, "fetch a blob by its digest");
        if self.at > 0 {
            ask = ask.header(header::RANGE, format!("bytes={}-", self.at));
        }
        let answer = self.conversation.send(&ask)?;
        let length = answer.header(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
        let range = answer.header(header::CONTENT_RANGE.as_str()).unwrap_or_default();
        let continues = range.strip_prefix("bytes ").is_some_and(|range| range.starts_with(&format!("{}-", self.at)));
        match answer.status() {
            200 if length.is_some_and(|length| length != self.blob.size) => Err(self.wrong_size("another number of")),
            200 => {
                let mut body = answer.into_reader(self.conversation);
                // A server that cannot continue sends all again; we know the beginning.
                if let Err(error) = io::copy(&mut (&mut body).take(self.at), &mut io::sink()) {
                    self.broken(error)?;
                    return self.connect();
                }
                Ok(Box::new(body))
            }
            206 if self.at > 0 && continues => Ok(Box::new(answer.into_reader(self.conversation))),
            206 => Err(self.conversation.broken("it sends another part of the blob than was asked for")),
            _ => Err(answer.refusal(self.conversation, "get a blob of")),
        }
    }

    /// Notes a broken connection and waits, or gives up.
    fn broken(&mut self, error: io::Error) -> Result<()> {
        if self.at - self.good_from >= GOOD {
            self.attempt = 1;
        }
        self.good_from = self.at;
        if self.attempt >= self.conversation.client.options.attempts {
            return Err(self.conversation.unreachable(&self.conversation.origin, ureq::Error::Io(error)));
        }
        thread::sleep(FIRST_PAUSE * 2_u32.pow(self.attempt - 1));
        self.attempt += 1;
        self.progress.blob(&self.blob.digest, Stage::Retry(self.attempt));
        Ok(())
    }

    fn wrong_size(&self, what: &str) -> Error {
        let reason = format!("{what} bytes than the {} promised", self.blob.size);
        mismatch(self.conversation, self.reference, &format!("blob {}", self.blob.digest), reason)
    }
}
