//! The chapter's program, as a reader runs it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn output(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ch05-cgroups")).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Values that differ between machines and generations, by name.
fn filters() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)^(memory|cpu|pids)\.[a-z_.]+ <- .*\n", "");
    settings.add_filter(r"cpu: \d+ ms used", "cpu: [USED] ms used");
    settings
        .add_filter(r"throttled in \d+ of \d+ periods, for \d+ ms", "throttled in [PERIODS] periods, for [TIME] ms");
    settings
}

fn usable() -> bool {
    process::needs::root() && cgroups::Hierarchy::detect().is_usable()
}

#[test]
fn a_guest_that_wants_too_much_memory_is_killed_and_counted() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(output(&["oom", "--memory", "16"])));
}

#[test]
fn a_spinning_guest_is_throttled() {
    if !usable() {
        return;
    }
    let text = output(&["throttle", "--milliseconds", "500"]);
    filters().bind(|| insta::assert_snapshot!(text));
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(output(&["forkbomb", "--pids", "8"])));
}

#[test]
fn the_exit_code_is_the_commands() {
    if !usable() {
        return;
    }
    let run = |script: &str| {
        let program = env!("CARGO_BIN_EXE_ch05-cgroups");
        Command::new(program).args(["run", "--pids", "20", "--", "sh", "-c", script]).output().unwrap().status.code()
    };
    assert_eq!(run("exit 7"), Some(7));
    assert_eq!(run("kill -9 $$"), Some(137));
}
