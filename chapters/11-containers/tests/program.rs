//! What the chapter's program prints.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::process::Command;

use sandbox::{BINARY, Sandbox};

/// Standard output and error of one run, and its exit code, with what varies named.
fn shown(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.command(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn help_says_what_it_shows() {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn hello_says_hello() {
    let Some(sandbox) = Sandbox::new() else { return };
    let output = sandbox.command(&["run", "--rm", "--network", "none", "hello"]);
    assert!(output.stdout.starts_with(b"Hello from a container made by Cooper!\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_container_is_left_alone_and_found_again() {
    let Some(sandbox) = Sandbox::new() else { return };
    let script = "trap 'echo stopping; exit 2' TERM; echo started; while :; do sleep 0.05; done";
    let run = sandbox.command(&["run", "-d", "--name", "web", "--network", "none", "host", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    sandbox::eventually(|| (!sandbox.command(&["logs", "web"]).stdout.is_empty()).then_some(())).unwrap();
    let lines = [
        shown(&sandbox, &["ps"]),
        shown(&sandbox, &["exec", "web", "sh", "-c", "echo inside; exit 6"]),
        shown(&sandbox, &["rm", "web"]),
        shown(&sandbox, &["stop", "web"]),
        shown(&sandbox, &["logs", "-f", "web"]),
        shown(&sandbox, &["ps", "-a"]),
        shown(&sandbox, &["run", "--name", "web", "hello"]),
        shown(&sandbox, &["rm", "web"]),
        shown(&sandbox, &["run", "--rm", "--name", "other", "--network", "none", "host", "no-such-program"]),
        shown(&sandbox, &["run", "nothing"]),
        shown(&sandbox, &["logs", "web"]),
    ];
    insta::with_settings!({ filters => vec![(r"\b[0-9a-f]{12}\b", "[CONTAINER]")] }, {
        insta::assert_snapshot!(lines.join("\n\n"));
    });
}
