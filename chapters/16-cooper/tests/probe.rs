//! `cooper probe`: what a process inside sees, in an image that has nothing else, and in a container that runs.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn cooper(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
    command.arg("--root").arg(root).args(words).stdin(Stdio::null()).output().unwrap()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Nothing of a probe is left: no container, and no copy of the program.
fn nothing_is_left(root: &Path) {
    assert_eq!(String::from_utf8(cooper(root, &["ps", "-aq"]).stdout).unwrap(), "");
    let names = std::fs::read_dir(root.join("run")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with("probe")).count(), 0);
}

#[test]
fn an_image_without_a_shell_can_be_looked_at_from_inside() {
    if !process::needs::root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let confined = ["--network", "none", "--cap-drop", "ALL", "--user", "1000", "--read-only", "--hostname", "cask"];
    let report = report(&cooper(root.path(), &[&["probe", "--json"], &confined[..], &["hello"]].concat()));
    assert_eq!((&report["pid"], &report["hostname"], &report["uids"][0]), (&1.into(), &"cask".into(), &1000.into()));
    assert_eq!(report["capabilities"]["bounding"], "0000000000000000");
    assert_eq!(report["seccomp"], 2);
    assert_eq!(report["links"], serde_json::json!(["lo"]));
    assert_eq!(report["descriptors"].as_object().unwrap().len(), 3, "{}", report["descriptors"]);
    let host = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_ne!(host.to_str().unwrap(), format!("pid:[{}]", report["namespaces"]["pid"]));
    nothing_is_left(root.path());
    let text = cooper(root.path(), &["probe", "--network", "none", "hello"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("chown dac_override"));
}

#[test]
fn a_running_container_can_be_looked_at_and_nothing_is_put_into_it() {
    if !process::needs::root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let run =
        ["run", "-d", "--name", "cask", "--network", "none", "--read-only", "--hostname", "cask", "--pids-limit", "9"];
    assert!(cooper(root.path(), &[&run[..], &["host", "sleep", "1000"]].concat()).status.success());
    let seen = cooper(root.path(), &["probe", "--json", "--container", "cask"]);
    let removed = cooper(root.path(), &["rm", "-f", "cask"]);
    let report = report(&seen);
    assert_eq!((&report["hostname"], &report["processes"][0]), (&"cask".into(), &1.into()));
    assert_eq!(report["descriptors"].as_object().unwrap().len(), 3, "{}", report["descriptors"]);
    assert!(!report["mounts"].to_string().contains("probe"), "it came without a mount");
    assert!(removed.status.success());
    nothing_is_left(root.path());
}

#[test]
fn what_means_nothing_to_a_probe_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let code = |words: &[&str]| cooper(root.path(), words).status.code();
    assert_eq!(code(&["probe", "--container", "cask", "--cap-drop", "ALL"]), Some(125));
    assert_eq!(code(&["probe", "--container", "cask", "hello"]), Some(125));
    assert_eq!(code(&["probe", "--text", "--json", "hello"]), Some(125));
    assert_eq!(code(&["probe", "--entrypoint", "sh", "hello"]), Some(125));
    assert_eq!(code(&["probe"]), Some(1));
}
