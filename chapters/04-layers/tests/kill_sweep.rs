//! `kill-sweep`: SIGKILL at each point of each operation of the store.
//!
//! The store narrates every step before it takes it, and reads archives through a reader of the caller's. So nothing in it
//! needs to know about this test: the test runs itself again as a child whose subscriber, or whose archive, kills the
//! process at the n-th step or read; for every n, until the child comes through.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use layers::{Attributes, DiffId, Digest, Snapshots, Tarball};
use rustix::process::{Signal, getpid, kill_process};
use tracing::{Event, Metadata, Subscriber, span};

/// What the child reads its part from: `OPERATION POINTS N DIRECTORY`. Only this test knows it.
const PART: &str = "KILL_SWEEP_CHILD";

/// Dies at the n-th point.
struct Deadline(AtomicUsize);

impl Deadline {
    fn point(&self) {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Whether it worked is seen: the next line is not reached.
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("killed processes do not go on");
        }
    }
}

impl Subscriber for Deadline {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == process::narrate::TARGET
    }
    fn event(&self, _: &Event<'_>) {
        self.point();
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// An archive that comes in small pieces, each of them a point.
struct Pieces(Cursor<Vec<u8>>, Deadline);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.point();
        let n = buffer.len().min(700);
        self.0.read(&mut buffer[..n])
    }
}

/// Two layers: one to stand on, and one with a bit of everything, which takes things from the one below.
fn archives() -> [(DiffId, Vec<u8>); 2] {
    let owner = Attributes {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..Attributes::plain(0o755)
    };
    let mut base = Tarball::new(Vec::new());
    for name in ["a", "a/b"] {
        base.directory(Path::new(name), &owner).unwrap();
    }
    base.file(Path::new("a/b/file"), 4, &owner, &b"base"[..]).unwrap();
    base.file(Path::new("gone"), 4, &owner, &b"base"[..]).unwrap();
    let mut top = Tarball::new(Vec::new());
    top.empty_file(Path::new(".wh.gone")).unwrap();
    top.file(Path::new("a/b/new"), 9000, &owner, &[7; 9000][..]).unwrap();
    top.hard_link(Path::new("second"), Path::new("a/b/file"), &owner).unwrap();
    top.symlink(Path::new("link"), b"second", &owner).unwrap();
    [base, top].map(|tarball| {
        let bytes = tarball.finish().unwrap();
        (DiffId(Digest::of(&bytes)), bytes)
    })
}

const OPERATIONS: [&str; 4] = ["extract", "keep", "mend", "remove"];

/// What has to be there before an operation.
fn set_up(operation: &str, snapshots: &Snapshots) {
    let [base, top] = archives();
    for (id, archive) in match operation {
        "extract" => vec![],
        "keep" => vec![base],
        _ => vec![base, top],
    } {
        snapshots.extract(&id, &archive[..]).unwrap();
    }
    if operation == "remove" {
        snapshots.stack(&archives().map(|(id, _)| id)).unwrap();
    }
}

fn operate(operation: &str, snapshots: &Snapshots, archive: impl Read) {
    let [(base, _), (top, _)] = archives();
    match operation {
        "extract" => snapshots.extract(&top, archive).unwrap(),
        "keep" => {
            let draft = snapshots.prepare(&[base]).unwrap();
            fs::write(draft.upper().join("changed"), "changed").unwrap();
            snapshots.keep(&draft, std::io::sink()).unwrap();
        }
        "mend" => drop(snapshots.stack(&[base, top]).unwrap()),
        _ => snapshots.remove(&top).unwrap(),
    }
}

/// The child: does it, and dies at its point.
fn child(part: &str) {
    let [operation, points, n, dir] = part.splitn(4, ' ').collect::<Vec<_>>().try_into().unwrap();
    let deadline = Deadline(AtomicUsize::new(n.parse().unwrap()));
    let never = Deadline(AtomicUsize::new(usize::MAX));
    let snapshots = Snapshots::open(dir).unwrap();
    let (steps, reads) = if points == "steps" { (deadline, never) } else { (never, deadline) };
    tracing::subscriber::set_global_default(steps).unwrap();
    let [_, (_, archive)] = archives();
    operate(operation, &snapshots, Pieces(Cursor::new(archive), reads));
}

/// Every layer that is there is whole: what a later command relies on.
fn whole(snapshots: &Snapshots) {
    let [(base, _), (top, _)] = archives();
    for layer in snapshots.list().unwrap() {
        let sizes = BTreeMap::from([(base, 8), (top, 9000)]);
        let bytes = snapshots.usage(&layer).unwrap().bytes;
        assert_eq!(bytes, sizes.get(&layer).copied().unwrap_or(7), "{layer}");
        assert_eq!(bytes, snapshots.size(&layer).unwrap());
    }
}

/// Everything in the store's directories but the lock.
fn left(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for sub in ["sha256", "sha512", "mend", "tmp"] {
        left.extend(fs::read_dir(dir.join(sub)).unwrap().map(|entry| entry.unwrap().path().display().to_string()));
    }
    left
}

/// One child, killed at point `n`, and what the next command finds. `false` if the child came through.
fn killed(operation: &str, points: &str, n: usize) -> bool {
    let world = tempfile::tempdir().unwrap();
    let dir = world.path().join("layers");
    set_up(operation, &Snapshots::open(&dir).unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_next_command_works_whatever_was_killed_where", "--nocapture"])
        .env(PART, format!("{operation} {points} {n} {}", dir.display()))
        .output()
        .unwrap();
    let died = output.status.signal() == Some(9);
    let place = format!("{operation}, {points} {n}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(died || output.status.success(), "{place}");

    let snapshots = Snapshots::open(&dir).unwrap();
    assert_eq!(fs::read_dir(dir.join("tmp")).unwrap().count(), 0, "{place}: not swept");
    assert_eq!(snapshots.prune().unwrap(), 0, "{place}: swept only by the second sweep");
    whole(&snapshots);
    let [_, (_, archive)] = archives();
    operate(operation, &snapshots, &archive[..]);
    whole(&snapshots);
    for layer in snapshots.list().unwrap() {
        snapshots.remove(&layer).unwrap();
    }
    assert_eq!(left(&dir), Vec::<String>::new(), "{place}");
    died
}

#[test]
fn the_next_command_works_whatever_was_killed_where() {
    if let Ok(part) = std::env::var(PART) {
        return child(&part);
    }
    if !process::needs::root() {
        return;
    }
    let mut deaths = BTreeMap::new();
    for operation in OPERATIONS {
        deaths.insert(operation, (1..).take_while(|&n| killed(operation, "steps", n)).count());
    }
    deaths.insert("reads", (1..).take_while(|&n| killed("extract", "reads", n)).count());
    // As many as there are steps and reads: none may be lost without notice, for then this test would test less.
    assert!(deaths["reads"] >= 10, "{deaths:?}");
    assert!(OPERATIONS.iter().all(|operation| deaths[operation] >= 4), "{deaths:?}");
}

/// The same for a user who is root of a user namespace only, where whiteouts and marks are made in other ways.
#[test]
fn the_same_for_an_ordinary_user() {
    if std::env::var_os(PART).is_some() || namespaces::rootless::is_rootless() {
        return;
    }
    if !process::needs::user_namespaces() || !process::needs::program("unshare") {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let sweep = "the_next_command_works_whatever_was_killed_where";
    let mut words = vec!["unshare", "--user", "--map-root-user", program.to_str().unwrap(), "--exact", sweep];
    if rustix::process::geteuid().is_root() {
        if !process::needs::program("runuser") || !process::needs::account("learner") {
            return;
        }
        words.splice(0..0, ["runuser", "-u", "learner", "--"]);
    }
    let output = Command::new(words[0]).args(&words[1..]).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}
