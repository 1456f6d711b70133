//! One blob, from the registry into the store, and as a layer into files, in one pass.
//!
//! What an earlier attempt brought is not asked for again: it is read from the disk, and the registry is asked for the rest.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use images::{Descriptor, Ingest};
use layers::DiffId;

use crate::download::Download;
use crate::error::{Error, Result};
use crate::pull::Pull;
use crate::resolve::mismatch;

/// Bytes that go through the channel at a time.
const PIECE: usize = 256 << 10;

/// Pieces that may wait between download and extraction: 2 MiB a layer.
const QUEUE: usize = 8;

impl Pull<'_> {
    /// Brings a blob in, and extracts it if it is a layer whose files are wanted.
    ///
    /// A beginning that an earlier attempt left may be spoilt (a power cut, a flipped bit); then all of it is fetched once
    /// more. What came now and is wrong is not kept: only a connection that broke leaves something to go on with.
    pub(crate) fn bring(&self, turn: &mut Ingest, blob: &Descriptor, extract: Option<&DiffId>) -> Result<()> {
        let mut resumed = false;
        let first = self.attempt(turn, blob, extract, &mut resumed);
        let result = match first {
            Err(Error::Mismatch { .. } | Error::Layer { .. }) if resumed => {
                turn.restart().map_err(self.images())?;
                self.attempt(turn, blob, extract, &mut resumed)
            }
            first => first,
        };
        if let Err(error) = &result
            && !error.leaves_a_beginning()
        {
            turn.restart().map_err(self.images())?;
        }
        result
    }

    fn attempt(
        &self,
        turn: &mut Ingest,
        blob: &Descriptor,
        extract: Option<&DiffId>,
        resumed: &mut bool,
    ) -> Result<()> {
        let Some(diff_id) = extract else {
            return self.download(turn, blob, None, resumed).map(drop);
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let (downloaded, extracted) = thread::scope(|scope| {
            let extraction = scope.spawn(|| self.snapshots.extract(diff_id, Pieces::of(receiver)).map_err(Box::new));
            // The download owns the sender: however it ends, the channel closes before we wait.
            (self.download(turn, blob, Some(sender), resumed), extraction.join())
        });
        // A download that failed makes the extraction fail; the other way round the download was only told to stop.
        match (downloaded, extracted) {
            (Err(error), _) => Err(error),
            (Ok(_), Ok(Err(source))) => Err(self.layer_error(blob, *source)),
            (Ok(Ended::Early), _) | (_, Err(_)) => {
                Err(self.unsupported(format!("the layer {} was not read to its end", blob.digest)))
            }
            (Ok(Ended::Whole), Ok(Ok(()))) => Ok(()),
        }
    }

    /// Fetches a blob into the store, and hands its bytes on as they come. The end is handed on
    /// only after the store has verified the digest.
    fn download(
        &self,
        turn: &mut Ingest,
        blob: &Descriptor,
        onward: Option<SyncSender<Piece>>,
        resumed: &mut bool,
    ) -> Result<Ended> {
        let write = |reason| Error::Io { operation: format!("write the blob {}", blob.digest), reason };
        let wanted = |piece: Vec<u8>| onward.as_ref().is_none_or(|onward| onward.send(Piece::Bytes(piece)).is_ok());
        let here = turn.resume(blob.size, |piece| {
            // Whoever does not want more has failed, and is asked for the reason below.
            wanted(piece.to_vec());
            Ok(())
        });
        let here = here.map_err(self.images())?;
        *resumed = here > 0;
        let mut download = Download::new(self.conversation, self.reference, blob, self.progress, &self.stop, here);
        loop {
            let mut piece = vec![0; PIECE];
            let mut filled = 0;
            // Full pieces: a socket's portions are small, and each piece costs a wake-up. But what has come is kept, also
            // when the connection breaks.
            let failed = loop {
                match download.next(&mut piece[filled..]) {
                    Ok(0) => break None,
                    Ok(n) => filled += n,
                    Err(error) => break Some(error),
                }
                if filled == PIECE {
                    break None;
                }
            };
            piece.truncate(filled);
            turn.write_all(&piece).map_err(write)?;
            if let Some(error) = failed {
                return Err(error);
            }
            if filled == 0 {
                break;
            }
            if !wanted(piece) {
                return Ok(Ended::Early);
            }
        }
        turn.commit().map_err(|error| match error {
            images::Error::Transfer { .. } | images::Error::Blob { .. } => {
                mismatch(self.conversation, self.reference, &format!("blob {}", blob.digest), error.to_string())
            }
            reason => Error::Images { reference: Box::new(self.reference.clone()), reason: Box::new(reason) },
        })?;
        // If nobody waits for the end, the extraction has failed, and its result says why.
        Ok(match onward.map(|onward| onward.send(Piece::End)) {
            Some(Err(_)) => Ended::Early,
            _ => Ended::Whole,
        })
    }
}

/// How a download ended that did not fail.
enum Ended {
    /// Verified and stored.
    Whole,
    /// The extraction did not want more.
    Early,
}

/// What goes through the channel.
enum Piece {
    Bytes(Vec<u8>),
    /// The blob is whole and verified.
    End,
}

/// The receiving end of the channel, as a reader. A channel that closes without
/// [`Piece::End`] is a download that failed: an error, never an end of file.
struct Pieces {
    receiver: Receiver<Piece>,
    current: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Pieces {
    fn of(receiver: Receiver<Piece>) -> Pieces {
        Pieces { receiver, current: io::Cursor::default(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.current.read(buffer)?;
            if n > 0 || buffer.is_empty() || self.ended {
                return Ok(n);
            }
            match self.receiver.recv() {
                Ok(Piece::Bytes(bytes)) => self.current = io::Cursor::new(bytes),
                Ok(Piece::End) => self.ended = true,
                Err(_) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download failed")),
            }
        }
    }
}
