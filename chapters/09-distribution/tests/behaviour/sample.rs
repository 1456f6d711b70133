//! Small images made on the spot: the same input, the same digests, everywhere.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use images::{Descriptor, Image, Manifest, Reference, Store, media};
use layers::Digest;
use serde_json::json;

/// A layer's files, by name and content.
pub(crate) type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Makes an image of plain layers, whose digests depend on no compressor, and names it.
pub(crate) fn image(store: &Store, name: &Reference, layers: &[Files]) -> Image {
    packed(store, name, layers, media::OCI_LAYER, <[u8]>::to_vec)
}

fn packed(store: &Store, name: &Reference, layers: &[Files], media_type: &str, pack: fn(&[u8]) -> Vec<u8>) -> Image {
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for files in layers {
        let archive = archive(files);
        diff_ids.push(Digest::of(&archive));
        let blob = pack(&archive);
        store.put(&blob).unwrap();
        descriptors.push(Descriptor::of(media_type, &blob));
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/hello"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    store.put(&config).unwrap();
    let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), descriptors).to_bytes();
    store.put(&manifest).unwrap();
    let target = Descriptor::of(media::OCI_MANIFEST, &manifest);
    store.tag(name, &target).unwrap();
    store.image(&target).unwrap()
}

/// Three compressed layers, of which the second is larger than any buffer on the way.
pub(crate) fn three_layers(store: &Store, name: &Reference) -> Image {
    let noise = noise(3 << 20);
    let layers: &[Files] = &[&[("etc/motd", b"hello\n")], &[("data", &noise)], &[("etc/last", b"third\n")]];
    packed(store, name, layers, media::OCI_LAYER_GZIP, gzip)
}

/// Bytes that do not compress, from a fixed seed.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8)).flat_map(|_| next()).take(size).collect()
}

/// An uncompressed archive.
pub(crate) fn archive(files: Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, Path::new(name), *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The same bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
