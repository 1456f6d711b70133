//! **Every kernel object has an owner that removes it.** A [`Snapshot`] is a picture of what an engine can leave behind
//! in a kernel; two of them, before and after, show what it did.
//!
//! | object | where it is seen |
//! |---|---|
//! | mounts | `/proc/self/mountinfo` |
//! | control groups named `cooper*` | directories under `/sys/fs/cgroup` |
//! | network links | `/sys/class/net` |
//! | named network namespaces | `/run/netns` |
//! | network namespaces in use | `/proc/PID/ns/net` |
//! | firewall tables named `cooper*` | `nft list tables` (root only) |
//! | processes named `cooper*` or after a chapter | `/proc/PID/cmdline` |

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long objects that the kernel takes away in its own time (a dying namespace, a veth) may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What stands in the kernel at one moment, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, BTreeSet<String>>);

impl Snapshot {
    /// Looks at the kernel now.
    pub fn take() -> Self {
        let mut kinds = BTreeMap::new();
        kinds.insert("mount".to_owned(), mounts());
        kinds.insert("cgroup".to_owned(), cgroups(Path::new("/sys/fs/cgroup"), 0));
        kinds.insert("link".to_owned(), names(Path::new("/sys/class/net")));
        kinds.insert("named netns".to_owned(), names(Path::new("/run/netns")));
        kinds.insert("netns".to_owned(), network_namespaces());
        kinds.insert("nft table".to_owned(), firewall_tables());
        kinds.insert("process".to_owned(), processes());
        Self(kinds)
    }

    /// What is in the kernel in `later` and was not in `self`; what has gone is nobody's leak.
    pub fn leaked_by(&self, later: &Self) -> Vec<String> {
        let nothing = BTreeSet::new();
        let mut leaked = Vec::new();
        for (kind, things) in &later.0 {
            let before = self.0.get(kind).unwrap_or(&nothing);
            leaked.extend(things.difference(before).map(|thing| format!("{kind}: {thing}")));
        }
        leaked
    }

    /// Waits until nothing is left that was not there before; the leaks if something stays.
    ///
    /// # Errors
    /// What is left, one line an object.
    pub fn unchanged(&self) -> Result<(), Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leaked = self.leaked_by(&Self::take());
            if leaked.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(leaked);
            }
            sleep(Duration::from_millis(100));
        }
    }

    /// Ends a test that made kernel objects.
    ///
    /// # Panics
    /// Something is left that was not there when the snapshot was taken.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        if let Err(leaked) = self.unchanged() {
            panic!("left behind in the kernel:\n  {}", leaked.join("\n  "));
        }
    }

    /// The picture as lines `kind<TAB>thing`, to keep in a file.
    pub fn to_lines(&self) -> String {
        let lines =
            self.0.iter().flat_map(|(kind, things)| things.iter().map(move |thing| format!("{kind}\t{thing}\n")));
        lines.collect()
    }

    /// Reads what [`to_lines`](Self::to_lines) wrote.
    ///
    /// # Errors
    /// A line has no tab.
    pub fn from_lines(text: &str) -> Result<Self> {
        let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let (kind, thing) = line.split_once('\t').with_context(|| format!("line {}: no tab", index + 1))?;
            kinds.entry(kind.to_owned()).or_default().insert(thing.to_owned());
        }
        Ok(Self(kinds))
    }
}

/// Mounts without their ids: `/proc rw,nosuid - proc proc`.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = |line: &str| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}

/// Control groups whose own name begins with `cooper`, at most six levels down.
fn cgroups(directory: &Path, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if depth > 6 || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with("cooper") {
            found.insert(entry.path().display().to_string());
        }
        found.extend(cgroups(&entry.path(), depth + 1));
    }
    found
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Every process's directory in `/proc`; those that end while we look are passed over.
fn each_process() -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .map(|entry| entry.path())
}

fn network_namespaces() -> BTreeSet<String> {
    let links = each_process().filter_map(|process| fs::read_link(process.join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}

fn firewall_tables() -> BTreeSet<String> {
    let Ok(output) = Command::new("nft").args(["list", "tables"]).output() else {
        return BTreeSet::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(" cooper")).map(str::to_owned).collect()
}

/// Processes by number and program; zombies have no command line and are seen by the name that the kernel keeps.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in each_process() {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        let program = arguments.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut program = String::from_utf8_lossy(program).into_owned();
        if program.is_empty() {
            program = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
        }
        let name = program.rsplit('/').next().unwrap_or_default();
        if name.starts_with("cooper") || is_chapter(name) {
            found.insert(format!("{} {program}", process.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    found
}

/// `ch03-rootfs`, but not `chown` nor `ch07_runtime-1f2e` (a test's own program).
fn is_chapter(name: &str) -> bool {
    let bytes = name.as_bytes();
    name.starts_with("ch")
        && bytes.get(2).is_some_and(u8::is_ascii_digit)
        && bytes.get(3).is_some_and(u8::is_ascii_digit)
        && bytes.get(4) == Some(&b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_object_is_a_leak_and_a_gone_one_is_not() {
        let before = Snapshot::from_lines("link\tlo\nlink\told0\n").unwrap();
        let after = Snapshot::from_lines("link\tlo\nlink\tveth1234\ncgroup\t/sys/fs/cgroup/cooper\n").unwrap();
        assert_eq!(before.leaked_by(&after), ["cgroup: /sys/fs/cgroup/cooper", "link: veth1234"]);
    }

    #[test]
    fn a_process_named_after_a_chapter_is_seen() {
        assert!(is_chapter("ch03-rootfs"));
        assert!(!is_chapter("chown"));
        assert!(!is_chapter("ch03_rootfs-0123456789abcdef"));
    }

    #[test]
    fn a_running_process_is_a_leak_until_it_ends() {
        // `sleep` under a chapter's name: what a monitor that nobody stopped looks like.
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ch99-forgotten");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let before = Snapshot::take();
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        let leaked = before.leaked_by(&Snapshot::take()).join("\n");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(leaked.contains("ch99-forgotten"), "{leaked}");
    }

    #[test]
    fn a_picture_survives_a_file() {
        let picture = Snapshot::take();
        assert!(picture.leaked_by(&Snapshot::from_lines(&picture.to_lines()).unwrap()).is_empty());
    }
}
