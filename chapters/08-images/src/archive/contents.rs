//! What an archive holds, read in one pass: blobs into the store, documents into memory.
//!
//! An archive is a stranger's. Its paths are never used as paths: they are keys of a map. A blob that claims a digest is
//! held against it; what claims none gets the one it has.

use std::collections::BTreeMap;
use std::io::{self, Read};

use layers::{Compression, Digest};
use process::{CallError, During};
use tar::EntryType;

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::import::fill;
use crate::manifest::LARGEST_DOCUMENT;
use crate::media;
use crate::store::Store;

/// An archive with more members than this is no image's.
const MOST_MEMBERS: usize = 100_000;

/// All documents of an archive together, bytes.
const MOST_DOCUMENT_BYTES: u64 = 64 << 20;

/// Links that lead to links: Docker wrote one, for a layer that two images share.
const LONGEST_CHAIN: usize = 8;

/// How the names of layers end that only a path names: docker's and podman's, then those of builders.
const ARCHIVES: [&str; 4] = [".tar", ".tar.gz", ".tgz", ".tar.zst"];

/// What was found. All blobs are in the store by then, named by nothing.
#[derive(Debug, Default)]
pub(super) struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, Descriptor>,
    links: BTreeMap<String, String>,
}

impl Contents {
    /// Reads all of `archive`, which may be compressed.
    ///
    /// # Errors
    /// A damaged archive, a blob whose bytes are others than its name promises, too many members or documents.
    pub(super) fn read(store: &Store, archive: impl Read) -> Result<Self> {
        let archive = layers::decompress(archive, u64::MAX).during("read", "archive")?;
        let mut contents = Self::default();
        let (mut members, mut document_bytes) = (0, 0);
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().during("read", "archive")? {
            let mut entry = entry.during("read", "archive")?;
            members += 1;
            if members > MOST_MEMBERS {
                return Err(refused(format!("more than {MOST_MEMBERS} members")));
            }
            let path = key(&entry.path_bytes());
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {}
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().map(|target| key(&target)).unwrap_or_default();
                    contents.links.insert(path, target);
                    continue;
                }
                _ => continue,
            }
            if let Some(digest) = blob_name(&path) {
                let descriptor = store_blob(store, &digest, &mut entry)?;
                contents.layers.insert(path, descriptor);
            } else if ARCHIVES.iter().any(|suffix| path.ends_with(suffix)) {
                let descriptor = store_layer(store, &mut entry)?;
                contents.layers.insert(path, descriptor);
            } else if path.ends_with(".json") || path == "oci-layout" {
                document_bytes += entry.size();
                if entry.size() > LARGEST_DOCUMENT || document_bytes > MOST_DOCUMENT_BYTES {
                    return Err(refused(format!("{path:?} is too large for a document")));
                }
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).during("read", &path)?;
                contents.documents.insert(path, bytes);
            }
        }
        Ok(contents)
    }

    /// A document at the archive's top, parsed; `None` if it is not there.
    ///
    /// # Errors
    /// Malformed JSON, with line and column.
    pub(super) fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let parse =
            |bytes: &Vec<u8>| serde_json::from_slice(bytes).map_err(|error| refused(format!("{name}: {error}")));
        self.documents.get(name).map(parse).transpose()
    }

    /// The bytes of a document that `manifest.json` names by its path: a config.
    ///
    /// # Errors
    /// When the archive does not hold it.
    pub(super) fn named(&self, store: &Store, path: &str) -> Result<Vec<u8>> {
        let path = key(path.as_bytes());
        match (self.documents.get(&path), self.layers.get(&path)) {
            (Some(bytes), _) => Ok(bytes.clone()),
            (None, Some(blob)) => store.blob_bytes(&blob.digest, LARGEST_DOCUMENT),
            (None, None) => Err(refused(format!("{path:?} is named in it and is not there"))),
        }
    }

    /// The layer at a path, links followed.
    ///
    /// # Errors
    /// When the archive does not hold it.
    pub(super) fn layer(&self, path: &str) -> Result<Descriptor> {
        let mut path = key(path.as_bytes());
        for _ in 0..LONGEST_CHAIN {
            match (self.layers.get(&path), self.links.get(&path)) {
                (Some(layer), _) => return Ok(layer.clone()),
                // `../ID/layer.tar`, relative to the link's own directory.
                (None, Some(target)) => path = beside(&path, target),
                (None, None) => break,
            }
        }
        Err(refused(format!("the layer {path:?} is named in it and is not there")))
    }
}

/// An error of the archive as a whole.
pub(super) fn refused(reason: impl std::fmt::Display) -> Error {
    CallError::refused("load", "archive", reason).into()
}

/// A member's path as a key: text without a leading `./` and without a trailing slash.
fn key(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// A link's target, as a key.
fn beside(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The digest that a path like `blobs/sha256/HEX` claims.
fn blob_name(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Stores a blob that a manifest names by its digest, byte for byte.
fn store_blob(store: &Store, digest: &Digest, bytes: &mut impl Read) -> Result<Descriptor> {
    let (first, length) = beginning(bytes)?;
    let mut writer = store.writer_for(digest)?;
    io::copy(&mut first[..length].chain(bytes), &mut writer).during("read", "archive")?;
    let (digest, size) = writer.commit(Some(digest))?;
    let media_type = layer_type(&first[..length]).unwrap_or(media::OCI_LAYER);
    Ok(Descriptor::new(media_type, digest, size))
}

/// Stores a layer that no manifest names, only a path: as it is if it is compressed, else with gzip.
///
/// Docker and podman keep layers extracted and write them uncompressed; what they push is compressed anew. A layer
/// that came with a manifest keeps its bytes, since digests were promised; this one was promised nothing.
fn store_layer(store: &Store, bytes: &mut impl Read) -> Result<Descriptor> {
    let (first, length) = beginning(bytes)?;
    let first = &first[..length];
    let Some(media_type) = layer_type(first) else {
        let mut layer = store.layer_writer()?;
        io::copy(&mut first.chain(bytes), &mut layer).during("read", "archive")?;
        return Ok(layer.commit()?.1);
    };
    let mut writer = store.writer()?;
    io::copy(&mut first.chain(bytes), &mut writer).during("read", "archive")?;
    let (digest, size) = writer.commit(None)?;
    Ok(Descriptor::new(media_type, digest, size))
}

fn beginning(bytes: &mut impl Read) -> Result<([u8; 4], usize)> {
    let mut first = [0; 4];
    let length = fill(bytes, &mut first).during("read", "archive")?;
    Ok((first, length))
}

/// The kind of compressed layer that the first bytes show.
fn layer_type(first: &[u8]) -> Option<&'static str> {
    match Compression::detect(first) {
        Compression::None => None,
        Compression::Gzip => Some(media::OCI_LAYER_GZIP),
        Compression::Zstd => Some(media::OCI_LAYER_ZSTD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_from_where_it_stands() {
        assert_eq!(beside("two/layer.tar", "../one/layer.tar"), "one/layer.tar");
        assert_eq!(beside("layer.tar", "../../../one.tar"), "one.tar");
    }

    #[test]
    fn only_a_whole_digest_names_a_blob() {
        assert!(blob_name(&format!("blobs/sha256/{}", "a".repeat(64))).is_some());
        for path in ["blobs/sha256/../../x", "blobs/sha256/aa", "sha256/aa", "blobs/md5/aa"] {
            assert_eq!(blob_name(path), None, "{path}");
        }
    }
}
