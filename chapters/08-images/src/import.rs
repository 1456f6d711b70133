//! `import`: an image of one archive of files, whoever made it.

use std::io::{self, Read};

use layers::{Compression, DiffId, HashingReader, Snapshots};
use process::{CallError, During};

use crate::config::{History, ImageConfig, RootFs};
use crate::descriptor::{Descriptor, Platform};
use crate::error::{Error, Result};
use crate::image::{Image, unpack};
use crate::manifest::Manifest;
use crate::media;
use crate::reference::Reference;
use crate::store::Store;

/// What is said about an image beside its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// When, RFC 3339.
    pub created: String,
    /// A remark for the history.
    pub message: String,
    /// Whom it is for.
    pub platform: Platform,
    /// Its name, if it gets one.
    pub name: Option<Reference>,
    /// How to run it: only [`ImageConfig::config`] and [`ImageConfig::author`] are taken from here.
    pub config: ImageConfig,
}

/// Makes an image with one layer of an archive of files, compressed or not.
///
/// An archive that comes compressed keeps its bytes; one that does not is stored with gzip. The image is in the
/// index, and on the disk, when this returns.
///
/// # Errors
/// An archive that is damaged, hostile, or compressed in another way than with gzip or zstd.
pub fn import(store: &Store, snapshots: &Snapshots, archive: impl Read, about: Imported) -> Result<Image> {
    let _lease = store.lease()?;
    let (diff_id, layer) = store_archive(store, archive)?;
    snapshots.extract(&diff_id, store.blob(&layer.digest)?)?;
    let history = History {
        created: Some(about.created.clone()),
        comment: Some(about.message),
        author: about.config.author.clone(),
        ..History::default()
    };
    let config = ImageConfig {
        created: Some(about.created),
        architecture: about.platform.architecture,
        variant: about.platform.variant,
        os: about.platform.os,
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![diff_id] },
        history: vec![history],
        ..about.config
    };
    let image = store.put_image(&config, vec![layer])?;
    unpack(store, snapshots, &image)?;
    match &about.name {
        Some(name) => store.tag(name, &image.target)?,
        None => store.keep(&image.target)?,
    }
    Ok(image)
}

impl Store {
    /// Stores the two documents of a new image whose layers are in the store. Nothing names it yet: hold a
    /// [`Lease`](crate::Lease) until something does.
    ///
    /// # Errors
    /// As many layers as diff ids there must be; those of writing files.
    pub fn put_image(&self, config: &ImageConfig, layers: Vec<Descriptor>) -> Result<Image> {
        let bytes = config.to_bytes();
        let (digest, size) = self.put(&bytes)?;
        let layers = layers.into_iter().map(Descriptor::in_oci_words).collect();
        let manifest = Manifest::new(Descriptor::new(media::OCI_CONFIG, digest, size), layers);
        let bytes = manifest.to_bytes();
        let (digest, size) = self.put(&bytes)?;
        let target = Descriptor::new(media::OCI_MANIFEST, digest, size);
        Image::read(self, target.clone(), target, manifest)
    }
}

impl Descriptor {
    /// The layer with the OCI's name for what it is: a base image's may carry Docker's, for the same bytes.
    fn in_oci_words(self) -> Self {
        let media_type = match self.media_type.as_str() {
            media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
            media::DOCKER_LAYER => media::OCI_LAYER,
            media::DOCKER_LAYER_ZSTD => media::OCI_LAYER_ZSTD,
            _ => return self,
        };
        Self { media_type: media_type.to_owned(), ..self }
    }
}

/// Stores an archive as a layer's blob.
fn store_archive(store: &Store, mut archive: impl Read) -> Result<(DiffId, Descriptor)> {
    let mut first = [0; 6];
    let length = fill(&mut archive, &mut first).during("read", "archive")?;
    let first = &first[..length];
    if let Some(other) = foreign_compression(first) {
        let reason = format!("it is compressed with {other}: decompress it first (gzip, zstd and none are understood)");
        return Err(CallError::refused("import", "archive", reason).into());
    }
    let media_type = match Compression::detect(first) {
        Compression::None => {
            let mut layer = store.layer_writer()?;
            io::copy(&mut first.chain(archive), &mut layer).during("store", "archive")?;
            return layer.commit();
        }
        Compression::Gzip => media::OCI_LAYER_GZIP,
        Compression::Zstd => media::OCI_LAYER_ZSTD,
    };
    let mut blob = store.writer()?;
    io::copy(&mut first.chain(archive), &mut blob).during("store", "archive")?;
    let (digest, size) = blob.commit(None)?;
    let plain = layers::decompress(store.blob(&digest)?, u64::MAX);
    let mut plain = HashingReader::new(plain.map_err(|reason| Error::Transfer { digest, reason })?);
    io::copy(&mut plain, &mut io::sink()).map_err(|reason| Error::Transfer { digest, reason })?;
    Ok((DiffId(plain.finish().0), Descriptor::new(media_type, digest, size)))
}

/// What this engine does not decompress, by its first bytes.
fn foreign_compression(first: &[u8]) -> Option<&'static str> {
    match first {
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
        _ => None,
    }
}

/// Reads until `buffer` is full or the source has ended.
pub(crate) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
