#![allow(clippy::unwrap_used)]

use std::path::Path;

use layers::{Attributes, Tarball};

use super::*;
use crate::descriptor::Platform;
use crate::image::Image;
use crate::import::{Imported, import};

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    snapshots: Snapshots,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    World { _dir: dir, store, snapshots }
}

impl World {
    /// An image of one file, imported under this name.
    fn image(&self, name: &str) -> Image {
        let owner = Attributes {
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            ..Attributes::plain(0o644)
        };
        let mut archive = Tarball::new(Vec::new());
        archive.file(Path::new(name), 4, &owner, &b"data"[..]).unwrap();
        let about = Imported {
            created: "2020-01-01T00:00:00Z".into(),
            message: "Imported from -".into(),
            platform: Platform::host(),
            name: Some(name.parse().unwrap()),
            config: ImageConfig::default(),
        };
        import(&self.store, &self.snapshots, &archive.finish().unwrap()[..], about).unwrap()
    }

    fn collect(&self, among: Option<&Parts>, in_use: &[DiffId]) -> Collected {
        let in_use: HashSet<DiffId> = in_use.iter().copied().collect();
        self.store.collect::<Error>(&self.snapshots, among, || Ok(in_use)).unwrap()
    }
}

#[test]
fn an_imported_image_is_whole_and_its_layer_is_compressed() {
    let world = world();
    let image = world.image("one");
    assert_eq!(world.store.find("one").unwrap(), image);
    assert_eq!(image.manifest.layers[0].media_type, crate::media::OCI_LAYER_GZIP);
    assert_eq!(fs::read(world.snapshots.dir(&image.diff_ids()[0]).join("one")).unwrap(), b"data");
    assert_eq!(image.config.history[0].comment.as_deref(), Some("Imported from -"));
    assert!(world.store.verify().unwrap().damaged.is_empty());
}

#[test]
fn an_archive_keeps_its_own_compression_and_a_foreign_one_is_named() {
    let world = world();
    let plain = world.image("one");
    let bytes = world.store.blob_bytes(&plain.manifest.layers[0].digest, 1 << 20).unwrap();
    let about = Imported {
        created: "2020-01-01T00:00:00Z".into(),
        message: String::new(),
        platform: Platform::host(),
        name: None,
        config: ImageConfig::default(),
    };
    let again = import(&world.store, &world.snapshots, &bytes[..], about.clone()).unwrap();
    assert_eq!((again.diff_ids(), &again.manifest.layers), (plain.diff_ids(), &plain.manifest.layers));
    let refused = import(&world.store, &world.snapshots, &b"\xfd7zXZ\0..."[..], about).unwrap_err().to_string();
    assert!(refused.contains("compressed with xz"), "{refused}");
}

#[test]
fn layers_go_with_their_image_unless_a_container_or_a_lease_needs_them() {
    let world = world();
    let (one, two) = (world.image("one"), world.image("two"));
    let parts = world.store.parts(&one.target).unwrap();
    world.store.forget(&one.target.digest).unwrap();

    let lease = world.store.lease().unwrap();
    assert!(world.collect(Some(&parts), &[]).postponed);
    drop(lease);
    // A container stands on the layer: the documents go, the files stay.
    let collected = world.collect(Some(&parts), one.diff_ids());
    assert_eq!((collected.blobs.len(), collected.layers.len()), (3, 0));
    let collected = world.collect(None, &[]);
    assert_eq!(collected.layers, one.diff_ids());
    assert!(collected.bytes > 0);
    assert!(world.snapshots.has(&two.diff_ids()[0]) && world.store.find("two").is_ok());
}

#[test]
fn what_is_asked_for_is_asked_while_nothing_can_come_into_use() {
    let world = world();
    let image = world.image("one");
    world.store.forget(&image.target.digest).unwrap();
    let locked = || -> Result<_, Error> {
        let lease = File::open(world.store.dir().join(".lease")).unwrap();
        assert!(matches!(lease.try_lock_shared(), Err(TryLockError::WouldBlock)));
        Ok(HashSet::from([image.diff_ids()[0]]))
    };
    assert_eq!(world.store.collect(&world.snapshots, None, locked).unwrap().layers, []);
    // A caller that does not know keeps everything.
    let unknown = || Err(Error::NoImage("?".into()));
    world.store.collect::<Error>(&world.snapshots, None, unknown).unwrap_err();
    assert!(world.snapshots.has(&image.diff_ids()[0]));
}

#[test]
fn a_config_that_cannot_be_read_spares_every_layer() {
    let world = world();
    let (one, two) = (world.image("one"), world.image("two"));
    fs::write(world.store.blob_path(&one.id), b"spoilt").unwrap();
    world.store.forget(&two.target.digest).unwrap();
    let collected = world.collect(None, &[]);
    assert_eq!((collected.blobs.len(), collected.layers.len()), (3, 0));
    assert!(world.snapshots.has(&one.diff_ids()[0]));
}
