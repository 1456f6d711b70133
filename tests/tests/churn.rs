//! Many containers with a bridge and a published port each: those that come and go leave nothing, and those that stay can be listed,
//! counted and stopped all at once. `bench scale` does the same with a thousand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use process::needs;
use tests::engine::{Cooper, Who};

/// How many come and go.
const COMING: usize = 96;
/// How many of them at a time.
const AT_A_TIME: usize = 8;
/// How many stay.
const STAYING: usize = 24;

/// Every file below a directory.
fn files(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), found);
        }
    }
}

fn picture(cooper: &Cooper) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    files(&cooper.root(), &mut found);
    // What happened is kept: that is no leak.
    found.retain(|file| !file.contains("/events"));
    found
}

/// KiB of a process: what nobody else has, and all that is resident.
fn memory(pid: u64) -> (u64, u64) {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let number = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (number("Anonymous:"), number("Rss:"))
}

fn come_and_go(cooper: &Cooper) {
    let before = picture(cooper);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < COMING {
                    let said = cooper.run(&["run", "--rm", "-p", "80", "host", "sh", "-c", "echo here; exit 3"]);
                    assert_eq!((said.out.as_str(), said.code), ("here\n", 3), "{}", said.err);
                }
            });
        }
    });
    cooper.settle();
    let left: Vec<String> = picture(cooper).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left in the engine's directory:\n  {}", left.join("\n  "));
}

fn stay(cooper: &Cooper) {
    // Half of them do not hear SIGTERM, as a shell does not that is process 1.
    for number in 0..STAYING {
        let script = if number % 2 == 0 { "sleep 100000" } else { "trap 'exit 0' TERM; sleep 100000 & wait" };
        cooper.run(&["run", "-d", "-p", "80", "host", "sh", "-c", &format!("{script}; exit")]).ok();
    }
    let ids = cooper.run(&["ps", "-q"]).ok();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    let listed = cooper.run(&["ps"]).ok();
    assert_eq!((ids.len(), listed.matches("->80/tcp").count()), (STAYING, STAYING), "{listed}");
    let counted = cooper.run(&["stats", "--no-stream", "--format", "{{.ID}} {{.PIDs}}"]).ok();
    assert!(
        ids.iter().all(|id| counted.contains(&format!("{id} 2")) || counted.contains(&format!("{id} 1"))),
        "{counted}"
    );

    // A monitor that has had a second to itself is small: how small depends on how the engine was built.
    let (own, all) = if cfg!(debug_assertions) { (2560, 8192) } else { (1088, 4096) };
    let id = cooper.run(&["inspect", "--format", "{{.Id}}", ids[STAYING - 1]]).ok();
    let file = cooper.root().join("run/containers").join(id.trim()).join("monitor.json");
    let watcher: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let pid = watcher["pid"].as_u64().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while memory(pid).0 > own || memory(pid).1 > all {
        assert!(Instant::now() < deadline, "KiB of its own, in all: {:?}, not {:?}", memory(pid), (own, all));
        std::thread::sleep(Duration::from_millis(100));
    }

    // All at once: half of them end when they are asked, the others after two seconds, and not two seconds each.
    let began = Instant::now();
    let stopped = cooper.run(&[["stop", "-t", "2"].as_slice(), &ids].concat()).ok();
    assert_eq!(stopped.split_whitespace().collect::<Vec<_>>(), ids, "told in the order in which they were named");
    assert!(began.elapsed() < Duration::from_secs(STAYING as u64), "{:?}", began.elapsed());
    assert_eq!(cooper.run(&["ps", "-q"]).ok(), "");
    cooper.run(&[["rm"].as_slice(), &ids].concat()).ok();
}

#[test]
fn many_come_and_go_and_leave_nothing_and_many_that_stay_are_stopped_at_once() {
    if !needs::root() || !needs::program("nft") {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    // The image, and the network's own file.
    cooper.run(&["run", "--rm", "-p", "80", "host", "true"]).ok();
    come_and_go(&cooper);
    stay(&cooper);
    cooper.finish();
}
