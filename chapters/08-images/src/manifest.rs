//! Manifests and indexes: what an image is made of, and for whom.

use indexmap::IndexMap;
use layers::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::{Descriptor, Platform};
use crate::error::{Error, Result};
use crate::media;

/// The most bytes that a manifest, an index or a config may have: registries refuse larger manifests too.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// One image: its config, and its layers from the lowest to the topmost.
///
/// # References
/// OCI image specification, manifest.md; Docker image manifest version 2, schema 2
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is; OCI tools before 1.1 left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Notes by the image's author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<IndexMap<String, String>>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Manifest {
    /// A new OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config,
            layers,
            annotations: None,
            other: Map::new(),
        }
    }

    /// The document's bytes, as a *new* manifest is stored. A fetched one keeps the bytes it came in.
    pub fn to_bytes(&self) -> Vec<u8> {
        json_bytes(self)
    }
}

/// One name, several images: one for each platform.
///
/// # References
/// OCI image specification, image-index.md; Docker manifest list
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images.
    pub manifests: Vec<Descriptor>,
    /// Notes by the index's author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<IndexMap<String, String>>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Index {
    /// A new OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.to_owned()),
            manifests,
            annotations: None,
            other: Map::new(),
        }
    }

    /// The manifest that suits `machine` best.
    ///
    /// Entries without a platform are taken only if they are alone: attestations hide among the manifests
    /// as `unknown/unknown`.
    pub fn select(&self, machine: &Platform) -> Option<&Descriptor> {
        let best = self
            .manifests
            .iter()
            .filter_map(|entry| Some((entry.platform.as_ref()?.fits(machine)?, entry)))
            .min_by_key(|(distance, _)| *distance);
        match (best, &self.manifests[..]) {
            (Some((_, entry)), _) => Some(entry),
            (None, [only]) if only.platform.is_none() => Some(only),
            _ => None,
        }
    }

    /// The document's bytes, as a *new* index is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        json_bytes(self)
    }
}

/// What a name can point to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index whose digest was already verified.
    ///
    /// `media_type` is what the descriptor or the registry's `Content-Type` said. A document must be what was
    /// promised, must say so itself if it says anything, and must not be *both*: bytes that one tool reads as
    /// an image and another as an index let one signature cover two contents (CVE-2021-41190).
    ///
    /// # Errors
    /// Malformed JSON (with line and column), a wrong or ambiguous type, Docker's schema 1.
    ///
    /// # References
    /// OCI image specification, manifest.md, "mediaType"
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self> {
        let digest = Digest::of(bytes);
        let refuse = |reason: String| Error::Document { digest, reason };
        let schema1 = || {
            refuse(
                "it is a Docker schema 1 manifest, deprecated since 2017; ask its owner to push the image again".into(),
            )
        };
        if matches!(media_type, media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED) {
            return Err(schema1());
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
            return Err(schema1());
        }
        if shape.schema_version != Some(2) {
            return Err(refuse("schemaVersion is not 2".into()));
        }
        if let Some(own) = &shape.media_type
            && own != media_type
        {
            return Err(refuse(format!("it was announced as {media_type} and says that it is {own}")));
        }
        if shape.manifests.is_some() && (shape.config.is_some() || shape.layers.is_some()) {
            return Err(refuse("it has the fields of a manifest and of an index".into()));
        }
        let malformed = |error: serde_json::Error| refuse(error.to_string());
        if media::is_manifest(media_type) {
            serde_json::from_slice(bytes).map(Self::Manifest).map_err(malformed)
        } else if media::is_index(media_type) {
            serde_json::from_slice(bytes).map(Self::Index).map_err(malformed)
        } else {
            Err(refuse(format!("{media_type} is neither a manifest nor an index")))
        }
    }
}

/// The fields that tell kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// JSON of a document made of strings, numbers and maps with string keys, which cannot fail.
pub(crate) fn json_bytes<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> Descriptor {
        Descriptor::of(media_type, b"{}")
    }

    fn refusal(text: &str, media_type: &str) -> String {
        Document::parse(text.as_bytes(), media_type).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_and_an_index_read_back() {
        let manifest = Manifest::new(descriptor(media::OCI_CONFIG), vec![descriptor(media::OCI_LAYER_GZIP)]);
        let read = Document::parse(&manifest.to_bytes(), media::OCI_MANIFEST).unwrap();
        assert_eq!(read, Document::Manifest(manifest));
        let index = Index::new(vec![descriptor(media::OCI_MANIFEST)]);
        let read = Document::parse(&index.to_bytes(), media::OCI_INDEX).unwrap();
        assert_eq!(read, Document::Index(index));
    }

    #[test]
    fn a_document_that_is_not_what_was_announced_is_refused() {
        let index = String::from_utf8(Index::new(Vec::new()).to_bytes()).unwrap();
        assert!(refusal(&index, media::OCI_MANIFEST).contains("says that it is"));
        let both = r#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}"#;
        for announced in [media::OCI_MANIFEST, media::OCI_INDEX] {
            assert!(refusal(both, announced).contains("of a manifest and of an index"));
        }
        assert!(refusal(r#"{"schemaVersion":2}"#, "text/html").contains("neither"));
    }

    #[test]
    fn schema_1_is_refused_with_a_clear_word() {
        for (text, announced) in [
            (r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#, media::OCI_MANIFEST),
            ("{}", media::DOCKER_SCHEMA1_SIGNED),
        ] {
            assert!(refusal(text, announced).contains("schema 1"));
        }
    }

    #[test]
    fn malformed_json_says_where() {
        assert!(refusal("{\n  \"schemaVersion\": 2,\n  oops", media::OCI_MANIFEST).contains("line 3 column"));
    }

    #[test]
    fn an_index_gives_the_manifest_of_the_machine_and_never_an_attestation() {
        let with = |platform: &str, size| Descriptor {
            platform: Some(platform.parse().unwrap()),
            size,
            ..descriptor(media::OCI_MANIFEST)
        };
        let index = Index::new(vec![
            with("unknown/unknown", 1),
            with("linux/arm/v6", 2),
            with("linux/arm/v7", 3),
            with("linux/amd64", 4),
        ]);
        let size = |platform: &str| index.select(&platform.parse().unwrap()).map(|entry| entry.size);
        assert_eq!(size("linux/amd64"), Some(4));
        assert_eq!(size("linux/arm/v7"), Some(3));
        assert_eq!(size("linux/riscv64"), None);
    }
}
