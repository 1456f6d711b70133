//! `kill-sweep`: SIGKILL at each call that changes the disk, of each operation.
//!
//! The test runs itself again, as a child under `strace`, which kills it at the n-th such call; for every n, until the child
//! comes through. So the points are the kernel's and not ours: none can be forgotten.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::world::{OPERATIONS, World};

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

const LENGTH: usize = 3000;

/// One child, killed at its `n`-th call of this kind, and what the next command finds. `false` if the child came through.
fn killed(operation: &str, call: &str, n: usize) -> bool {
    // In memory: nobody else's writes are waited for there.
    let world = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = world.path();
    World::furnish(dir, LENGTH);
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

    let world = World::open(dir);
    world.assert_whole(&place);
    // The image that nobody touched is there in any case.
    world.store.find("base").unwrap();
    world.assert_no_orphans(dir, &place);
    world.operate(operation, dir, LENGTH).unwrap();
    world.assert_whole(&place);
    world.assert_no_orphans(dir, &place);
    !output.status.success()
}

#[test]
fn an_image_is_absent_or_whole_whatever_was_killed_where() {
    if let Ok(part) = std::env::var(PART) {
        let (operation, dir) = part.split_once(' ').unwrap();
        return World::open(Path::new(dir)).operate(operation, Path::new(dir), LENGTH).unwrap();
    }
    if !process::needs::root() || !process::needs::program("strace") {
        return;
    }
    let mut deaths = BTreeMap::new();
    for operation in OPERATIONS {
        let sweep = |(call, step)| (1..).step_by(step).take_while(|&n| killed(operation, call, n)).count();
        deaths.insert(operation, CALLS.map(sweep).iter().sum::<usize>());
    }
    // As many as there are calls: none may be lost without notice, for then this test would test less.
    assert!(["load", "import", "commit"].iter().all(|operation| deaths[operation] >= 15), "{deaths:?}");
    assert!(["rmi", "gc"].iter().all(|operation| deaths[operation] >= 5), "{deaths:?}");
}
