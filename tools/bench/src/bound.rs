//! The bound: what no pull can be faster than that keeps the blobs, checks both digests and writes what it unpacked.
//!
//! ```text
//!  where the blob is --> sha256 --> kept --> inflate --> sha256 --> its files
//!        \
//!         a file on this machine, or the registry
//! ```
//!
//! The work of a pull, with the libraries of a pull, and nothing else: no conversation, no store, no names to be checked, no
//! thread that hands on to another. One sync at the end has all of it on disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use layers::{HashingReader, decompress};
use tar::EntryType;

use crate::cost::{self, Cost};
use crate::depot::REGISTRY;

/// As much of an archive as a pull decodes at once.
const DECODED: usize = 128 << 10;

/// As much of a file as a pull writes at once.
const WRITTEN: usize = 256 << 10;

/// Where the compressed bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The page cache: the bytes cost nothing but a copy.
    Files,
    /// The registry that a pull asks, which works on the same processors.
    Registry,
}

impl Source {
    /// The bound's name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "the bound",
            Self::Registry => "the bound, registry too",
        }
    }

    /// How many layers are handled at a time: one for each processor, and as many again where some of them wait.
    fn hands(self) -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        match self {
            Self::Files => processors,
            Self::Registry => 2 * processors,
        }
    }

    /// What is in it.
    pub(crate) fn content(self) -> &'static str {
        match self {
            Self::Files => "sha256, inflate, sha256, the blobs and all files written, one sync; on all processors",
            Self::Registry => "the same, with the blobs from the registry, which works on these processors, too",
        }
    }
}

/// Handles all layers, and says what that took.
///
/// # Errors
/// Those of reading and writing files; a registry that does not answer; a blob that is not what its name says.
pub(crate) fn measure(blobs: &[PathBuf], source: Source, to: &Path) -> Result<Cost> {
    fs::create_dir_all(to).context("cannot make a directory")?;
    let (began, before) = (Instant::now(), cost::own()?);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some((number, blob)) = next_of(blobs, &next) {
            one(blob, source, &to.join(number.to_string()))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let hands: Vec<_> = (0..source.hands()).map(|_| scope.spawn(work)).collect();
        hands.into_iter().try_for_each(|hand| hand.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    let dir = File::open(to).context("cannot open a directory")?;
    rustix::fs::syncfs(&dir).context("syncfs")?;
    Ok(Cost { wall: began.elapsed().as_secs_f64() * 1000.0, processor: cost::own()? - before, memory: f64::NAN })
}

fn next_of<'a>(blobs: &'a [PathBuf], next: &AtomicUsize) -> Option<(usize, &'a PathBuf)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, blobs.get(number)?))
}

fn one(blob: &Path, source: Source, to: &Path) -> Result<()> {
    let bytes: Box<dyn Read> = match source {
        Source::Files => Box::new(File::open(blob).context("cannot open a blob")?),
        Source::Registry => Box::new(ask_for(blob)?),
    };
    let mut bytes = HashingReader::new(bytes);
    let kept = Tee { inner: &mut bytes, out: File::create(to.with_extension("blob")).context("cannot make a file")? };
    let mut archive = HashingReader::new(decompress(kept, u64::MAX).context("cannot inflate")?);
    unpack(BufReader::with_capacity(DECODED, &mut archive), to)?;
    drop(archive.finish());
    let (found, _) = bytes.finish();
    ensure!(blob.ends_with(found.hex()), "the blob {} has the digest {found}", blob.display());
    Ok(())
}

/// The blob as the registry sends it.
fn ask_for(blob: &Path) -> Result<TcpStream> {
    let hex = blob.file_name().context("a blob without a name")?.display();
    let mut stream = TcpStream::connect(REGISTRY).context("cannot reach the registry")?;
    let path = format!("/v2/made/blobs/sha256:{hex}");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {REGISTRY}\r\nConnection: close\r\n\r\n")
        .context("cannot ask for a blob")?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).context("cannot read the registry's answer")?;
        head.extend(byte);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "the registry has no {path}");
    Ok(stream)
}

/// Makes the files of an archive that [`Made`](crate::made::Made) wrote, so that nobody needs to be on guard. They belong to whoever runs this.
fn unpack(archive: impl Read, to: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(archive);
    let mut buffer = vec![0; WRITTEN];
    for member in archive.entries().context("cannot read an archive")? {
        let mut member = member.context("cannot read an archive")?;
        let header = member.header();
        let (mode, mtime) = (header.mode()?, SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime()?));
        let path = to.join(member.path().context("a member's name")?);
        let made = match header.entry_type() {
            EntryType::Directory => {
                fs::DirBuilder::new().recursive(true).mode(mode).create(&path).and_then(|()| File::open(&path))
            }
            _ => File::options().write(true).create_new(true).mode(mode).open(&path),
        };
        let mut file = made.with_context(|| format!("cannot make {}", path.display()))?;
        while let filled @ 1.. = fill(&mut member, &mut buffer).context("cannot unpack a blob")? {
            file.write_all(&buffer[..filled]).context("cannot write a file")?;
        }
        file.set_modified(mtime).context("cannot set a file's time")?;
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("cannot read an archive to its end")?;
    Ok(())
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Passes bytes on and keeps them.
struct Tee<R, W> {
    inner: R,
    out: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.out.write_all(&buffer[..n])?;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::made::Made;

    #[test]
    fn the_bound_keeps_the_blobs_and_writes_what_tar_would() {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::new(dir.path(), 2, 8).unwrap();
        let to = dir.path().join("bound");
        measure(&made.layers, Source::Files, &to).unwrap();
        for (number, blob) in made.layers.iter().enumerate() {
            let by_tar = dir.path().join(format!("tar-{number}"));
            fs::create_dir(&by_tar).unwrap();
            let mut tar = Command::new("tar");
            tar.args(["--no-same-owner", "-xzpf"]).arg(blob).arg("-C").arg(&by_tar);
            assert!(tar.status().unwrap().success());
            let by_bound = to.join(number.to_string());
            assert!(Command::new("diff").arg("-r").args([&by_tar, &by_bound]).status().unwrap().success());
            let files = |tree: &Path| {
                let found = Command::new("find").arg(tree).args(["-type", "f", "-printf", "%P %m %T@\\n"]).output();
                let mut lines: Vec<_> = found.unwrap().stdout.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                lines
            };
            assert!(files(&by_tar).len() > 50);
            assert_eq!(files(&by_tar), files(&by_bound));
            assert_eq!(fs::read(blob).unwrap(), fs::read(by_bound.with_extension("blob")).unwrap());
        }
    }
}
