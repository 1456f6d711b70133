//! What a class without a network is given: it builds, it checks, and it gives nothing away.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use lab::workspace::Workspace;
use lab::{hole, starter};

fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// The sources below a directory, with the dependencies left out.
fn texts(directory: &Path, all: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !["vendor", "target", ".git"].iter().any(|name| path.ends_with(name)) {
                texts(&path, all);
            }
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            all.push((path, text));
        }
    }
}

#[test]
fn a_bundle_builds_without_a_network_and_gives_no_solution_away() {
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path().join("class");
    let cooper = Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut export = Command::cargo_bin("lab").unwrap();
    export.arg("-C").arg(cooper.root()).args(["export", "--no-book", "--student"]).arg(&bundle);
    let (success, text) = output(&mut export);
    assert!(success, "{text}");

    // Of each solution, the longest line of code stands nowhere.
    let mut found = Vec::new();
    texts(&bundle, &mut found);
    let original = starter::sources(&cooper).unwrap();
    for exercise in cooper.exercises().unwrap() {
        let text = String::from_utf8(original[&exercise.source()].clone()).unwrap();
        let reference = &text[hole::find(&text, &exercise.id).unwrap().body];
        let line = reference.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let line = line.max_by_key(|line| line.len()).unwrap();
        for (path, text) in &found {
            assert!(!text.contains(line), "{} gives {} away: {line}", path.display(), exercise.id);
        }
    }
    assert!(!found.iter().any(|(path, _)| path.ends_with("mutants.toml") || path.ends_with(".lab/origin")));

    // In a network namespace of its own not even loopback is up; and nothing was ever fetched into this CARGO_HOME.
    let mut build = Command::new("unshare");
    build.args(["--user", "--map-root-user", "--net", "cargo", "build", "--quiet", "-p", "ch01-process"]);
    build.current_dir(&bundle).env("CARGO_HOME", place.path().join("cargo")).env_remove("CARGO_TARGET_DIR");
    let (success, text) = output(&mut build);
    if text.contains("unshare: ") {
        assert!(std::env::var("CI").is_err(), "CI must have user namespaces: {text}");
        return;
    }
    assert!(success, "{text}");
    let mut check = Command::cargo_bin("lab").unwrap();
    let (success, text) = output(check.arg("-C").arg(&bundle).args(["check", "look-up"]));
    assert!(!success && text.starts_with("look-up: your function is not written yet"), "{text}");
}
