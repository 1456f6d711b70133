//! A registry that misbehaves in every way that we could think of. Each way ends in an error that says what is wrong, within
//! bounded time and memory, and leaves nothing that looks like an image.
#![allow(clippy::unwrap_used)]

mod cases;
#[path = "../behaviour/sample.rs"]
#[allow(dead_code)]
mod sample;
#[allow(dead_code)]
mod server;
mod world;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use images::Store;
use layers::Snapshots;
use nix::sys::resource::{UsageWho, getrusage};

use crate::world::World;

/// Cases at a time; most of them wait.
const HANDS: usize = 6;

/// Longest time that a case may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most memory that any pull may have resident, in MiB.
const MEMORY: i64 = 64;

struct Outcome {
    code: Option<i32>,
    said: String,
    took: Duration,
    left: Vec<String>,
}

/// Pulls with the small binary, so that its memory is its own.
fn pull(registry: &str) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_ch09-distribution"))
        .args(["--stall=0.4", "--patience=1", "--attempts=2", "pull", &format!("{registry}/app:1")])
        .arg(&to)
        .env("DOCKER_CONFIG", dir.path())
        .env("CONTAINERS_REGISTRIES_CONF", dir.path().join("none"))
        .output()
        .unwrap();
    let took = began.elapsed();
    let said = String::from_utf8(output.stderr).unwrap();
    // What was told on the way is not the error.
    let mut lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("ch09-distribution: ")).collect();
    lines.truncate(4);
    let left = left_behind(&to);
    Outcome { code: output.status.code(), said: lines.join("\n").replace(registry, "[REGISTRY]"), took, left }
}

/// What is in the stores and should not be. A whole blob is no harm: garbage collection takes it.
fn left_behind(to: &std::path::Path) -> Vec<String> {
    let mut left = Vec::new();
    if !to.exists() {
        return left;
    }
    let (store, snapshots) = (Store::open(to.join("images")).unwrap(), Snapshots::open(to.join("layers")).unwrap());
    left.extend(store.list().unwrap().iter().map(|named| format!("name {:?}", named.reference)));
    left.extend(store.verify().unwrap().damaged.iter().map(|digest| format!("damaged {digest}")));
    left.extend(snapshots.list().unwrap().iter().map(|layer| format!("layer {layer}")));
    for dir in ["images/tmp", "layers/tmp"] {
        left.extend(to.join(dir).read_dir().unwrap().map(|entry| format!("{:?}", entry.unwrap().path())));
    }
    store.gc().unwrap();
    for dir in ["images/blobs/sha256", "images/ingest"] {
        let entries = to.join(dir).read_dir().into_iter().flatten();
        left.extend(entries.map(|entry| format!("after gc {:?}", entry.unwrap().path())));
    }
    left
}

#[test]
fn an_honest_registry_is_believed() {
    let world = World::honest();
    let registry = server::serve(move |asked| world.answer(asked));
    let outcome = pull(&registry.to_string());
    assert_eq!(outcome.code, Some(0), "{}", outcome.said);
    assert_eq!(outcome.left.len(), 5, "a name, a layer and three blobs: {:?}", outcome.left);
}

#[test]
fn whatever_a_registry_does_it_is_an_error_and_leaves_nothing() {
    let all = cases::all();
    assert!(all.len() >= 60, "{}", all.len());
    let (queue, outcomes) = (Mutex::new(all), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                while let Some((name, script)) = { queue.lock().unwrap().pop() } {
                    let outcome = pull(&server::serve(script).to_string());
                    outcomes.lock().unwrap().insert(name, outcome);
                }
            });
        }
    });
    let mut told = String::new();
    for (name, outcome) in outcomes.into_inner().unwrap() {
        assert_eq!(outcome.code, Some(125), "{name}: {}", outcome.said);
        assert!(outcome.took < PATIENCE, "{name} took {:?}", outcome.took);
        assert!(outcome.left.is_empty(), "{name} left {:?}", outcome.left);
        let strange = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!outcome.said.contains(strange), "{name} says {:?}", outcome.said);
        assert!(outcome.said.len() < 1500, "{name} says much: {}", outcome.said);
        told.push_str(&format!("{name}\n{}\n\n", outcome.said));
    }
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
    assert!(most < MEMORY, "{most} MiB");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("sha256:[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter("has [0-9]+ left", "has [BYTES] left");
    settings.add_filter("only [0-9]+ bytes came", "only [BYTES] bytes came");
    settings.bind(|| insta::assert_snapshot!("errors", told));
}
