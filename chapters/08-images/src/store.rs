//! The image store: a standard OCI image layout, so that other tools open the very directory we write.
//!
//! ```text
//! DIR/oci-layout            {"imageLayoutVersion":"1.0.0"}
//! DIR/index.json            an index; each entry's annotation org.opencontainers.image.ref.name is a full name
//! DIR/blobs/sha256/HEX      manifests, configs, layers
//! DIR/tmp/                  blobs under way, each locked by its writer
//! DIR/ingest/               blobs under way whose digest is known; they outlive their writer
//! DIR/.lock, DIR/.lease     who may write the index, who keeps the garbage collector away
//! DIR/.spare                room on a full disk for the index that names one image fewer
//! ```
//!
//! A reader needs no lock at all: a blob never changes, and the index is replaced as a whole.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use indexmap::{IndexMap, IndexSet};
use layers::Digest;
use process::During;
use process::state::{Lock, read_json_if_there, write};
use serde_json::json;

use crate::blob;
use crate::descriptor::{Descriptor, Platform};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::manifest::{Document, Index, LARGEST_DOCUMENT};
use crate::reference::Reference;
use crate::spare;

/// The annotation that gives an entry of a layout's index its name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A store in a directory that other tools open as `oci:DIR`.
///
/// # References
/// OCI image specification, image-layout.md
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// An entry of the store's index.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The name; `None` for an image whose name moved on to another one.
    pub reference: Option<Reference>,
    /// What it points to.
    pub target: Descriptor,
}

/// While it lives, [`Store::gc`] removes nothing: hold one from an image's first blob to its tag.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

impl Store {
    /// Opens the store in `dir`, making it (mode 0700) if it is missing.
    ///
    /// # Errors
    /// A layout of a version that this engine does not know; those of the file system.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { dir: dir.into() };
        for sub in ["blobs/sha256", "blobs/sha512", "tmp"] {
            let path = store.dir.join(sub);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).during("mkdir", path.display())?;
        }
        store.check_version()?;
        if !store.index_path().exists() {
            store.change(|_| Ok(()))?;
        }
        blob::sweep(&store)?;
        spare::keep(&store, &store.index_path());
        Ok(store)
    }

    /// Opens a layout that somebody else made, to read it.
    ///
    /// # Errors
    /// A directory without `oci-layout`.
    pub fn open_existing(dir: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { dir: dir.into() };
        let marker = store.dir.join("oci-layout");
        match marker.exists() {
            true => store.check_version().map(|()| store),
            false => Err(Error::State { path: marker, reason: "not found: this is no OCI image layout".into() }),
        }
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the garbage collector away while blobs arrive that nothing names yet.
    ///
    /// # Errors
    /// Those of locking a file.
    pub fn lease(&self) -> Result<Lease> {
        Ok(Lease { _lock: Lock::shared(&self.dir.join(".lease"))? })
    }

    /// Names an image or an index. A name that pointed elsewhere moves; what it left stays, nameless,
    /// until it is forgotten.
    ///
    /// # Errors
    /// A target that is not in the store.
    pub fn tag(&self, name: &Reference, target: &Descriptor) -> Result<()> {
        if !self.has(&target.digest) {
            return Err(Error::NoBlob(target.digest));
        }
        let name = name.to_string();
        self.change(|index| {
            release(index, &name);
            // The nameless entry of the same target gets its name back.
            index.manifests.retain(|entry| entry.digest != target.digest || entry.annotation(REF_NAME).is_some());
            let mut entry = target.clone();
            entry.annotations.get_or_insert_default().insert(REF_NAME.to_owned(), name);
            index.manifests.push(entry);
            Ok(())
        })
    }

    /// Puts a target into the index without a name, unless it is there already: a build without a tag.
    ///
    /// # Errors
    /// A target that is not in the store.
    pub fn keep(&self, target: &Descriptor) -> Result<()> {
        if !self.has(&target.digest) {
            return Err(Error::NoBlob(target.digest));
        }
        self.change(|index| {
            if !index.manifests.iter().any(|entry| entry.digest == target.digest) {
                index.manifests.push(target.clone());
            }
            Ok(())
        })
    }

    /// Takes all names from a target and lets it stay in the index.
    ///
    /// # Errors
    /// Those of reading and writing the index.
    pub fn keep_nameless(&self, target: &Descriptor) -> Result<()> {
        self.change(|index| {
            index.manifests.retain(|entry| entry.digest != target.digest);
            index.manifests.push(unnamed(target.clone()));
            Ok(())
        })
    }

    /// Takes a name away; what it pointed to, or `None` if there was no such name.
    ///
    /// With its last name the target leaves the index too, and its blobs with the next [`gc`](Self::gc).
    ///
    /// # Errors
    /// Those of reading and writing the index.
    pub fn untag(&self, name: &Reference) -> Result<Option<Descriptor>> {
        let name = name.to_string();
        self.change(|index| {
            let at = index.manifests.iter().position(|entry| entry.annotation(REF_NAME) == Some(&name));
            Ok(at.map(|at| unnamed(index.manifests.remove(at))))
        })
    }

    /// Takes a target out of the index with all its names, and returns those.
    ///
    /// # Errors
    /// Those of reading and writing the index.
    pub fn forget(&self, target: &Digest) -> Result<Vec<Reference>> {
        self.change(|index| {
            let (gone, kept) = index.manifests.drain(..).partition(|entry| entry.digest == *target);
            index.manifests = kept;
            let gone: Vec<Descriptor> = gone;
            Ok(gone.iter().filter_map(|entry| entry.annotation(REF_NAME)?.parse().ok()).collect())
        })
    }

    /// What a name points to; `None` if there is no such name.
    ///
    /// A name with a digest is also found where the same repository's tag points to that digest.
    ///
    /// # Errors
    /// Those of reading the index.
    pub fn target(&self, name: &Reference) -> Result<Option<Descriptor>> {
        let entries = self.list()?;
        let exact = entries.iter().find(|entry| entry.reference.as_ref() == Some(name));
        let pinned = || {
            let digest = name.digest()?;
            let same = |other: &Reference| other.name() == name.name();
            entries.iter().find(|entry| entry.target.digest == *digest && entry.reference.as_ref().is_some_and(same))
        };
        Ok(exact.or_else(pinned).map(|entry| entry.target.clone()))
    }

    /// The image of this name, for this machine; `None` if there is no such name.
    ///
    /// # Errors
    /// A damaged store, or an index without this machine's platform.
    pub fn resolve(&self, name: &Reference) -> Result<Option<Image>> {
        self.target(name)?.map(|target| self.image(&target)).transpose()
    }

    /// The image of this name, id, or beginning of an id (with or without `sha256:`).
    ///
    /// A name wins over an id that looks like it.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Ambiguous`].
    pub fn find(&self, name_or_id: &str) -> Result<Image> {
        if let Ok(name) = name_or_id.parse::<Reference>()
            && let Some(image) = self.resolve(&name)?
        {
            return Ok(image);
        }
        let prefix = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
        let no_image = || Error::NoImage(name_or_id.to_owned());
        if prefix.is_empty() || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(no_image());
        }
        let mut found = IndexMap::new();
        for entry in self.list()? {
            // One damaged image must not hide all the others.
            let Ok(image) = self.image(&entry.target) else { continue };
            if image.id.hex().starts_with(prefix) || image.target.digest.hex().starts_with(prefix) {
                found.insert(image.id, image);
            }
        }
        match found.len() {
            0 | 1 => found.pop().map(|(_, image)| image).ok_or_else(no_image),
            count => Err(Error::Ambiguous { prefix: prefix.to_owned(), count }),
        }
    }

    /// The image that a descriptor points to: itself, or the one in its index that suits this machine.
    ///
    /// # Errors
    /// A missing, damaged or malformed document; [`Error::NoPlatform`].
    pub fn image(&self, target: &Descriptor) -> Result<Image> {
        let (manifest_descriptor, manifest) = match self.document(target)? {
            Document::Manifest(manifest) => (target.clone(), manifest),
            Document::Index(index) => {
                let host = Platform::host();
                let entry = index.select(&host).ok_or_else(|| no_platform(target, &host, &index))?;
                match self.document(entry)? {
                    Document::Manifest(manifest) => (entry.clone(), manifest),
                    Document::Index(_) => {
                        let reason = "an index inside an index is not an image".into();
                        return Err(Error::Document { digest: entry.digest, reason });
                    }
                }
            }
        };
        Image::read(self, unnamed(target.clone()), manifest_descriptor, manifest)
    }

    /// The manifest or index that a descriptor points to.
    ///
    /// # Errors
    /// A missing, damaged or malformed document.
    pub fn document(&self, target: &Descriptor) -> Result<Document> {
        Document::parse(&self.blob_bytes(&target.digest, LARGEST_DOCUMENT)?, &target.media_type)
    }

    /// Everything that the index names, in the order of its tagging.
    ///
    /// # Errors
    /// Those of reading the index.
    pub fn list(&self) -> Result<Vec<Named>> {
        let named = |entry: Descriptor| Named {
            reference: entry.annotation(REF_NAME).and_then(|name| name.parse().ok()),
            target: unnamed(entry),
        };
        Ok(self.index()?.manifests.into_iter().map(named).collect())
    }

    /// Where a blob is. A [`Digest`] cannot name anything outside.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// Locks out everybody who writes the index.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Ok(Lock::exclusive(&self.dir.join(".lock"))?)
    }

    /// The index as it is now.
    pub(crate) fn index(&self) -> Result<Index> {
        Ok(read_json_if_there(&self.index_path())?.unwrap_or_else(|| Index::new(Vec::new())))
    }

    /// Changes the index under its lock; it is written only if it is another one then.
    fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let before = self.index_path().exists().then(|| index.clone());
        let result = change(&mut index)?;
        if before.as_ref() != Some(&index) {
            let shrinks = before.is_some_and(|before| index.manifests.len() < before.manifests.len());
            spare::write(self, &self.index_path(), &index, shrinks)?;
        }
        Ok(result)
    }

    fn check_version(&self) -> Result<()> {
        let path = self.dir.join("oci-layout");
        let version: Option<serde_json::Value> = read_json_if_there(&path)?;
        match version {
            None => Ok(write(&path, json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?),
            Some(layout) if layout["imageLayoutVersion"].as_str().is_some_and(|v| v.starts_with("1.")) => Ok(()),
            Some(_) => Err(Error::State { path, reason: "imageLayoutVersion is not 1.x".into() }),
        }
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.json")
    }
}

/// Takes `name` from the entry that has it. If that was its target's only entry, it stays without a name.
fn release(index: &mut Index, name: &str) {
    let Some(at) = index.manifests.iter().position(|entry| entry.annotation(REF_NAME) == Some(name)) else { return };
    let entry = unnamed(index.manifests.remove(at));
    if !index.manifests.iter().any(|other| other.digest == entry.digest) {
        index.manifests.insert(at, entry);
    }
}

/// The descriptor without the name that the index gave it.
fn unnamed(mut entry: Descriptor) -> Descriptor {
    if let Some(annotations) = &mut entry.annotations {
        annotations.shift_remove(REF_NAME);
        if annotations.is_empty() {
            entry.annotations = None;
        }
    }
    entry
}

fn no_platform(target: &Descriptor, host: &Platform, index: &Index) -> Error {
    let have: IndexSet<String> =
        index.manifests.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
    Error::NoPlatform {
        name: target.digest.to_string(),
        wanted: host.to_string(),
        available: have.into_iter().collect::<Vec<_>>().join(", "),
    }
}

/// The blobs' directories, which gc walks.
pub(crate) fn blob_directories(store: &Store) -> Result<Vec<(Digest, u64)>> {
    let mut blobs = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let dir = store.dir.join("blobs").join(algorithm);
        for entry in fs::read_dir(&dir).during("readdir", dir.display())? {
            let entry = entry.during("readdir", dir.display())?;
            let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
            // What is no digest is not ours.
            if let Ok(digest) = name.parse() {
                blobs.push((digest, entry.metadata().during("stat", entry.path().display())?.len()));
            }
        }
    }
    Ok(blobs)
}

/// Opens a blob's file.
pub(crate) fn open_blob(store: &Store, digest: &Digest) -> Result<(File, u64)> {
    let path = store.blob_path(digest);
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::NoBlob(*digest)),
        result => result.during("open", path.display())?,
    };
    let size = file.metadata().during("fstat", path.display())?.len();
    Ok((file, size))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
