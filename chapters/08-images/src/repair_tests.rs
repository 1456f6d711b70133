#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use super::*;
use crate::builtin;
use crate::image::Image;

struct World {
    dir: tempfile::TempDir,
    store: Store,
    snapshots: Snapshots,
    image: Image,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    let image = builtin::ensure(builtin::HELLO, &store, &snapshots).unwrap().unwrap();
    World { dir, store, snapshots, image }
}

impl World {
    fn check(&self) -> (Verified, VerifiedLayers) {
        let layers = self.store.verify_layers(&self.snapshots, &self.dir.path().join("scratch")).unwrap();
        (self.store.verify().unwrap(), layers)
    }

    /// Repairs with a registry that has this image, as it was pulled from there.
    fn repair(&self) -> Mended {
        let fetch = |_: &Reference, _: &Descriptor| {
            let elsewhere = tempfile::tempdir().unwrap();
            let registry = Store::open(elsewhere.path()).unwrap();
            builtin::make(builtin::HELLO, &registry).unwrap();
            let image = &self.image;
            for digest in [&image.target.digest, &image.id, &image.manifest.layers[0].digest] {
                self.store.put_as(digest, &registry.blob_bytes(digest, 1 << 20).unwrap()).unwrap();
            }
            Ok(())
        };
        let (found, layers) = self.check();
        let repair = Repair { snapshots: &self.snapshots, fetch: &fetch, standing: &BTreeSet::new() };
        repair.run(&self.store, &found, &layers).unwrap()
    }

    fn is_sound(&self) -> bool {
        let (blobs, layers) = self.check();
        blobs.damaged.is_empty() && blobs.missing.is_empty() && layers.damaged.is_empty() && layers.unknown.is_empty()
    }
}

/// All regular files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

/// `bitrot`: a byte is flipped in each part of each blob and of each extracted file, one after the other.
#[test]
fn every_flipped_byte_is_found_and_healed() {
    let world = world();
    assert!(world.is_sound());
    let mut flipped = 0;
    let parts = [world.store.dir().join("blobs"), world.dir.path().join("layers/sha256")];
    for path in parts.iter().flat_map(|part| files(part)) {
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        // Every place of a small file, and twenty of a large one.
        for at in (0..length).step_by(length.div_ceil(20).max(1)) {
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            assert!(!world.is_sound(), "byte {at} of {} was flipped, and nothing was found", path.display());
            let mended = world.repair();
            assert_eq!(mended.lost, BTreeMap::new(), "byte {at} of {}", path.display());
            assert!(world.is_sound(), "byte {at} of {} was not healed", path.display());
            flipped += 1;
        }
    }
    assert!(flipped > 80, "{flipped} places are too few to mean anything");
}

#[test]
fn what_nobody_has_is_named_and_the_rest_is_healed() {
    let world = world();
    let image = &world.image;
    let fetch = |name: &Reference, _: &Descriptor| Err(format!("{name}: the registry does not answer"));
    let repair = Repair { snapshots: &world.snapshots, fetch: &fetch, standing: &BTreeSet::new() };
    let run = || {
        let (found, layers) = world.check();
        repair.run(&world.store, &found, &layers).unwrap()
    };
    // Of its archive this engine wrote every byte, so it needs nobody to write them again.
    let layer = image.manifest.layers[0].digest;
    fs::write(world.store.blob_path(&layer), b"spoilt").unwrap();
    assert_eq!(run(), Mended { blobs: vec![layer], ..Mended::default() });
    fs::write(world.store.blob_path(&image.id), b"{}").unwrap();
    let mended = run();
    assert_eq!(mended.lost.keys().collect::<Vec<_>>(), [&image.id.to_string()]);
    assert!(mended.lost[&image.id.to_string()].contains("does not answer"));
    // The name stays, so that it can be pulled again.
    assert!(world.store.list().unwrap()[0].reference.is_some());
}

#[test]
fn a_layer_under_a_running_container_is_left_alone() {
    let world = world();
    let layer = world.image.diff_ids()[0];
    let file = files(&world.snapshots.dir(&layer)).remove(0);
    fs::write(&file, b"spoilt").unwrap();
    let (found, layers) = world.check();
    assert_eq!(layers.damaged, [layer]);
    let repair = Repair { snapshots: &world.snapshots, fetch: &|_, _| Ok(()), standing: &BTreeSet::from([layer]) };
    let mended = repair.run(&world.store, &found, &layers).unwrap();
    assert!(mended.layers.is_empty() && mended.lost.len() == 1);
    assert_eq!(fs::read(&file).unwrap(), b"spoilt");
}
