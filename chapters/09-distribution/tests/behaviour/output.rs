//! What the small binary prints.

use std::process::Command;

use images::{Reference, Store};

use crate::debian_registry::DebianRegistry;
use crate::sample;

/// Runs the binary without anybody's logins; standard output, then standard error, then the code.
fn run(arguments: &[&str]) -> String {
    let nowhere = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ch09-distribution"))
        .args(arguments)
        .env("DOCKER_CONFIG", nowhere.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}---\n{err}---\nexit {}", output.status.code().unwrap())
}

fn settings(registry: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&regex_quoted(registry), "[REGISTRY]");
    settings.add_filter(r"uploads/[^?; ]+", "uploads/[SESSION]");
    settings.add_filter(
        r"(http://)?\[REGISTRY\]/v2/app/blobs/uploads/\[SESSION\]",
        "[REGISTRY]/v2/app/blobs/uploads/[SESSION]",
    );
    // What earlier chapters tell is theirs to change.
    settings.add_filter(r"(?m)^ch [1-8] .*\n", "");
    settings
}

fn regex_quoted(text: &str) -> String {
    text.replace('.', r"\.")
}

#[test]
fn resolve_tells_what_a_name_means_and_pull_tells_the_conversation() {
    if !process::needs::root() || !process::needs::program("docker-registry") {
        return;
    }
    let registry = DebianRegistry::open();
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}/app:1", registry.address());
    let there = dir.path().join("pulled");
    let (from, to) = (dir.path().to_str().unwrap(), there.to_str().unwrap());
    let store = Store::open(dir.path().join("images")).unwrap();
    let reference: Reference = name.parse().unwrap();
    sample::image(&store, &reference, &[&[("etc/motd", b"hello\n")]]);
    settings(&registry.address()).bind(|| {
        insta::assert_snapshot!("push_explained", run(&["--explain", "--parallel=1", "push", from, &name, &name]));
        insta::assert_snapshot!("resolve", run(&["resolve", &name]));
        insta::assert_snapshot!("pull_explained", run(&["--explain", "--parallel=1", "pull", &name, to]));
        insta::assert_snapshot!("pull_again", run(&["pull", &name, to]));
        insta::assert_snapshot!("unknown_image", run(&["resolve", &format!("{}/app:2", registry.address())]));
    });
}

#[test]
fn an_unreachable_registry_is_named_with_a_hint() {
    // Port 1 of loopback: nobody listens there.
    insta::assert_snapshot!(run(&["resolve", "127.0.0.1:1/app"]));
}

#[test]
fn a_bad_name_is_a_usage_error() {
    insta::assert_snapshot!(run(&["resolve", "127.0.0.1:1/App"]));
}
