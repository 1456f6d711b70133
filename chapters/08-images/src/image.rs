//! An image: a manifest, its config, and their layers laid out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use layers::{DiffId, Digest, Snapshots};

use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::manifest::{LARGEST_DOCUMENT, Manifest};
use crate::media;
use crate::store::Store;

/// An image of which manifest and config were read and verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The image's id: the digest of its config.
    pub id: Digest,
    /// What the name points to: an index, or the manifest itself.
    pub target: Descriptor,
    /// The manifest's own descriptor.
    pub manifest_descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

impl Image {
    /// Reads the config that a manifest names, and holds the two against each other.
    ///
    /// # Errors
    /// A config that is missing, damaged, or not an image's; a different number of layers in the two.
    pub fn read(
        store: &Store,
        target: Descriptor,
        manifest_descriptor: Descriptor,
        manifest: Manifest,
    ) -> Result<Self> {
        let digest = manifest_descriptor.digest;
        if !media::is_image_config(&manifest.config.media_type) {
            let reason = format!("it is not a container image: its config is {}", manifest.config.media_type);
            return Err(Error::Document { digest, reason });
        }
        let id = manifest.config.digest;
        let config = ImageConfig::parse(&store.blob_bytes(&id, LARGEST_DOCUMENT)?)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            let reason = format!("it has {layers} layers, and its config {id} has {diff_ids} diff ids");
            return Err(Error::Document { digest, reason });
        }
        Ok(Self { id, target, manifest_descriptor, manifest, config })
    }

    /// The layers by what they change, lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// The bytes of the image's layers as they travel.
    pub fn download_size(&self) -> u64 {
        self.manifest.layers.iter().map(|layer| layer.size).sum()
    }
}

/// Extracts those of the image's layers that are not extracted yet, several at a time.
///
/// Each layer is hashed twice on its one way through: the blob against the manifest, and what comes out of
/// the decompressor against the config. Layers are independent of each other, so each processor takes the next one
/// that is left.
///
/// # Errors
/// The first failure: a layer that is hostile, damaged, missing, or not the one that the config names.
// spine
pub fn unpack(store: &Store, snapshots: &Snapshots, image: &Image) -> Result<()> {
    let layers: Vec<(&Descriptor, &DiffId)> = image.manifest.layers.iter().zip(image.diff_ids()).collect();
    for (descriptor, _) in &layers {
        if !media::is_layer(&descriptor.media_type) {
            let reason = format!("this engine cannot apply layers of type {}", descriptor.media_type);
            return Err(Error::Blob { digest: descriptor.digest, reason });
        }
    }

    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some((descriptor, diff_id)) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = unpack_layer(store, snapshots, descriptor, diff_id) {
                // No new layers after a failure; those under way end by themselves.
                next.store(layers.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(layers.len());
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return Err(error);
    }
    // What a layer takes from those below it is made now, so that what is wrong with that is said now.
    snapshots.stack(image.diff_ids())?;
    Ok(())
}

/// One layer from the store into the snapshots, unless it is there.
fn unpack_layer(store: &Store, snapshots: &Snapshots, descriptor: &Descriptor, diff_id: &DiffId) -> Result<()> {
    if snapshots.has(diff_id) {
        return Ok(());
    }
    let blob = store.blob(&descriptor.digest)?;
    Ok(snapshots.extract(diff_id, blob)?)
}
