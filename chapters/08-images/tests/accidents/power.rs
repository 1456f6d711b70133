//! `powercut`: the power goes at any moment of any operation, and right after each said "done".
//!
//! The disk is a file, an ext4 on a loop device: its bytes at a moment are what a disk would hold whose machine loses
//! power right then. They are copied, and the copy is mounted, which replays the journal as a boot would.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::Disk;
use crate::operations::{self, Scene};
use crate::world::World;

const LENGTH: usize = 20_000;

fn names(world: &World) -> Vec<String> {
    let names = world.store.list().unwrap().into_iter().filter_map(|named| Some(named.reference?.familiar()));
    names.collect()
}

/// The powerless disk: images absent or whole, the next command works, a prune leaves nothing over.
fn boot(disk: &Disk, operation: &str, place: &str) -> Vec<String> {
    let after = disk.after_a_power_cut();
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
        // Pictures of the disk while it goes on.
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                operations::operate(&World::open(&dir), operation, &dir, LENGTH).unwrap();
                over.store(true, Ordering::Release);
            });
            for picture in 0.. {
                let last = over.load(Ordering::Acquire);
                let names = boot(&disk, operation, &format!("{operation}, picture {picture}"));
                if last {
                    let expected = operations::is_done(operation, &names);
                    assert!(expected, "{operation} was done before the power went, and is not: {names:?}");
                    break;
                }
            }
        });
        drop(disk);
        fs::remove_file(&image).unwrap();
    }
}
