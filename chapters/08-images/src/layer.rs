//! A new layer: an archive goes in, a compressed blob and two names come out.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use layers::{DiffId, Hasher};

use crate::blob::BlobWriter;
use crate::descriptor::Descriptor;
use crate::error::Result;
use crate::media;
use crate::store::Store;

/// Takes a layer's archive, not compressed, and stores it with gzip.
///
/// ```text
/// archive --> hash: the diff id        what the layer changes; the config names it
///        \
///         --> gzip --> hash: the digest    what travels; the manifest names it
/// ```
///
/// Compressed, because it will be pushed some day and because it lies extracted beside the blob anyway. The same archive
/// gives the same blob, as long as it is the same version of this engine that compresses it: level 6, no name, no time.
#[derive(Debug)]
pub struct LayerWriter<'a> {
    gzip: GzEncoder<BlobWriter<'a>>,
    hasher: Hasher,
}

impl Store {
    /// A writer for a new layer.
    ///
    /// # Errors
    /// Those of making a file.
    pub fn layer_writer(&self) -> Result<LayerWriter<'_>> {
        Ok(LayerWriter { gzip: GzEncoder::new(self.writer()?, Compression::default()), hasher: Hasher::new() })
    }
}

impl LayerWriter<'_> {
    /// Makes the blob visible: the layer's two names.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn commit(self) -> Result<(DiffId, Descriptor)> {
        let diff_id = DiffId(self.hasher.finish());
        let blob = self.gzip.finish().map_err(|reason| crate::Error::Transfer { digest: diff_id.0, reason })?;
        let (digest, size) = blob.commit(None)?;
        Ok((diff_id, Descriptor::new(media::OCI_LAYER_GZIP, digest, size)))
    }
}

impl Write for LayerWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.gzip.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
