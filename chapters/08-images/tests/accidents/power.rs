//! `powercut`: the power goes at any moment of any operation, and right after each said "done".
//!
//! The disk is a file, an ext4 on a loop device: its bytes at a moment are what a disk would hold whose machine loses
//! power right then. Pictures of them are taken while an operation goes on. Afterwards each is mounted, which replays the
//! journal as a boot would.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::disk::{Disk, Picture};
use crate::operations::{self, Scene};
use crate::world::World;

const LENGTH: usize = 20_000;

fn names(world: &World) -> Vec<String> {
    let names = world.store.list().unwrap().into_iter().filter_map(|named| Some(named.reference?.familiar()));
    names.collect()
}

/// The powerless disk: images absent or whole, the next command works, a prune leaves nothing over.
fn boot(picture: &Picture, operation: &str, place: &str) -> Vec<String> {
    let after = picture.boot();
    let dir = after.path();
    let world = World::open(&dir);
    world.assert_whole(place);
    world.store.find("base").unwrap();
    let found = names(&world);
    world.assert_no_orphans(&dir, place);
    operations::operate(&world, operation, &dir, LENGTH).unwrap_or_else(|error| panic!("{place}: {error}"));
    world.assert_whole(place);
    operations::assert_whole_elsewhere(operation, &dir, place);
    found
}

/// Pictures of a disk from before an operation until after it, each different from the one before.
fn pictures(disk: &Disk, operate: impl FnOnce() + Send) -> Vec<Picture> {
    let mut pictures = vec![disk.picture()];
    std::thread::scope(|scope| {
        let operation = scope.spawn(operate);
        loop {
            let over = operation.is_finished();
            let picture = disk.picture();
            if pictures.last() != Some(&picture) {
                pictures.push(picture);
            }
            if over {
                return operation.join().unwrap();
            }
        }
    });
    pictures
}

#[test]
fn what_was_said_to_be_done_survives_and_what_was_not_is_absent_or_whole() {
    let able = process::needs::root() && process::needs::loop_devices();
    if !able || !process::needs::program("mkfs.ext4") || !process::needs::program("losetup") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let Some(scene) = Scene::new(LENGTH) else { return };
    for (operation, _) in operations::ALL {
        let image = place.path().join(operation);
        let disk = Disk::new(image.clone(), 48 << 20);
        let dir = disk.path();
        scene.furnish(operation, &dir, LENGTH);
        let operate = || operations::operate(&World::open(&dir), operation, &dir, LENGTH).unwrap();
        let pictures = pictures(&disk, operate);
        let mut names = Vec::new();
        for (number, picture) in pictures.iter().enumerate() {
            names = boot(picture, operation, &format!("{operation}, picture {number}"));
        }
        let done = operations::is_done(operation, &names);
        assert!(done, "{operation} was done before the power went, and is not: {names:?}");
        drop(disk);
        fs::remove_file(&image).unwrap();
    }
}
