//! What the room that a store keeps in hand is good for.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use crate::full::Disk;
use crate::world::World;

/// The check of the check: a store that keeps nothing in hand cannot take a name away.
#[test]
fn without_the_spare_room_nothing_could_be_removed() {
    if !process::needs::root() {
        return;
    }
    let disk = Disk::new();
    let dir = disk.path();
    World::furnish(&dir, 40_000);
    fs::remove_file(dir.join("images/.spare")).unwrap();
    disk.fill(0);
    let world = World::open(Path::new(&dir));
    let refused = world.remove("top").unwrap_err().to_string();
    assert!(refused.contains("ENOSPC"), "{refused}");
    world.assert_whole("without room");
}
