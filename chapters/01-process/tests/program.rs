//! What chapter 1's program shows.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

fn ch01(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(cargo_bin("ch01-process")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"pid \d+", "pid [PID]");
    settings.add_filter(r"(?:/usr)?/bin/sh", "[SH]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn exit_codes_are_passed_on() {
    let (code, text) = ch01(&["run", "--", "sh", "-c", "echo said; exit 3"]);
    assert_eq!(code, Some(3));
    snapshot("run", &text);
}

#[test]
fn a_signal_becomes_128_and_its_number() {
    let (code, text) = ch01(&["run", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(code, Some(137));
    snapshot("killed", &text);
}

#[test]
fn not_found_and_not_executable_are_told_apart() {
    let (missing, first) = ch01(&["run", "--", "no-such-program"]);
    let (refused, second) = ch01(&["run", "--", "/etc/passwd"]);
    assert_eq!((missing, refused), (Some(127), Some(126)));
    snapshot("refused", &[first, second].concat());
}

#[test]
fn orphans_are_adopted_and_reaped() {
    let (_, text) = ch01(&["init", "--", "sh", "-c", "(sleep 0.2 &); (sleep 0.2 &); echo gone"]);
    assert!(text.contains("reaped 2 orphan(s)"), "{text}");
}

#[test]
fn the_story_is_told_in_order() {
    let (_, text) = ch01(&["--explain", "init", "--", "sh", "-c", "true"]);
    snapshot("story", &text);
}

#[test]
fn a_program_inherits_no_descriptor_and_no_signal_setting() {
    let mut command = Command::new("sh");
    // A careless caller: descriptor 7 is open, SIGUSR1 ignored.
    let careless =
        format!("trap '' USR1; exec 7</dev/null; exec {} run -- sh -c \"$1\"", cargo_bin("ch01-process").display());
    command.args(["-c", &careless, "sh", "ls /proc/self/fd; grep SigIgn /proc/self/status"]);
    let output = command.output().unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    // ls itself holds 3 while it looks.
    assert_eq!(seen.lines().take_while(|line| !line.starts_with("SigIgn")).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert!(seen.contains("SigIgn:\t0000000000000000"), "{seen}");
}

#[test]
fn signals_are_passed_on() {
    let mut parent = Command::new(cargo_bin("ch01-process"))
        .args(["run", "--", "sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = process::Pid::new(parent.id().cast_signed()).unwrap();
    process::PidFd::open(pid).unwrap().signal(process::Signal::SIGTERM).unwrap();
    assert_eq!(parent.wait().unwrap().code(), Some(42));
}

#[test]
fn a_process_with_threads_refuses_to_clone() {
    // This very test process: the harness runs each test in a thread of its own.
    let steps = [process::ProcessStep::NewSession];
    let error = process::spawn(&process::CloneArgs::default(), &steps).unwrap_err();
    assert!(error.to_string().contains("threads"), "{error}");
}

#[test]
fn a_parent_that_is_killed_takes_its_child_along() {
    let mut parent = Command::new(cargo_bin("ch01-process"))
        .args(["run", "--", "sh", "-c", "echo $$; exec sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child = process::PidFd::open(line.parse().unwrap()).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(child.ended_within(std::time::Duration::from_secs(60)).unwrap());
}

#[test]
fn a_real_time_signal_keeps_its_number() {
    let (code, text) = ch01(&["run", "--", "sh", "-c", "kill -37 $$"]);
    assert_eq!(code, Some(128 + 37));
    assert!(text.contains("SIGRTMIN+3 ended it"), "{text}");
}

/// What a demonstration prints to a user. Run by a careful parent, as signals that this test's caller ignores are shown, too.
fn demonstration(name: &str, user: Option<&str>) -> String {
    let careful = Command::new(cargo_bin("ch01-process"));
    let mut command = user.map_or(careful, |user| {
        let mut command = Command::new("runuser");
        command.args(["-u", user, "--"]).arg(cargo_bin("ch01-process"));
        command
    });
    command.args(["run", "--"]).arg(cargo_bin("ch01-process")).arg(name);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_child_inherits_what_nobody_takes_away() {
    snapshot("inherit", &demonstration("inherit", None));
}

#[test]
fn a_zombie_is_a_number_and_a_status() {
    snapshot("zombie", &demonstration("zombie", None));
}

#[test]
fn a_number_means_another_process_and_a_pidfd_does_not() {
    if process::needs::user_namespaces() {
        snapshot("reuse", &demonstration("reuse", None));
    }
}

#[test]
fn the_demonstrations_show_an_ordinary_user_the_same() {
    if !process::needs::root() || !process::needs::account("learner") || !process::needs::user_namespaces() {
        return;
    }
    for name in ["inherit", "zombie", "reuse"] {
        assert_eq!(demonstration(name, Some("learner")), demonstration(name, None));
    }
}
