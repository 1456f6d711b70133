//! Hashing while bytes flow: nothing is read twice, and nothing is believed before its end.

use std::io::{self, Read, Write};

use crate::digest::{Digest, State};

/// Hashes what is written to it.
#[derive(Debug, Clone)]
pub struct Hasher {
    state: State,
    size: u64,
}

impl Hasher {
    /// A SHA-256 hasher.
    pub fn new() -> Self {
        Self::like(&Digest::Sha256([0; 32]))
    }

    /// A hasher of the same algorithm as `digest`.
    pub fn like(digest: &Digest) -> Self {
        Self { state: digest.algorithm_state(), size: 0 }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// The number of bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all that was written.
    pub fn finish(self) -> Digest {
        self.state.finish()
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes bytes through and hashes them on the way.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Hashes what will be read from `inner` with SHA-256.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new() }
    }

    /// Hashes with the algorithm of `digest`.
    pub fn like(inner: R, digest: &Digest) -> Self {
        Self { inner, hasher: Hasher::like(digest) }
    }

    /// Bytes read so far.
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// The digest of what was read, and the reader.
    pub fn finish(self) -> (Digest, R) {
        (self.hasher.finish(), self.inner)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Content that is not what its descriptor promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The bytes ended early or went on too long.
    #[error("expected {expected} bytes of {digest}, found {found}")]
    Size {
        /// The content's name.
        digest: Digest,
        /// The promised number of bytes.
        expected: u64,
        /// The number read; one more than promised if the content went on.
        found: u64,
    },
    /// The right number of the wrong bytes.
    #[error("expected {expected}, found {found}")]
    Digest {
        /// The promised digest.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, mismatch)
    }
}

/// Passes on exactly the promised bytes, or ends in an error.
///
/// It never hands out more than the promised size, so that a server which sends forever fills no
/// disk; and the end of file, which a consumer must see before it may believe what it got, comes only
/// after the digest was compared. The error is an [`io::Error`] of kind `InvalidData` around a [`Mismatch`].
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    size: u64,
    read: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Expects `size` bytes whose digest is `expected`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self { inner, hasher: Some(Hasher::like(&expected)), expected, size, read: 0 }
    }

    /// Called once, where the promised bytes end: is that the end, and were they the right ones?
    fn end(&mut self) -> io::Result<usize> {
        let Some(hasher) = self.hasher.take() else { return Ok(0) };
        let mut one = [0; 1];
        let more = loop {
            match self.inner.read(&mut one) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if more > 0 {
            let found = self.size.saturating_add(1);
            return Err(Mismatch::Size { digest: self.expected, expected: self.size, found }.into());
        }
        let found = hasher.finish();
        if found != self.expected {
            return Err(Mismatch::Digest { expected: self.expected, found }.into());
        }
        Ok(0)
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = self.size - self.read;
        if left == 0 {
            return self.end();
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.inner.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(Mismatch::Size { digest: self.expected, expected: self.size, found: self.read }.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..n]);
        }
        self.read += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], expected: Digest, size: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        VerifyingReader::new(bytes, expected, size).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn the_promised_bytes_pass() {
        assert_eq!(read(b"cask", Digest::of(b"cask"), 4).unwrap(), b"cask");
        assert_eq!(read(b"", Digest::of(b""), 0).unwrap(), b"");
    }

    #[test]
    fn other_bytes_fewer_bytes_and_more_bytes_are_errors() {
        let cask = Digest::of(b"cask");
        for (bytes, message) in
            [(&b"bask"[..], "found sha256:"), (b"cas", "expected 4 bytes of"), (b"casks", "found 5")]
        {
            let error = read(bytes, cask, 4).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn a_source_without_end_is_cut_at_the_promised_size() {
        let mut reader = VerifyingReader::new(io::repeat(7), Digest::of(b"x"), 1 << 16);
        assert!(io::copy(&mut reader, &mut io::sink()).is_err());
        assert_eq!(reader.read, 1 << 16);
    }

    #[test]
    fn hashing_on_the_way_is_hashing_at_once() {
        let mut reader = HashingReader::new(&b"cask"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.size(), 4);
        assert_eq!(reader.finish().0, Digest::of(b"cask"));
    }
}
