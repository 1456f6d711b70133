//! Every exercise of the workspace: the starter fails as stated, the reference passes, each mutant is caught, and what a
//! reader is told is what an author has read.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;

fn lab() -> Command {
    let mut lab = Command::cargo_bin("lab").unwrap();
    lab.arg("-C").arg(Path::new(env!("CARGO_MANIFEST_DIR")));
    lab
}

fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Whether exercises can be run here; if not, says so, and fails where a skip is not accepted.
fn user_namespaces() -> bool {
    let (_, findings) = output(lab().arg("doctor"));
    let usable = findings.lines().any(|line| line.starts_with("ok   user namespaces"));
    if !usable {
        assert!(std::env::var("CI").is_err(), "CI must have user namespaces:\n{findings}");
        // Not eprintln!: the test harness swallows what a passing test prints, and a skip must be seen.
        std::io::stderr().write_all(format!("SKIP: user namespaces\n{findings}").as_bytes()).unwrap();
    }
    usable
}

#[test]
fn each_wrong_answer_is_told_what_the_kernel_says() {
    if !user_namespaces() {
        return;
    }
    let (success, text) = output(lab().args(["verify", "--messages"]));
    let mut settings = insta::Settings::clone_current();
    // Mount ids, device and options of this machine's root.
    settings.add_filter(r"found     \d+ \d+ \d+:\d+ / / .*", "found     [ID] [PARENT] [DEVICE] / / [OPTIONS]");
    settings.add_filter(r"pivot\.rs:\d+:\d+", "pivot.rs:[LINE]");
    settings.add_filter(r"\(\d+\) panicked", "([PID]) panicked");
    settings.bind(|| insta::assert_snapshot!(text));
    assert!(success);
}

#[test]
fn an_unknown_exercise_is_answered_with_those_that_there_are() {
    let (success, text) = output(lab().args(["check", "swim"]));
    assert!(!success);
    insta::assert_snapshot!(text, @r#"lab: no exercise is called "swim"; there are: pivot-root"#);
}

#[test]
fn a_starter_has_its_holes_and_its_history_and_no_solutions() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().join("mine");
    let (success, text) = output(lab().arg("init").arg(&workspace));
    assert!(success, "{text}");
    let source = std::fs::read_to_string(workspace.join("chapters/03-rootfs/src/pivot.rs")).unwrap();
    assert!(source.contains("{\n    todo!(\"pivot-root: see chapter 3\")\n}"), "{source}");
    assert!(!workspace.join("chapters/03-rootfs/lab/mutants").exists());
    let (_, log) = output(Command::new("git").arg("-C").arg(&workspace).args(["log", "--format=%s"]));
    assert_eq!(log, "Start: the sources, with holes\n");
    let (success, text) = output(lab().arg("init").arg(&workspace));
    assert!(!success && text.contains("exists and is not empty"), "{text}");
}

#[test]
fn reset_saves_what_the_reader_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().join("mine");
    assert!(output(lab().arg("init").arg(&workspace)).0);
    let path = workspace.join("chapters/03-rootfs/src/pivot.rs");
    let starter = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, starter.replace("todo!(\"pivot-root: see chapter 3\")", "Ok(()) // my first try")).unwrap();
    let mut reset = Command::cargo_bin("lab").unwrap();
    let (success, text) = output(reset.arg("-C").arg(&workspace).args(["reset", "pivot-root"]));
    assert!(success, "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), starter);
    assert!(std::fs::read_to_string(workspace.join(".lab/pivot-root-1.rs")).unwrap().contains("my first try"));
}

#[test]
fn the_harness_refuses_to_run_outside_its_own_namespaces() {
    let plan = r#"{"program":"/bin/true","arguments":[],"scratch":"/tmp","name":"r0","forbidden":0}"#;
    let (success, text) = output(lab().args(["inside", "first"]).env("LAB_PLAN", plan));
    assert!(!success);
    assert_eq!(text, "lab: refused: not the first process of a pid namespace\n");
}
