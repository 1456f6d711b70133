//! How a layer was compressed, told from its first bytes, and reading it bounded.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How a layer's archive was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain archive.
    None,
    /// gzip, one member or several (as `pigz` and `stargz` write it).
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Tells the compression from the first bytes; four are enough.
    ///
    /// Media types lie (Docker's say `tar.gzip` where `podman push --compression-format zstd` sent
    /// something else); magic numbers do not. What is neither gzip nor zstd is taken for a plain
    /// archive, whose own checksums will say so if it is not.
    ///
    /// # References
    /// RFC 1952 section 2.3.1 (gzip), RFC 8878 sections 3.1.1 and 3.1.2 (zstd, skippable frames)
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The word that image builders use: `uncompressed`, `gzip`, `zstd`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Reads the archive in `source`, whatever its compression, but no more than `limit` bytes of it.
///
/// A gzip of a gigabyte of zeros is one megabyte: the bound is on what comes *out*. Going past it is an
/// error of kind [`FileTooLarge`](io::ErrorKind::FileTooLarge), not an early end, which would look like
/// a shorter archive.
///
/// # Errors
/// Whatever reading the first bytes returns. A damaged stream is found later, while reading.
pub fn decompress<'a, R: Read + 'a>(source: R, limit: u64) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(256 * 1024, Peeked::new(source, 4)?);
    let archive: Box<dyn Read + 'a> = match Compression::detect(source.fill_buf()?) {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(ZstdFrames { source: Some(source), frame: None }),
    };
    Ok(Box::new(Bounded { inner: archive, left: limit, limit }))
}

/// A reader whose first read returns at least `n` bytes, if the source has them: a socket may deliver
/// a magic number in two halves.
struct Peeked<R> {
    first: io::Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    fn new(mut rest: R, n: u64) -> io::Result<Self> {
        let mut first = Vec::new();
        (&mut rest).take(n).read_to_end(&mut first)?;
        Ok(Self { first: io::Cursor::new(first), rest })
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.first.read(buffer)? {
            0 => self.rest.read(buffer),
            n => Ok(n),
        }
    }
}

/// Zstandard as it is found in layers: any number of frames, skippable ones among them.
///
/// `zstd:chunked` puts its table of contents into a skippable frame at the end; the decoder reads one
/// frame, so the walk over frames is here.
struct ZstdFrames<R: BufRead> {
    source: Option<R>,
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Opens the next frame; `false` at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        while let Some(mut source) = self.source.take() {
            let mut magic = [0; 4];
            let first = source.fill_buf()?;
            if first.is_empty() {
                return Ok(false);
            }
            let seen = first.len().min(4);
            magic[..seen].copy_from_slice(&first[..seen]);
            if matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
                let mut header = [0; 8];
                source.read_exact(&mut header)?;
                let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
                io::copy(&mut (&mut source).take(size.into()), &mut io::sink())?;
                self.source = Some(source);
                continue;
            }
            let frame = StreamingDecoder::new(source).map_err(io::Error::other)?;
            self.frame = Some(frame);
            return Ok(true);
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(mut frame) = self.frame.take() {
                let n = frame.read(buffer)?;
                if n > 0 {
                    self.frame = Some(frame);
                    return Ok(n);
                }
                self.source = Some(frame.into_inner());
            }
            if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

/// Fails where the archive goes past the bound.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                let message = format!("the archive is larger than the limit of {} bytes", self.limit);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn read(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(source, limit)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn each_form_reads_as_the_same_bytes() {
        for form in [b"archive".to_vec(), gzip(b"archive"), zstd(b"archive")] {
            assert_eq!(read(&form[..], 7).unwrap(), b"archive");
        }
        assert_eq!(read(&b""[..], 7).unwrap(), b"");
    }

    #[test]
    fn several_members_and_frames_are_one_archive() {
        let members = [gzip(b"arch"), gzip(b"ive")].concat();
        assert_eq!(read(&members[..], 100).unwrap(), b"archive");
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frames = [&skippable[..], &zstd(b"arch"), &skippable, &zstd(b"ive"), &skippable].concat();
        assert_eq!(read(&frames[..], 100).unwrap(), b"archive");
    }

    #[test]
    fn a_magic_number_that_comes_byte_by_byte_is_recognised() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = buffer.len().min(1);
                self.0.read(&mut buffer[..n])
            }
        }
        assert_eq!(read(Trickle(&gzip(b"archive")), 100).unwrap(), b"archive");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 1 << 14);
        let error = read(&bomb[..], 1 << 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_cut_stream_is_an_error_and_not_a_shorter_archive() {
        for form in [gzip(b"archive archive archive"), zstd(b"archive archive archive")] {
            assert!(read(&form[..form.len() - 9], 100).is_err());
        }
    }
}
