//! `enospc`: a disk that is full at any moment of any operation, and what still works on it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rootfs::{DetachedMount, MountAttrFlags};

use crate::operations::{self, Scene};
use crate::world::World;

/// A file system in memory, of 16 MiB. It is in no mount table, and gone with its descriptor.
pub(crate) struct Disk(DetachedMount);

impl Disk {
    pub(crate) fn new() -> Self {
        Self(
            DetachedMount::filesystem(
                "tmpfs",
                "tmpfs",
                &[("size".to_owned(), Some("16m".to_owned()))],
                MountAttrFlags::empty(),
            )
            .unwrap(),
        )
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd()))
    }

    /// Leaves `free` bytes.
    pub(crate) fn fill(&self, free: usize) {
        let mut ballast = fs::File::create(self.path().join("ballast")).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
        let full = ballast.metadata().unwrap().len();
        ballast.set_len(full - (full % 4096) - free as u64).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

const LENGTH: usize = 40_000;

/// With so little room: how the operation ended, and that everything else still works.
fn with(scene: &Scene, operation: &str, free: usize) -> bool {
    let disk = Disk::new();
    let dir = disk.path();
    scene.furnish(operation, &dir, LENGTH);
    let place = format!("{operation} with {free} bytes free");
    disk.fill(free);
    // A new command on the full disk.
    let world = World::open(&dir);
    let done = operations::operate(&world, operation, &dir, LENGTH);
    let said = done.as_ref().err().cloned().unwrap_or_default();
    let why = ["ENOSPC", "No space left", "and the disk has "].iter().any(|words| said.contains(words));
    assert!(done.is_ok() || why, "{place}: {said}");
    operations::assert_whole_elsewhere(operation, &dir, &place);
    world.assert_whole(&place);

    // Now without a single free block.
    fs::remove_file(dir.join("ballast")).unwrap();
    disk.fill(0);
    let world = World::open(&dir);
    assert!(world.store.list().unwrap().len() >= 2 || operation == "rmi", "{place}");
    world.store.find("base").unwrap();
    world.remove("base").unwrap_or_else(|error| panic!("{place}: rmi on a full disk: {error}"));
    world.assert_whole(&place);
    world.assert_no_orphans(&dir, &place);
    disk.make_room();
    World::open(&dir).assert_no_orphans(&dir, &place);
    done.is_ok()
}

#[test]
fn a_full_disk_stops_an_image_from_coming_and_none_from_being_seen_or_removed() {
    let Some(scene) = Scene::new(LENGTH) else { return };
    for operation in operations::TAKING {
        // A few pages more each time, from none to enough.
        let enough = (0..).step_by(3).find(|pages| with(&scene, operation, pages * 4096)).unwrap();
        assert!(enough > 30, "{operation}: {enough} pages were enough, so hardly a moment was tried");
    }
}

#[test]
fn what_takes_no_disk_needs_none() {
    let Some(scene) = Scene::new(LENGTH) else { return };
    for operation in operations::FRUGAL {
        assert!(with(&scene, operation, 0), "{operation} did not work on a full disk");
    }
}
