//! A container goes on where a checkpoint has stopped it; where CRIU cannot do that, it is told why, and the container stays.
//!
//! CRIU follows the kernel: one that is older than the machine's may not know it. Both outcomes are tested; where there is
//! no CRIU that works, the first is seen in a machine of its own:
//!
//! ```text
//! cargo run -p vm -- --with /usr/sbin/criu --with /bin/tar --with /bin/gzip --with target/debug/cooper-runtime \
//!     run target/debug/deps/checkpoint-*[0-9a-f]
//! ```
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;
#[path = "scenery/config.rs"]
mod config;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use process::needs;
use serde_json::{Value, json};

/// A bundle that counts in its own memory, and a state directory.
struct Counter {
    home: tempfile::TempDir,
}

impl Counter {
    fn new() -> Option<Self> {
        if !needs::root() || !needs::program("busybox") {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        busybox::install(home.path(), &["sh", "sleep", "cat", "mv"]);
        let counter = Self { home };
        assert!(counter.command(&["spec"]).status().unwrap().success());
        counter.change(|config| {
            let count =
                "i=0; while sleep 0.1; do i=$((i+1)); echo $i > /dev/shm/new; mv /dev/shm/new /dev/shm/count; done";
            config["process"]["args"] = json!(["sh", "-c", count]);
            config["process"]["env"] = json!(["PATH=/bin"]);
            config["process"]["terminal"] = json!(false);
            config["process"]["noNewPrivileges"] = json!(false);
            // Its rules are saved and restored by programs of iptables, which this is not about.
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "network");
        });
        Some(counter)
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        config::change(self.path(), change);
    }

    /// With files for its streams: a container would hold pipes of ours open.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("cooper-runtime"));
        command.arg("--root").arg(self.path().join("state")).args(arguments).current_dir(self.path());
        let said = File::create(self.path().join("said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        command
    }

    /// The exit code, and what was said.
    fn runtime(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let status = self.command(arguments).status().unwrap();
        (status.code(), std::fs::read_to_string(self.path().join("said")).unwrap())
    }

    fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
    }

    fn status(&self, id: &str) -> String {
        let (_, said) = self.runtime(&["state", id]);
        serde_json::from_str::<Value>(&said).map_or(said, |state| state["status"].as_str().unwrap().to_owned())
    }

    /// How far it has counted.
    fn count(&self, id: &str) -> u32 {
        let (_, said) = self.runtime(&["exec", id, "cat", "/dev/shm/count"]);
        said.trim().parse().unwrap_or(0)
    }

    fn counts_beyond(&self, id: &str, number: u32) {
        let began = Instant::now();
        while self.count(id) <= number {
            assert!(began.elapsed() < Duration::from_secs(60), "{id} stands still at {number}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        for name in ["one", "two"] {
            self.runtime(&["delete", "--force", &self.id(name)]);
        }
    }
}

/// What is in the way of CRIU on this machine; `None` if it works.
fn obstacle() -> Option<String> {
    let check: Output = match Command::new("criu").arg("check").output() {
        Ok(check) => check,
        Err(error) => return Some(error.to_string()),
    };
    (!check.status.success()).then(|| String::from_utf8_lossy(&check.stderr).into_owned())
}

#[test]
fn a_container_goes_on_where_it_was_stopped_or_is_told_why_it_cannot() {
    let Some(counter) = Counter::new() else { return };
    let (one, two) = (counter.id("one"), counter.id("two"));
    assert_eq!(counter.runtime(&["run", "--detach", &one]), (Some(0), String::new()));
    counter.counts_beyond(&one, 3);
    let before = counter.count(&one);
    let (code, said) = counter.runtime(&["checkpoint", "--image-path", "images", &one]);
    if code != Some(0) {
        assert!(obstacle().is_some(), "{said}, and yet `criu check` finds nothing");
        assert!(said.starts_with("cooper-runtime: criu dump: "), "{said}");
        assert!(said.contains("Error") || said.contains("criu/") || said.contains("CRIU's work"), "{said}");
        assert_eq!(counter.status(&one), "running");
        counter.counts_beyond(&one, before);
        return;
    }
    assert_eq!(said, "");
    assert!(counter.status(&one).contains("does not exist"), "what was written down is deleted");

    let (code, said) = counter.runtime(&["restore", "--detach", "--image-path", "images", "--pid-file", "pid", &two]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counter.status(&two), "running");
    counter.counts_beyond(&two, before);
    // It is where a new container of this configuration would be, and its root as little to be written to.
    let pid = std::fs::read_to_string(counter.path().join("pid")).unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains(&format!("/cooper/{two}")), "{groups}");
    let (code, said) = counter.runtime(&["exec", &two, "sh", "-c", "echo > /x"]);
    assert!(code == Some(1) && said.contains("Read-only"), "{said}");
    assert_eq!(counter.runtime(&["delete", "--force", &two]), (Some(0), String::new()));
}

/// CRIU before 4.0 forgets `no_new_privs`. Whatever it is that is forgotten, such a container does not go on.
#[test]
fn what_would_go_on_less_confined_does_not_go_on() {
    let Some(counter) = Counter::new() else { return };
    let (one, two) = (counter.id("one"), counter.id("two"));
    assert_eq!(counter.runtime(&["run", "--detach", &one]), (Some(0), String::new()));
    counter.counts_beyond(&one, 1);
    let (code, said) = counter.runtime(&["checkpoint", "--image-path", "images", &one]);
    if code != Some(0) {
        assert!(obstacle().is_some(), "{said}, and yet `criu check` finds nothing");
        // Where nothing is written down there is nothing to let go on, and that is said before anything is made.
        let (code, said) = counter.runtime(&["restore", "--image-path", "nowhere", &two]);
        assert!(code == Some(125) && said.contains("frozen.json"), "{said}");
        assert!(counter.status(&two).contains("does not exist"));
        return;
    }
    let file = counter.path().join("images/frozen.json");
    let mut frozen: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    frozen["confinement"]["NoNewPrivs"] = json!("1");
    std::fs::write(&file, frozen.to_string()).unwrap();
    let (code, said) = counter.runtime(&["restore", "--detach", "--image-path", "images", &two]);
    assert!(code == Some(125) && said.contains("restored with NoNewPrivs \"0\" instead of \"1\""), "{said}");
    assert!(counter.status(&two).contains("does not exist"));
}

#[test]
fn what_cannot_be_written_down_is_refused_before_anything_is_written() {
    let Some(counter) = Counter::new() else { return };
    let one = counter.id("one");
    assert_eq!(counter.runtime(&["create", &one]), (Some(0), String::new()));
    let (code, said) = counter.runtime(&["checkpoint", &one]);
    assert!(code == Some(125) && said.contains("cannot checkpoint") && said.contains("it is created"), "{said}");
    assert_eq!(counter.runtime(&["start", &one]), (Some(0), String::new()));
    let (code, said) = counter.runtime(&["--criu", "/nowhere/criu", "checkpoint", &one]);
    assert!(code == Some(125) && said.contains("criu dump: /nowhere/criu: "), "{said}");
    assert_eq!(counter.status(&one), "running");
}
