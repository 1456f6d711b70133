//! Manifests, tags and referrers: the part of a registry that gives blobs a meaning.
//!
//! A manifest is kept as the exact bytes that were pushed, since its digest is over bytes and
//! not over JSON. It is read only to check it: that it is what it says it is, and that all it
//! refers to is here, so that whatever can be pulled by tag can be pulled whole.

use std::fs;
use std::io;

use layers::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Refusal};
use crate::name::{RepositoryName, Selector, Tag};
use crate::storage::{Link, Storage, found, remove};

/// Largest manifest, in bytes: what the specification asks every registry to accept.
pub(crate) const LARGEST_MANIFEST: usize = 4 << 20;

/// The media type of an index, which the list of referrers is.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest's bytes with what a client is told about them.
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// As much of a manifest or index as a registry must understand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Part>,
    layers: Option<Vec<Part>>,
    manifests: Option<Vec<Part>>,
    subject: Option<Part>,
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: Digest,
    /// Layers that may be fetched from elsewhere only (old Windows base images).
    urls: Option<Vec<String>>,
}

/// What the list of referrers says of one manifest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Referrer {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Map<String, Value>>,
}

impl Storage {
    /// Checks and keeps a manifest; a tag, if that is how it was named, then points at it.
    /// Returns its digest, and its subject if it refers to one.
    ///
    /// # Errors
    /// `MANIFEST_INVALID`, `DIGEST_INVALID`, `MANIFEST_BLOB_UNKNOWN`.
    pub(crate) fn put_manifest(
        &self,
        name: &RepositoryName,
        selector: &Selector,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(Digest, Option<Digest>), Refusal> {
        let content = parse(media_type, bytes)?;
        let digest = Digest::of(bytes);
        if let Selector::Digest(expected) = selector
            && *expected != digest
        {
            let message = format!("the manifest's digest is {digest}, not {expected}");
            return Err(Refusal::new(Code::DigestInvalid, message));
        }
        self.check_parts(name, &content)?;
        let disk = Refusal::disk("store the manifest");
        // Content, link, referrer, tag: each is there before something leads to it.
        self.keep_bytes(bytes).map_err(&disk)?;
        let link = self.link_path(name, Link::Manifest, &digest);
        self.write(&link, media_type.as_bytes()).map_err(&disk)?;
        let subject = content.subject.as_ref().map(|subject| subject.digest);
        if let Some(subject) = subject {
            self.put_referrer(name, &subject, content, media_type, &digest, bytes.len() as u64).map_err(&disk)?;
        }
        if let Selector::Tag(tag) = selector {
            self.write(&self.tag_path(name, tag), digest.to_string().as_bytes()).map_err(&disk)?;
        }
        Ok((digest, subject))
    }

    /// Everything that a manifest needs must be in the same repository. The subject need not
    /// be: a signature may arrive before what it signs.
    fn check_parts(&self, name: &RepositoryName, content: &Content) -> Result<(), Refusal> {
        let disk = Refusal::disk("look for the manifest's parts");
        let missing = |kind: &str, digest: Digest| {
            let message = format!("the repository {name} does not have the {kind} {digest}");
            Err(Refusal::new(Code::ManifestBlobUnknown, message))
        };
        let blobs = content.config.iter().chain(content.layers.iter().flatten());
        for part in blobs.filter(|part| part.urls.as_ref().is_none_or(Vec::is_empty)) {
            if self.open_blob(name, &part.digest).map_err(&disk)?.is_none() {
                return missing("blob", part.digest);
            }
        }
        for part in content.manifests.iter().flatten() {
            let link = self.link_path(name, Link::Manifest, &part.digest);
            if !link.try_exists().map_err(&disk)? {
                return missing("manifest", part.digest);
            }
        }
        Ok(())
    }

    fn put_referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        content: Content,
        media_type: &str,
        digest: &Digest,
        size: u64,
    ) -> io::Result<()> {
        let config_type = content.config.map(|config| config.media_type);
        let referrer = Referrer {
            media_type: media_type.to_owned(),
            digest: *digest,
            size,
            artifact_type: content.artifact_type.or(config_type),
            annotations: content.annotations,
        };
        let path = self.referrers_path(name, subject).join(digest.hex());
        self.write(&path, &serde_json::to_vec(&referrer)?)
    }

    /// Reads a manifest by tag or digest.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`, and `UNKNOWN` if the bytes on the disk are no longer those that
    /// were pushed: a registry hands out nothing that it knows to be broken.
    pub(crate) fn manifest(&self, name: &RepositoryName, selector: &Selector) -> Result<Stored, Refusal> {
        let disk = Refusal::disk("read the manifest");
        let unknown = || {
            let what = match selector {
                Selector::Tag(tag) => format!("tag {tag}"),
                Selector::Digest(digest) => format!("manifest {digest}"),
            };
            Refusal::new(Code::ManifestUnknown, format!("the repository {name} has no {what}"))
        };
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(tag) => self.tag(name, tag).map_err(&disk)?.ok_or_else(unknown)?,
        };
        let link = self.link_path(name, Link::Manifest, &digest);
        let media_type = found(fs::read_to_string(link)).map_err(&disk)?.ok_or_else(unknown)?;
        let bytes = found(fs::read(self.blob_path(&digest))).map_err(&disk)?.ok_or_else(unknown)?;
        if Digest::of(&bytes) != digest {
            return Err(Refusal::new(Code::Unknown, format!("the stored manifest {digest} is damaged")));
        }
        Ok(Stored { digest, media_type, bytes })
    }

    /// Removes a tag, or a manifest with every tag that points at it. False if it was not there.
    pub(crate) fn delete_manifest(&self, name: &RepositoryName, selector: &Selector) -> io::Result<bool> {
        let digest = match selector {
            Selector::Tag(tag) => return remove(&self.tag_path(name, tag)),
            Selector::Digest(digest) => digest,
        };
        // The other way round than putting it: first what leads to it.
        for tag in self.tags(name)?.unwrap_or_default() {
            if self.tag(name, &tag)? == Some(*digest) {
                remove(&self.tag_path(name, &tag))?;
            }
        }
        if let Some(bytes) = found(fs::read(self.blob_path(digest)))?
            && let Ok(Content { subject: Some(subject), .. }) = serde_json::from_slice(&bytes)
        {
            remove(&self.referrers_path(name, &subject.digest).join(digest.hex()))?;
        }
        self.unlink(name, Link::Manifest, digest)
    }

    /// The tags of a repository, sorted; `None` if there is no such repository.
    pub(crate) fn tags(&self, name: &RepositoryName) -> io::Result<Option<Vec<Tag>>> {
        let repository = self.repository(name);
        let Some(entries) = found(fs::read_dir(repository.join("_tags")))? else {
            // A repository may exist without tags.
            let exists = ["_blobs", "_manifests"].iter().any(|kind| repository.join(kind).is_dir());
            return Ok(exists.then(Vec::new));
        };
        let mut tags = Vec::new();
        for entry in entries {
            // A file that is no tag was put there by hand; it is nobody's answer.
            if let Ok(tag) = entry?.file_name().to_string_lossy().parse() {
                tags.push(tag);
            }
        }
        tags.sort();
        Ok(Some(tags))
    }

    /// The descriptors of what refers to a manifest, sorted by digest.
    pub(crate) fn referrers(&self, name: &RepositoryName, subject: &Digest) -> io::Result<Vec<Referrer>> {
        let mut referrers: Vec<Referrer> = Vec::new();
        if let Some(entries) = found(fs::read_dir(self.referrers_path(name, subject)))? {
            for entry in entries {
                referrers.push(serde_json::from_slice(&fs::read(entry?.path())?)?);
            }
        }
        referrers.sort_by_key(|referrer| referrer.digest);
        Ok(referrers)
    }

    fn tag(&self, name: &RepositoryName, tag: &Tag) -> io::Result<Option<Digest>> {
        let Some(text) = found(fs::read_to_string(self.tag_path(name, tag)))? else {
            return Ok(None);
        };
        text.trim().parse().map(Some).map_err(io::Error::other)
    }

    fn tag_path(&self, name: &RepositoryName, tag: &Tag) -> std::path::PathBuf {
        self.repository(name).join("_tags").join(tag.as_str())
    }

    fn referrers_path(&self, name: &RepositoryName, subject: &Digest) -> std::path::PathBuf {
        self.repository(name).join("_referrers/sha256").join(subject.hex())
    }
}

/// Reads a manifest and refuses what two readers could understand differently
/// (CVE-2021-41190: the same bytes taken for an image by one and for an index by another).
fn parse(media_type: &str, bytes: &[u8]) -> Result<Content, Refusal> {
    let invalid = |reason: String| Refusal::new(Code::ManifestInvalid, reason);
    let content: Content =
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("the manifest is not valid: {error}")))?;
    if content.schema_version != 2 {
        return Err(invalid("only manifests of schemaVersion 2 are accepted".to_owned()));
    }
    if let Some(inner) = &content.media_type
        && inner != media_type
    {
        return Err(invalid(format!("sent as {media_type:?}, but the manifest says {inner:?}")));
    }
    match (&content.layers, &content.manifests, &content.config) {
        (Some(_), None, Some(_)) | (None, Some(_), None) => Ok(content),
        _ => Err(invalid("a manifest has a config and layers, an index has manifests; not a mixture".to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    #[test]
    fn a_manifest_is_an_image_or_an_index_and_says_so() {
        let part = format!(r#"{{"mediaType":"x","digest":"sha256:{}","size":1}}"#, "0".repeat(64));
        let image = format!(r#"{{"schemaVersion":2,"config":{part},"layers":[{part}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{part}]}}"#);
        assert!(parse(IMAGE, image.as_bytes()).is_ok());
        assert!(parse(INDEX, index.as_bytes()).is_ok());
        assert!(parse(IMAGE, index.as_bytes()).is_err());
        let both = format!(r#"{{"schemaVersion":2,"config":{part},"layers":[],"manifests":[{part}]}}"#);
        for bad in [&both, "{}", "[]", "", r#"{"schemaVersion":1}"#, r#"{"schemaVersion":2,"layers":[]}"#] {
            assert!(parse(IMAGE, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_manifest_whose_parts_are_missing_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open(root.path()).unwrap();
        let name: RepositoryName = "a".parse().unwrap();
        let config = storage.keep_bytes(b"{}").unwrap();
        let image =
            format!(r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{config}","size":2}},"layers":[]}}"#);
        let latest: Selector = "latest".parse().unwrap();
        // The bytes exist, but not in this repository.
        assert!(storage.put_manifest(&name, &latest, IMAGE, image.as_bytes()).is_err());
        storage.link(&name, &config).unwrap();
        let (digest, _) = storage.put_manifest(&name, &latest, IMAGE, image.as_bytes()).unwrap();
        assert_eq!(storage.manifest(&name, &latest).ok().unwrap().bytes, image.as_bytes());
        assert!(storage.delete_manifest(&name, &Selector::Digest(digest)).unwrap());
        assert!(storage.tags(&name).unwrap().unwrap().is_empty());
    }
}
