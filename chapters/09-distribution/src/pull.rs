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
//! A layer that two pulls want is brought in by one of them; the other waits. Both ends are promises until both hashes fit: the blob and the extracted layer each appear
//! under their names only then. The image's name comes last, when everything it needs is there;
//! a pull that is interrupted at any point leaves whole blobs and whole layers and no broken name.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use images::{Descriptor, Image, ImageConfig, Ingest, LARGEST_DOCUMENT, Platform, Reference, Store, media};
use layers::{DiffId, Digest, Snapshots};

use crate::answer::printable;
use crate::client::Client;
use crate::conversation::Conversation;
use crate::crew;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::resolve::{Resolved, locate};

/// How long to wait before asking again whether somebody else is still at a blob.
const TURN: Duration = Duration::from_millis(20);

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
    let (conversation, resolved) = locate(client, reference, progress)?;
    progress.note(&format!("{reference} is {}", resolved.target.digest));

    // From the first blob to the name nothing else protects the blobs from being collected.
    let images = |reason| Error::Images { reference: Box::new(reference.clone()), reason: Box::new(reason) };
    let _lease = store.lease().map_err(images)?;

    let pull =
        Pull { conversation: &conversation, reference, store, snapshots, progress, stop: AtomicBool::new(false) };
    let config = pull.config(&resolved)?;
    let layers = pull.plan(&resolved, &config)?;
    pull.room(&layers)?;
    crew::each(&layers, client.options.parallel, &pull.stop, |(layer, diff_id)| pull.layer(layer, diff_id))?;
    // What a layer takes from those below it, which had to be here first.
    snapshots.stack(&config.rootfs.diff_ids).map_err(|error| images(error.into()))?;

    // The inner documents first: whoever finds the outer one can follow it.
    for (descriptor, document) in [&resolved.manifest_descriptor, &resolved.target].into_iter().zip(&resolved.documents)
    {
        store.put_as(&descriptor.digest, document).map_err(images)?;
    }
    // Of an index only this platform's image is here. For another machine's, the name is that image's alone.
    let ours = client.options.platform == Platform::host();
    let target = if ours { resolved.target } else { resolved.manifest_descriptor.clone() };
    store.tag(reference, &target).map_err(images)?;
    let image = store.image(&resolved.manifest_descriptor).map_err(images)?;
    Ok(Image { target, ..image })
}

/// What all layers of one pull share.
pub(crate) struct Pull<'a> {
    pub(crate) conversation: &'a Conversation<'a>,
    pub(crate) reference: &'a Reference,
    pub(crate) store: &'a Store,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: AtomicBool,
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
            let mut turn = self.turn(&descriptor.digest)?;
            if !self.store.has(&descriptor.digest) {
                self.bring(&mut turn, descriptor, None)?;
            }
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
        if self.is_here(layer, diff_id) {
            self.progress.blob(&layer.digest, Stage::Present);
            return Ok(());
        }
        let mut turn = self.turn(&layer.digest)?;
        // While we waited for our turn, somebody may have done all of it.
        if self.is_here(layer, diff_id) {
            self.progress.blob(&layer.digest, Stage::Present);
            return Ok(());
        }
        if self.store.has(&layer.digest) {
            let blob = self.store.blob(&layer.digest).map_err(self.images())?;
            self.snapshots.extract(diff_id, blob).map_err(|source| self.layer_error(layer, source))?;
            self.progress.blob(&layer.digest, Stage::Present);
            return Ok(());
        }
        self.progress.blob(&layer.digest, Stage::Waiting(layer.size));
        let to_extract = Some(diff_id).filter(|diff_id| !self.snapshots.has(diff_id));
        self.bring(&mut turn, layer, to_extract)?;
        self.progress.blob(&layer.digest, Stage::Pulled);
        Ok(())
    }

    fn is_here(&self, layer: &Descriptor, diff_id: &DiffId) -> bool {
        self.store.has(&layer.digest) && self.snapshots.has(diff_id)
    }

    /// Waits until nobody else is at this blob, in this process or another.
    fn turn(&self, digest: &Digest) -> Result<Ingest<'_>> {
        let mut told = false;
        loop {
            if let Some(turn) = self.store.ingest(digest).map_err(self.images())? {
                return Ok(turn);
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped { object: self.conversation.object.clone() });
            }
            if !std::mem::replace(&mut told, true) {
                self.progress.blob(digest, Stage::Shared);
            }
            thread::sleep(TURN);
        }
    }

    /// Whether the disk has room for what will come. A registry that promises the impossible is found out at once.
    fn room(&self, layers: &[(Descriptor, DiffId)]) -> Result<()> {
        let missing = layers.iter().filter(|(layer, _)| !self.store.has(&layer.digest));
        let needed = missing.fold(0_u64, |sum, (layer, _)| sum.saturating_add(layer.size));
        let disk = rustix::fs::statvfs(self.store.dir())
            .map_err(|error| Error::Io { operation: "ask how full the disk is".to_owned(), reason: error.into() })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if needed > free {
            return Err(self.unsupported(format!("there are {needed} bytes to download, and the disk has {free} left")));
        }
        Ok(())
    }

    pub(crate) fn unsupported(&self, reason: String) -> Error {
        // It quotes what the registry sent.
        Error::Unsupported { reference: Box::new(self.reference.clone()), reason: printable(&reason) }
    }

    pub(crate) fn layer_error(&self, layer: &Descriptor, reason: layers::Error) -> Error {
        Error::Layer { reference: Box::new(self.reference.clone()), layer: layer.digest, reason: Box::new(reason) }
    }

    pub(crate) fn images(&self) -> impl Fn(images::Error) -> Error {
        |reason| Error::Images { reference: Box::new(self.reference.clone()), reason: Box::new(reason) }
    }
}
