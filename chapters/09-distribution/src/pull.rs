//! Pull: from a name to an image that can run.
//!
//! Each layer is read from the network once and handled in one pass, on two threads:
//!
//! ```text
//!  socket --> hash --> blob in the store          (the registry's bytes, named by digest)
//!        \
//!         --> channel --> inflate --> hash --> files   (named by diff id)
//! ```
//!
//! Both ends are promises until both hashes fit: the blob and the extracted layer each appear
//! under their names only then. The image's name comes last, when everything it needs is there;
//! a pull that is interrupted at any point leaves whole blobs and whole layers and no broken name.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use images::{Descriptor, Image, ImageConfig, LARGEST_DOCUMENT, Reference, Store, media};
use layers::{DiffId, Snapshots};

use crate::client::Client;
use crate::conversation::Conversation;
use crate::crew;
use crate::download::Download;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::resolve::{Resolved, mismatch, reading, resolve_in};

/// Bytes that go through the channel at a time.
const PIECE: usize = 256 << 10;

/// Pieces that may wait between download and extraction: 2 MiB a layer.
const QUEUE: usize = 8;

/// Brings an image and its layers into the store, extracted and named.
///
/// What is here already is not fetched again. When this returns, everything is on disk.
///
/// # Errors
/// Those of [`resolve`](crate::resolve()); a blob that is not what was promised, a layer that
/// cannot be extracted, a full disk. The name is then what it was before.
///
/// # References
/// distribution-spec 1.1, "Pull"; image-spec 1.1, "OCI Image Configuration" (diff ids)
// spine
pub fn pull(
    client: &Client,
    reference: &Reference,
    store: &Store,
    snapshots: &Snapshots,
    progress: &dyn Progress,
) -> Result<Image> {
    let conversation = reading(client, reference)?;
    let resolved = resolve_in(&conversation, reference)?;
    progress.note(&format!("{reference} is {}", resolved.target.digest));

    // From the first blob to the name nothing else protects the blobs from being collected.
    let images = |source| Error::Images { reference: Box::new(reference.clone()), source: Box::new(source) };
    let _lease = store.lease().map_err(images)?;

    let pull =
        Pull { conversation: &conversation, reference, store, snapshots, progress, stop: AtomicBool::new(false) };
    let config = pull.config(&resolved)?;
    let layers = pull.plan(&resolved, &config)?;
    crew::each(&layers, client.options.parallel, &pull.stop, |(layer, diff_id)| pull.layer(layer, diff_id))?;
    // What a layer takes from those below it, which had to be here first.
    snapshots.stack(&config.rootfs.diff_ids).map_err(|error| images(error.into()))?;

    // The inner documents first: whoever finds the outer one can follow it.
    for (descriptor, document) in [&resolved.manifest_descriptor, &resolved.target].into_iter().zip(&resolved.documents)
    {
        store.put_as(&descriptor.digest, document).map_err(images)?;
    }
    store.tag(reference, &resolved.target).map_err(images)?;
    let image = store.image(&resolved.manifest_descriptor).map_err(images)?;
    Ok(Image { target: resolved.target, ..image })
}

/// What all layers of one pull share.
struct Pull<'a> {
    conversation: &'a Conversation<'a>,
    reference: &'a Reference,
    store: &'a Store,
    snapshots: &'a Snapshots,
    progress: &'a dyn Progress,
    stop: AtomicBool,
}

impl Pull<'_> {
    /// The config: small, and needed first, since it says what each layer is when inflated.
    fn config(&self, resolved: &Resolved) -> Result<ImageConfig> {
        let descriptor = &resolved.manifest.config;
        if !media::is_image_config(&descriptor.media_type) {
            let reason = format!("this is no container image but an artifact ({})", descriptor.media_type);
            return Err(self.unsupported(reason));
        }
        if descriptor.size > LARGEST_DOCUMENT {
            return Err(self.unsupported(format!("the config has more than {LARGEST_DOCUMENT} bytes")));
        }
        if !self.store.has(&descriptor.digest) {
            self.download(descriptor, None)?;
        }
        let bytes = self.store.blob_bytes(&descriptor.digest, LARGEST_DOCUMENT).map_err(self.images())?;
        ImageConfig::parse(&bytes).map_err(self.images())
    }

    /// Which blob is which layer, each once.
    fn plan(&self, resolved: &Resolved, config: &ImageConfig) -> Result<Vec<(Descriptor, DiffId)>> {
        let (layers, diff_ids) = (&resolved.manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            let (blobs, ids) = (layers.len(), diff_ids.len());
            return Err(self.unsupported(format!("the manifest has {blobs} layers and the config {ids}")));
        }
        if let Some(layer) = layers.iter().find(|layer| !media::is_layer(&layer.media_type)) {
            return Err(self.unsupported(format!("a layer of type {} cannot be applied", layer.media_type)));
        }
        let platform = &self.conversation.client.options.platform;
        if !config.architecture.is_empty() && config.architecture != platform.architecture {
            let (has, wanted) = (&config.architecture, &platform.architecture);
            self.progress.note(&format!("warning: the image is for {has}, this machine is {wanted}"));
        }
        let mut seen = HashSet::new();
        let pairs = layers.iter().cloned().zip(diff_ids.iter().copied());
        Ok(pairs.filter(|(layer, diff_id)| seen.insert((layer.digest, *diff_id))).collect())
    }

    /// One layer: whichever of blob and extracted files is missing.
    fn layer(&self, layer: &Descriptor, diff_id: &DiffId) -> Result<()> {
        let extracted = self.snapshots.has(diff_id);
        let failed = |source| Error::Layer {
            reference: Box::new(self.reference.clone()),
            layer: layer.digest,
            source: Box::new(source),
        };
        if self.store.has(&layer.digest) {
            if !extracted {
                let blob = self.store.blob(&layer.digest).map_err(self.images())?;
                self.snapshots.extract(diff_id, blob).map_err(failed)?;
            }
            self.progress.blob(&layer.digest, Stage::Present);
            return Ok(());
        }
        self.progress.blob(&layer.digest, Stage::Waiting(layer.size));
        if extracted {
            self.download(layer, None)?;
        } else {
            let (sender, receiver) = sync_channel(QUEUE);
            let (downloaded, extracted) = thread::scope(|scope| {
                let extraction =
                    scope.spawn(|| self.snapshots.extract(diff_id, Pieces::of(receiver)).map_err(Box::new));
                // The download owns the sender: however it ends, the channel closes before we wait.
                (self.download(layer, Some(sender)), extraction.join())
            });
            // A download that failed makes the extraction fail; the other way round the download
            // was only told to stop.
            match (downloaded, extracted) {
                (Err(error), _) => return Err(error),
                (Ok(_), Ok(Err(source))) => return Err(failed(*source)),
                (Ok(Ended::Early), _) | (_, Err(_)) => {
                    return Err(self.unsupported(format!("the layer {} was not read to its end", layer.digest)));
                }
                (Ok(Ended::Whole), Ok(Ok(()))) => {}
            }
        }
        self.progress.blob(&layer.digest, Stage::Pulled);
        Ok(())
    }

    /// Fetches a blob into the store, and hands its bytes on as they come. The end is handed on
    /// only after the store has verified the digest.
    fn download(&self, blob: &Descriptor, onward: Option<SyncSender<Piece>>) -> Result<Ended> {
        let mut download = Download::new(self.conversation, self.reference, blob, self.progress, &self.stop);
        let mut writer = self.store.writer_for(&blob.digest).map_err(self.images())?;
        loop {
            let mut piece = vec![0; PIECE];
            let mut filled = 0;
            // Full pieces: a socket's portions are small, and each piece costs a wake-up.
            while filled < PIECE {
                match download.next(&mut piece[filled..])? {
                    0 => break,
                    n => filled += n,
                }
            }
            piece.truncate(filled);
            if filled == 0 {
                break;
            }
            writer.write_all(&piece).map_err(|source| Error::Io { operation: "write a blob".to_owned(), source })?;
            if onward.as_ref().is_some_and(|onward| onward.send(Piece::Bytes(piece)).is_err()) {
                return Ok(Ended::Early);
            }
        }
        writer.commit(Some(&blob.digest)).map_err(|error| match error {
            images::Error::Transfer { .. } | images::Error::Blob { .. } => {
                mismatch(self.conversation, self.reference, &format!("blob {}", blob.digest), error.to_string())
            }
            source => Error::Images { reference: Box::new(self.reference.clone()), source: Box::new(source) },
        })?;
        // If nobody waits for the end, the extraction has failed, and its result says why.
        Ok(match onward.map(|onward| onward.send(Piece::End)) {
            Some(Err(_)) => Ended::Early,
            _ => Ended::Whole,
        })
    }

    fn unsupported(&self, reason: String) -> Error {
        Error::Unsupported { reference: Box::new(self.reference.clone()), reason }
    }

    fn images(&self) -> impl Fn(images::Error) -> Error {
        |source| Error::Images { reference: Box::new(self.reference.clone()), source: Box::new(source) }
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
