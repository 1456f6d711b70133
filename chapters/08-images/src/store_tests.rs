#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};

use layers::DiffId;

use super::*;
use crate::config::{ImageConfig, RootFs};
use crate::gc::Collected;
use crate::manifest::Manifest;
use crate::media;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

/// An image of one layer, whose bytes are `layer`.
fn image(store: &Store, layer: &[u8]) -> Descriptor {
    let (digest, size) = store.put(layer).unwrap();
    let config = ImageConfig {
        architecture: Platform::host().architecture,
        os: "linux".into(),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![DiffId(digest)] },
        ..ImageConfig::default()
    };
    let config = config.to_bytes();
    store.put(&config).unwrap();
    let layer = Descriptor::new(media::OCI_LAYER, digest, size);
    let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), vec![layer]).to_bytes();
    store.put(&manifest).unwrap();
    Descriptor::of(media::OCI_MANIFEST, &manifest)
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn a_blob_is_read_as_it_was_written_and_leaves_no_temporary_file() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"staves").unwrap();
    assert!(!store.has(&Digest::of(b"staves")));
    let (digest, size) = writer.commit(None).unwrap();
    assert_eq!((digest, size), (Digest::of(b"staves"), 6));
    assert_eq!(store.blob_bytes(&digest, 6).unwrap(), b"staves");
    assert!(matches!(store.blob_bytes(&digest, 5), Err(Error::Blob { .. })));
    drop(store.writer().unwrap());
    assert_eq!(fs::read_dir(store.dir().join("tmp")).unwrap().count(), 0);
}

#[test]
fn other_bytes_than_promised_are_not_committed() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"staves").unwrap();
    assert!(writer.commit(Some(&Digest::of(b"hoops"))).is_err());
    assert_eq!(blob_directories(&store).unwrap(), []);
}

#[test]
fn a_flipped_byte_on_disk_is_found_by_whoever_reads() {
    let (_dir, store) = store();
    let (digest, _) = store.put(b"staves").unwrap();
    fs::write(store.blob_path(&digest), b"stavez").unwrap();
    let mut bytes = Vec::new();
    assert!(store.blob(&digest).unwrap().read_to_end(&mut bytes).is_err());
    assert!(matches!(store.blob_bytes(&digest, 100), Err(Error::Transfer { .. })));
}

#[test]
fn what_a_killed_writer_left_is_swept_and_a_living_ones_file_is_not() {
    let (_dir, store) = store();
    fs::write(store.dir().join("tmp/abandoned"), b"half").unwrap();
    let mut living = store.writer().unwrap();
    living.write_all(b"staves").unwrap();
    let again = Store::open(store.dir()).unwrap();
    assert_eq!(fs::read_dir(again.dir().join("tmp")).unwrap().count(), 1);
    living.commit(None).unwrap();
}

#[test]
fn a_name_is_found_moved_and_taken_away() {
    let (_dir, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    store.tag(&name("app"), &one).unwrap();
    store.tag(&name("app:v1"), &one).unwrap();
    store.tag(&name("app"), &two).unwrap();
    assert_eq!(store.resolve(&name("app")).unwrap().unwrap().target, two);
    assert_eq!(store.resolve(&name("app:v1")).unwrap().unwrap().target, one);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(store.untag(&name("app")).unwrap(), Some(two));
    assert_eq!(store.untag(&name("app")).unwrap(), None);
    assert_eq!(store.resolve(&name("app")).unwrap(), None);
}

#[test]
fn an_image_whose_only_name_moved_stays_until_it_is_forgotten() {
    let (_dir, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    store.tag(&name("app"), &one).unwrap();
    store.tag(&name("app"), &two).unwrap();
    let dangling = Named { reference: None, target: one.clone() };
    assert!(store.list().unwrap().contains(&dangling));
    store.tag(&name("old"), &one).unwrap();
    assert!(!store.list().unwrap().contains(&dangling));
    assert_eq!(store.forget(&one.digest).unwrap(), [name("old")]);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn an_image_is_found_by_name_by_id_and_by_the_beginning_of_an_id() {
    let (_dir, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    store.tag(&name("app"), &one).unwrap();
    store.tag(&name("user/tool:2"), &two).unwrap();
    let id = store.find("app").unwrap().id;
    for text in ["app", "docker.io/library/app:latest", &id.to_string(), &id.hex(), &id.short()] {
        assert_eq!(store.find(text).unwrap().id, id, "{text}");
    }
    let pinned = format!("app@{}", one.digest);
    assert_eq!(store.find(&pinned).unwrap().id, id);
    for text in ["nothing", "../../etc", "", "fffffffffffffff"] {
        assert!(matches!(store.find(text), Err(Error::NoImage(_))), "{text}");
    }
}

#[test]
fn a_prefix_of_two_ids_is_ambiguous() {
    let (_dir, store) = store();
    // Seventeen images have sixteen first digits between them.
    for n in 0..17 {
        let target = image(&store, &[n]);
        store.tag(&name(&format!("x/app{n}")), &target).unwrap();
    }
    let ambiguous =
        "0123456789abcdef".chars().filter(|c| matches!(store.find(&c.to_string()), Err(Error::Ambiguous { .. })));
    assert!(ambiguous.count() > 0);
}

#[test]
fn gc_removes_what_nothing_names_and_waits_for_leases() {
    let (_dir, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    let index = Index::new(vec![Descriptor { platform: Some(Platform::host()), ..one.clone() }]).to_bytes();
    store.put(&index).unwrap();
    store.tag(&name("multi"), &Descriptor::of(media::OCI_INDEX, &index)).unwrap();

    let lease = store.lease().unwrap();
    assert!(store.gc().unwrap().postponed);
    drop(lease);

    let collected = store.gc().unwrap();
    assert_eq!(collected.blobs.len(), 3, "config, layer and manifest of the second");
    assert!(!store.has(&two.digest));
    assert_eq!(store.find("multi").unwrap().manifest_descriptor.digest, one.digest);
    assert_eq!(store.gc().unwrap(), Collected::default());
}

#[test]
fn an_artifact_is_no_image_and_layers_must_match_diff_ids() {
    let (_dir, store) = store();
    let config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
    store.put(config).unwrap();
    let (layer, _) = store.put(b"x").unwrap();
    for (media_type, message) in
        [("application/vnd.cncf.helm.config.v1+json", "not a container image"), (media::OCI_CONFIG, "0 diff ids")]
    {
        let layers = vec![Descriptor::new(media::OCI_LAYER, layer, 1)];
        let manifest = Manifest::new(Descriptor::of(media_type, config), layers).to_bytes();
        store.put(&manifest).unwrap();
        let error = store.image(&Descriptor::of(media::OCI_MANIFEST, &manifest)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_directory_that_is_no_layout_or_a_later_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::open_existing(dir.path()).is_err());
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(Store::open(dir.path()).is_err());
    fs::write(dir.path().join("oci-layout"), "{").unwrap();
    assert!(Store::open(dir.path()).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn bytes_are_stored_under_the_algorithm_of_the_digest_that_they_came_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut hasher = layers::Hasher::like(&format!("sha512:{}", "0".repeat(128)).parse().unwrap());
    hasher.update(b"bytes");
    let digest = hasher.finish();
    store.put_as(&digest, b"bytes").unwrap();
    assert_eq!(store.blob_bytes(&digest, 10).unwrap(), b"bytes");
    assert!(store.put_as(&layers::Digest::of(b"other"), b"bytes").is_err());
}

#[test]
fn a_manifest_that_cannot_be_read_now_ends_the_collection_before_anything_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = crate::builtin::make(crate::builtin::HELLO, &store).unwrap();
    let path = store.blob_path(&image.manifest_descriptor.digest);
    // A directory opens, and reading it fails: EISDIR, for root too.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    store.gc().unwrap_err();
    assert!(store.has(&image.manifest.layers[0].digest) && store.has(&image.id));
}
