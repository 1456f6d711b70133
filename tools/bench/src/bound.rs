//! The bound: what no pull can be faster than that keeps the blobs, checks both digests and writes what it unpacked.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use layers::{HashingReader, decompress};

use crate::cost::{self, Cost};

/// Handles all layers, as many at a time as there are processors: reads, hashes and copies each blob, inflates it, hashes
/// that and writes it, and has all of it on disk.
///
/// # Errors
/// Those of reading and writing files.
pub(crate) fn measure(blobs: &[PathBuf], to: &Path) -> Result<Cost> {
    fs::create_dir_all(to).context("cannot make a directory")?;
    let (began, before) = (Instant::now(), cost::own()?);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some((number, blob)) = next_of(blobs, &next) {
            one(blob, &to.join(number.to_string()))?;
        }
        Ok(())
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let hands: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        hands.into_iter().try_for_each(|hand| hand.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })?;
    let dir = File::open(to).context("cannot open a directory")?;
    rustix::fs::syncfs(&dir).context("syncfs")?;
    Ok(Cost { wall: began.elapsed().as_secs_f64() * 1000.0, processor: cost::own()? - before, memory: f64::NAN })
}

fn next_of<'a>(blobs: &'a [PathBuf], next: &AtomicUsize) -> Option<(usize, &'a PathBuf)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, blobs.get(number)?))
}

fn one(blob: &Path, to: &Path) -> Result<()> {
    let file = |name: &str| File::create(to.with_extension(name)).context("cannot make a file");
    let kept = Tee { inner: HashingReader::new(File::open(blob).context("cannot open a blob")?), out: file("blob")? };
    let mut archive = HashingReader::new(decompress(kept, u64::MAX).context("cannot inflate")?);
    let mut out = BufWriter::with_capacity(256 << 10, file("tar")?);
    io::copy(&mut archive, &mut out).context("cannot unpack a blob")?;
    out.flush().context("cannot write")
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
