//! `enospc`: a disk that is full at any moment of any operation, and what still works on it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use rootfs::{DetachedMount, MountAttrFlags};

use crate::world::World;

/// A file system in memory, of 16 MiB. It is in no mount table, and gone with its descriptor.
struct Disk(DetachedMount);

impl Disk {
    fn new() -> Self {
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

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd()))
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: usize) {
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
fn with(operation: &str, free: usize) -> bool {
    let disk = Disk::new();
    let dir = disk.path();
    World::furnish(&dir, LENGTH);
    let place = format!("{operation} with {free} bytes free");
    disk.fill(free);
    // A new command on the full disk.
    let world = World::open(&dir);
    let done = world.operate(operation, &dir, LENGTH);
    let said = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(done.is_ok() || said.contains("ENOSPC") || said.contains("No space left"), "{place}: {said}");
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
    if !process::needs::root() {
        return;
    }
    for operation in ["load", "import", "commit"] {
        // A page more each time, from none to enough.
        let enough = (0..).step_by(3).find(|pages| with(operation, pages * 4096)).unwrap();
        assert!(enough > 30, "{operation}: {enough} pages were enough, so hardly a moment was tried");
    }
}

#[test]
fn what_gives_disk_back_needs_none() {
    if !process::needs::root() {
        return;
    }
    for operation in ["rmi", "gc"] {
        assert!(with(operation, 0), "{operation} did not work on a full disk");
    }
}

/// The check of the check: a store that keeps nothing in hand cannot take a name away.
#[test]
fn without_the_spare_room_nothing_could_be_removed() {
    if !process::needs::root() {
        return;
    }
    let disk = Disk::new();
    let dir = disk.path();
    World::furnish(&dir, LENGTH);
    fs::remove_file(dir.join("images/.spare")).unwrap();
    disk.fill(0);
    let world = World::open(Path::new(&dir));
    let refused = world.remove("top").unwrap_err().to_string();
    assert!(refused.contains("ENOSPC"), "{refused}");
    world.assert_whole("without room");
}
