//! What the command line says about itself, and to whoever mistypes.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn cooper(words: &[&str]) -> Output {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
    // The help is wrapped to the terminal's width: the same everywhere.
    command.env("COLUMNS", "100").env_remove("COOPER_ROOT");
    command.arg("--root").arg(root.path()).args(words).output().unwrap()
}

fn help(words: &[&str]) -> String {
    let output = cooper(words);
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code, and what was said on stderr.
fn refusal(words: &[&str]) -> String {
    let output = cooper(words);
    format!("exit code {}\n{}", output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(help(&["--help"]));
}

#[test]
fn help_of_run_names_every_flag_and_leaves_h_to_the_host_name() {
    let help = help(&["run", "--help"]);
    assert!(help.contains("-h, --hostname"));
    insta::assert_snapshot!(help);
}

#[test]
fn every_command_has_help() {
    let words = ["create", "start", "stop", "kill", "rm", "wait", "attach", "exec", "ps", "logs", "inspect", "port"];
    let more = ["build", "pull", "push", "login", "logout", "images", "rmi", "tag", "image", "network", "volume"];
    let last = ["system", "info", "version", "registry", "daemon", "compose"];
    for word in words.iter().chain(&more).chain(&last) {
        assert!(help(&[word, "--help"]).contains("Usage: cooper"), "{word}");
    }
}

#[test]
fn an_unknown_flag_is_125_and_named() {
    insta::assert_snapshot!(refusal(&["run", "--no-such-flag", "all", "hello"]));
    assert!(refusal(&["ps", "--bogus"]).starts_with("exit code 125\n"));
}

#[test]
fn a_flag_after_the_image_belongs_to_the_command() {
    // Were it taken for a flag of ours, this would be an unknown one.
    let said = refusal(&["run", "--pull", "never", "no-such-image", "--no-such-flag"]);
    assert!(said.contains("no-such-image"), "{said}");
    // Here it would be one that lacks its value, or changes what is run.
    for flag in ["--name", "-e", "--gpus"] {
        let said = refusal(&["run", "--pull", "never", "no-such-image", flag]);
        assert!(said.contains("no-such-image"), "{said}");
        let said = refusal(&["exec", "no-such-container", flag]);
        assert!(said.contains("no-such-container"), "{said}");
    }
}

#[test]
fn a_missing_argument_and_an_unknown_command_are_1() {
    assert!(refusal(&["run"]).starts_with("exit code 1\n"));
    assert!(refusal(&["rm"]).starts_with("exit code 1\n"));
    assert!(refusal(&["frobnicate"]).starts_with("exit code 1\n"));
}

#[test]
fn values_that_are_none_are_named_with_their_flag() {
    insta::assert_snapshot!(refusal(&["run", "-m", "much", "hello"]));
    insta::assert_snapshot!(refusal(&["run", "-p", "a:b", "hello"]));
    insta::assert_snapshot!(refusal(&["ps", "--format", "{{.ID"]));
    insta::assert_snapshot!(refusal(&["ps", "--filter", "moon=full"]));
}
