//! `kill-sweep`: SIGKILL at each call that changes the disk, of each operation.
//!
//! The test runs itself again, as a child under `strace`, which kills it at the n-th such call; for every n, until the child
//! comes through. So the points are the kernel's and not ours: none can be forgotten. strace counts for each thread by
//! itself, so what a thread does late is reached only where no other has done as much: such parts are operations, too.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use crate::operations::{self, Scene};
use crate::world::World;

/// What the child reads its part from: `OPERATION DIRECTORY`. Only this test knows it.
const PART: &str = "ACCIDENT_CHILD";

/// The calls that change a disk, each the point of a sweep of its own, and how many are passed over from one point to
/// the next. Those with a question mark are not on every machine.
const CALLS: [(&str, usize); 11] = [
    ("?rename", 1),
    ("?renameat", 1),
    ("renameat2", 1),
    ("?unlink", 1),
    ("unlinkat", 1),
    ("fsync", 1),
    ("fdatasync", 1),
    ("syncfs", 1),
    ("?mkdir", 4),
    ("mkdirat", 1),
    ("write", 5),
];

/// More calls of one kind than any operation makes.
const MOST: usize = 3000;

const LENGTH: usize = 3000;

/// One child, killed at its `n`-th call of this kind, and what the next command finds. `false` if the child came through.
fn killed(scene: &Scene, operation: &str, call: &str, n: usize) -> bool {
    // In memory: nobody else's writes are waited for there.
    let world = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = world.path();
    scene.furnish(operation, dir, LENGTH);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={n}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "kill::an_image_is_absent_or_whole_whatever_was_killed_where", "--nocapture"])
        .env(PART, format!("{operation} {}", dir.display()))
        .output()
        .unwrap();
    let place = format!("{operation}, killed at {call} {n}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{place}: {said}");
    assert!(n < MOST, "{place}: there is no end, so it never ran: {said}");

    let world = World::open(dir);
    world.assert_whole(&place);
    // The image that nobody touched is there in any case.
    world.store.find("base").unwrap();
    operations::assert_whole_elsewhere(operation, dir, &place);
    // Half of the time what was begun is gone on with, half of the time it is cleaned up before.
    if n.is_multiple_of(2) {
        world.assert_no_orphans(dir, &place);
    }
    operations::operate(&world, operation, dir, LENGTH).unwrap_or_else(|error| panic!("{place}: {error}"));
    world.assert_whole(&place);
    operations::assert_whole_elsewhere(operation, dir, &place);
    world.assert_no_orphans(dir, &place);
    !output.status.success()
}

#[test]
fn an_image_is_absent_or_whole_whatever_was_killed_where() {
    if let Ok(part) = std::env::var(PART) {
        let (operation, dir) = part.split_once(' ').unwrap();
        return operations::operate(&World::open(Path::new(dir)), operation, Path::new(dir), LENGTH).unwrap();
    }
    if !process::needs::program("strace") {
        return;
    }
    let Some(scene) = Scene::new(LENGTH) else { return };
    for (operation, least) in operations::ALL {
        let sweep = |(call, step)| (1..).step_by(step).take_while(|&n| killed(&scene, operation, call, n)).count();
        let deaths: usize = CALLS.into_iter().chain(operations::CALLS).map(sweep).sum();
        assert!(deaths >= least, "{operation}: killed only {deaths} times");
    }
}
