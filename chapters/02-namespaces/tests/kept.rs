//! Namespaces without a process: kept by name, joined, and let go.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use process::needs;

/// A directory of kept namespaces, emptied at the end whatever happens.
struct Cellar {
    home: tempfile::TempDir,
}

impl Cellar {
    fn new() -> Option<Self> {
        needs::root().then(|| Self { home: tempfile::tempdir().unwrap() })
    }

    fn directory(&self) -> std::path::PathBuf {
        self.home.path().join("namespaces")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("ch02-namespaces"));
        command.arg("--directory").arg(self.directory()).args(arguments);
        command
    }

    fn ch02(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn mounts_below(&self) -> usize {
        let below = self.directory().display().to_string();
        std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(&below)).count()
    }
}

impl Drop for Cellar {
    fn drop(&mut self) {
        for name in ["blue", "red"] {
            // Most tests have removed it themselves.
            let _ = self.command(&["remove", name]).output();
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

fn inode(path: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn a_kept_namespace_outlives_its_process_and_is_found_again_by_name() {
    let Some(cellar) = Cellar::new() else { return };
    let kept = cellar.ch02(&["keep", "blue", "--kinds", "uts,net,ipc,time", "--hostname", "blue-cask"]);
    assert!(kept.status.success(), "{}", text(&kept));
    let list = text(&cellar.ch02(&["list"]));
    assert_eq!(list.lines().count(), 4, "{list}");
    let inside = cellar.ch02(&["--kept", "blue", "--", "hostname"]);
    assert_eq!(String::from_utf8(inside.stdout).unwrap(), "blue-cask\n");
    assert_eq!(text(&cellar.ch02(&["remove", "blue"])), "");
    assert_eq!((text(&cellar.ch02(&["list"])).as_str(), cellar.mounts_below()), ("", 0));
    assert!(!cellar.directory().exists());
}

#[test]
fn two_callers_at_once_mount_the_directory_once_and_it_is_private() {
    let Some(cellar) = Cellar::new() else { return };
    let mut callers = ["blue", "red"].map(|name| cellar.command(&["keep", name, "--kinds", "uts"]).spawn().unwrap());
    assert!(callers.iter_mut().all(|caller| caller.wait().unwrap().success()));
    assert_eq!(cellar.mounts_below(), 3, "the directory, and one for each name");
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mountinfo.lines().find(|line| line.contains(&cellar.directory().display().to_string())).unwrap();
    assert!(!line.contains("shared:"), "{line}");
}

#[test]
fn removing_says_who_is_still_inside() {
    let Some(cellar) = Cellar::new() else { return };
    assert!(cellar.ch02(&["keep", "blue", "--kinds", "net"]).status.success());
    let mut guest = cellar.command(&["--kept", "blue", "--", "cat"]);
    let mut guest = guest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdin = guest.stdin.as_mut().unwrap();
    std::io::Write::write_all(stdin, b"up\n").unwrap();
    let mut answer = [0; 3];
    std::io::Read::read_exact(guest.stdout.as_mut().unwrap(), &mut answer).unwrap();
    let removed = text(&cellar.ch02(&["remove", "blue"]));
    let pid = removed.trim().strip_prefix("process ").and_then(|rest| rest.strip_suffix(" is still in it")).unwrap();
    let theirs = inode(&format!("/proc/{pid}/ns/net"));
    assert_ne!(theirs, inode("/proc/self/ns/net"));
    drop(guest.stdin.take());
    assert!(guest.wait().unwrap().success());
}

#[test]
fn what_failed_half_way_is_undone_and_what_is_broken_can_be_removed() {
    let Some(cellar) = Cellar::new() else { return };
    let refused = text(&cellar.ch02(&["keep", "blue", "--kinds", "uts,pid"]));
    assert!(refused.contains(r#"keep "pid": a pid namespace ends with its pid 1"#), "{refused}");
    assert!(!cellar.directory().exists());
    assert!(cellar.ch02(&["keep", "blue", "--kinds", "uts"]).status.success());
    assert!(text(&cellar.ch02(&["keep", "blue", "--kinds", "net"])).contains("EEXIST"));
    // As a kill -9 between the file and the mount would leave it.
    std::fs::create_dir(cellar.directory().join("red")).unwrap();
    std::fs::write(cellar.directory().join("red/net"), "").unwrap();
    assert!(text(&cellar.ch02(&["list"])).contains("red              net      broken: nothing is mounted there"));
    assert!(text(&cellar.ch02(&["--kept", "red", "--", "true"])).contains("not a namespace"));
    assert_eq!(text(&cellar.ch02(&["remove", "red"])), "");
    assert!(text(&cellar.ch02(&["remove", "green"])).contains("ENOENT"));
    assert!(text(&cellar.ch02(&["keep", "../up"])).contains("letters, digits"));
}

#[test]
fn an_ordinary_user_is_told_why_not() {
    if !needs::root() || !needs::account("learner") {
        return;
    }
    let program = cargo_bin("ch02-namespaces");
    let output =
        Command::new("runuser").args(["-u", "learner", "--"]).arg(program).args(["keep", "x"]).output().unwrap();
    assert!(text(&output).contains("keep needs root"), "{}", text(&output));
    assert!(!Path::new("/run/cooper-namespaces/x").exists());
}
