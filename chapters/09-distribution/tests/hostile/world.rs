//! What an honest registry would have: one image of one layer, and how to spoil it.

use images::{Descriptor, Manifest, Platform, media};
use layers::{DiffId, Digest};
use serde_json::{Value, json};

use crate::sample;
use crate::server::{Act, Asked, whole};

/// The documents and the blob of an image.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) manifest_type: String,
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

impl World {
    pub(crate) fn honest() -> World {
        World::of_archive(&sample::archive(&[("data", &sample::noise(300_000))]))
    }

    /// An image of this archive.
    pub(crate) fn of_archive(archive: &[u8]) -> World {
        World::of(sample::gzip(archive), &Digest::of(archive))
    }

    /// An image of this blob, which claims to be that archive.
    pub(crate) fn of(layer: Vec<u8>, diff_id: &Digest) -> World {
        let architecture = Platform::host().architecture;
        let diff_ids = [DiffId(*diff_id)];
        let config = json!({ "architecture": architecture, "os": "linux",
                             "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let parts = vec![Descriptor::of(media::OCI_LAYER_GZIP, &layer)];
        let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), parts).to_bytes();
        World { manifest_type: media::OCI_MANIFEST.to_owned(), manifest, config, layer }
    }

    /// The same with another config, whose descriptor is right.
    pub(crate) fn with_config(mut self, config: &[u8]) -> World {
        let descriptor = serde_json::to_value(Descriptor::of(media::OCI_CONFIG, config)).unwrap();
        self.config = config.to_vec();
        self.manifest(|manifest| manifest["config"] = descriptor)
    }

    /// The same with a manifest that says something else.
    pub(crate) fn manifest(mut self, change: impl FnOnce(&mut Value)) -> World {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    /// The same with other bytes for a manifest.
    pub(crate) fn document(mut self, media_type: &str, bytes: &[u8]) -> World {
        (self.manifest_type, self.manifest) = (media_type.to_owned(), bytes.to_vec());
        self
    }

    pub(crate) fn is_layer(&self, asked: &Asked) -> bool {
        asked.target.contains(Digest::of(&self.layer).hex().as_str())
    }

    pub(crate) fn is_config(&self, asked: &Asked) -> bool {
        asked.target.contains(Digest::of(&self.config).hex().as_str())
    }

    /// What an honest registry answers.
    pub(crate) fn answer(&self, asked: &Asked) -> Act {
        if asked.target.contains("/manifests/") {
            return whole("200 OK", &[&format!("Content-Type: {}", self.manifest_type)], &self.manifest);
        }
        if self.is_layer(asked) {
            return match asked.range {
                Some(from) => {
                    let (length, from_byte) = (self.layer.len(), usize::try_from(from).unwrap());
                    let range = format!("Content-Range: bytes {from}-{}/{length}", length - 1);
                    whole("206 Partial Content", &[&range], &self.layer[from_byte..])
                }
                None => whole("200 OK", &[], &self.layer),
            };
        }
        if self.is_config(asked) {
            return whole("200 OK", &[], &self.config);
        }
        whole("404 Not Found", &[], b"{}")
    }
}
