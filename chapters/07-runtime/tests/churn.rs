//! Two thousand containers in a row, then two hundred at once, all made by this one process: nothing of them is left, and
//! nothing has grown.
//!
//! This program is its own test harness: the usual one has threads, and a threaded process must not clone.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{ExitStatus, needs};
use runtime::{Checked, Create, Created, Force, RootSource, Started, StateDir, Stdio};
use serde_json::{Value, json};

const IN_A_ROW: usize = 2_000;
const AT_ONCE: usize = 200;

/// Private memory may grow by so much from the first hundred containers to the last, in kilobytes: an allocator's slack.
const SLACK: u64 = 512;

fn main() {
    if !needs::root() || !needs::program("busybox") {
        println!("test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        return;
    }
    let cooperage = Cooperage::new();
    let before = Held::now();
    cooperage.in_a_row();
    cooperage.at_once();
    let left = Held::now().beyond(&before);
    assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    assert_eq!(cooperage.state.ids().unwrap(), Vec::<String>::new());
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// One bundle, of which any number of containers is made.
struct Cooperage {
    home: tempfile::TempDir,
    spec: Checked,
    state: StateDir,
}

impl Cooperage {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        busybox::install(home.path(), &["sh", "sleep"]);
        let runtime = env!("CARGO_BIN_EXE_cooper-runtime");
        let made = Command::new(runtime).arg("spec").current_dir(home.path()).status().unwrap();
        assert!(made.success());
        let text = fs::read(home.path().join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        // `exit` alone would never show that orphans are dealt with: this one leaves a child behind.
        config["process"]["args"] = json!(["sh", "-c", "sleep 1000 & exit 7"]);
        config["process"]["terminal"] = json!(false);
        let state = StateDir::new(home.path().join("state"));
        Self { spec: Checked::made(serde_json::from_value(config).unwrap()).unwrap(), state, home }
    }

    fn create(&self, id: &str) -> Created {
        let null = || OwnedFd::from(fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
        runtime::create(Create {
            id,
            spec: &self.spec,
            bundle: self.home.path(),
            root: RootSource::Directory(self.home.path().join("rootfs")),
            stdio: Stdio::Descriptors { stdin: null(), stdout: null(), stderr: null() },
            state: &self.state,
            mounts: Vec::new(),
            on_namespaces: None,
            options: runtime::CreateOptions::default(),
        })
        .unwrap()
    }

    fn end(&self, id: &str, started: &Started) {
        assert_eq!(started.pidfd.wait().unwrap(), ExitStatus::Exited(7));
        runtime::delete(&self.state, id, Force::No).unwrap();
    }

    fn in_a_row(&self) {
        let mut settled = None;
        for number in 0..IN_A_ROW {
            let id = format!("row-{}-{number}", std::process::id());
            let started = self.create(&id).start().unwrap();
            self.end(&id, &started);
            if number == IN_A_ROW / 20 {
                settled = Some(private_memory());
            }
        }
        let (settled, now) = (settled.unwrap(), private_memory());
        assert!(now <= settled + SLACK, "private memory grew from {settled} kB to {now} kB");
    }

    fn at_once(&self) {
        let ids: Vec<String> = (0..AT_ONCE).map(|number| format!("once-{}-{number}", std::process::id())).collect();
        let created: Vec<Created> = ids.iter().map(|id| self.create(id)).collect();
        assert_eq!(self.state.ids().unwrap().len(), AT_ONCE);
        let started: Vec<Started> = created.into_iter().map(|created| created.start().unwrap()).collect();
        for (id, started) in ids.iter().zip(&started) {
            self.end(id, started);
        }
    }
}

/// What this process and the kernel hold, by name.
struct Held(BTreeSet<String>);

impl Held {
    fn now() -> Self {
        let mut held = BTreeSet::new();
        let own = |name: &str| PathBuf::from("/proc/self").join(name);
        for entry in fs::read_dir(own("fd")).unwrap().flatten() {
            held.extend(fs::read_link(entry.path()).map(|target| format!("descriptor of {}", target.display())));
        }
        for line in fs::read_to_string(own("mountinfo")).unwrap().lines() {
            held.insert(format!("mount {}", line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")));
        }
        let children = format!("/proc/self/task/{}/children", std::process::id());
        held.extend(fs::read_to_string(children).unwrap().split_whitespace().map(|pid| format!("child {pid}")));
        held.extend(cgroups(Path::new("/sys/fs/cgroup"), 0).map(|path| format!("cgroup {}", path.display())));
        Self(held)
    }

    fn beyond(self, before: &Self) -> Vec<String> {
        // The directory stream that lists the descriptors is one of them, under a name of its own each time.
        let listing = |thing: &String| thing.contains("/proc/") && thing.ends_with("/fd");
        self.0.into_iter().filter(|thing| !before.0.contains(thing) && !listing(thing)).collect()
    }
}

/// The cgroups of this test's containers, in whichever hierarchies there are.
fn cgroups(directory: &Path, depth: usize) -> Box<dyn Iterator<Item = PathBuf>> {
    let marks = [format!("row-{}-", std::process::id()), format!("once-{}-", std::process::id())];
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = entries.filter(|path| path.is_dir() && !path.is_symlink());
    Box::new(directories.flat_map(move |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = marks.iter().any(|mark| name.starts_with(mark)).then(|| path.clone());
        let below = if depth < 4 { cgroups(&path, depth + 1) } else { Box::new(std::iter::empty()) };
        ours.into_iter().chain(below)
    }))
}

/// Private memory of this process, in kilobytes.
fn private_memory() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kilobytes = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    rollup.lines().filter(|line| line.starts_with("Private_Dirty:")).filter_map(kilobytes).sum()
}
