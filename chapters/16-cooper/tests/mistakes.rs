//! What goes wrong in a user's day: each a clear message, a hint, and docker's exit code.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// An engine of the test's own, swept up at the end.
struct Engine(tempfile::TempDir);

impl Engine {
    fn new() -> Engine {
        Engine(tempfile::tempdir().unwrap())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.arg("--root").arg(self.0.path()).args(words).env("DOCKER_CONFIG", self.0.path().join("logins"));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    /// The exit code, and what was said on stderr.
    fn refusal(&self, words: &[&str]) -> String {
        let output = self.run(words);
        format!("exit code {}\n{}", output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.run(&["ps", "-aq"]).stdout).lines() {
            self.run(&["rm", "-f", line]);
        }
        self.run(&["system", "prune", "-f"]);
    }
}

/// Ids, made-up names and times differ from run to run.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[ID]");
    settings.add_filter(r#""[a-z]+_[a-z]+""#, r#""[NAME]""#);
    settings.add_filter(r"\bport 127\.0\.0\.1:\d+/tcp", "port 127.0.0.1:[PORT]/tcp");
    settings.add_filter(r"(?:Less than a second|\d seconds?)( ago)?(?: {3,})", "[TIME]$1   ");
    // Columns are as wide as what stands in them.
    settings.add_filter(" {3,}", "   ");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn images_that_are_nowhere() {
    if !process::needs::root() {
        return;
    }
    let engine = Engine::new();
    snapshot("unknown_image", &engine.refusal(&["run", "--pull", "never", "nope"]));
    snapshot("unreachable_registry", &engine.refusal(&["run", "--rm", "localhost:1/nope"]));
    snapshot("unknown_image_of_rmi", &engine.refusal(&["rmi", "nope"]));
    snapshot("no_reference", &engine.refusal(&["pull", "localhost/UPPER"]));
}

#[test]
fn commands_that_cannot_be_run() {
    if !process::needs::root() {
        return;
    }
    let engine = Engine::new();
    snapshot("not_found", &engine.refusal(&["run", "--rm", "host", "no-such-command"]));
    snapshot("not_executable", &engine.refusal(&["run", "--rm", "host", "/etc"]));
    assert_eq!(engine.run(&["run", "--rm", "host", "sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(
        engine.run(&["run", "--rm", "host", "sh", "-c", "kill -9 $$"]).status.code(),
        Some(0),
        "pid 1 is immune"
    );
    assert_eq!(engine.ok(&["ps", "-aq"]), "", "--rm removes what never began, too");
}

#[test]
fn names_and_ports_that_others_have() {
    if !process::needs::root() || !process::needs::program("nft") {
        return;
    }
    let engine = Engine::new();
    engine.ok(&["run", "-d", "--name", "web", "host", "sleep", "1000"]);
    snapshot("name_in_use", &engine.refusal(&["run", "--name", "web", "host", "true"]));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("127.0.0.1:{}:80", taken.local_addr().unwrap().port());
    snapshot("port_in_use", &engine.refusal(&["run", "--rm", "-p", &port, "host", "true"]));
    snapshot("ps", &engine.ok(&["ps"]));
    snapshot("removing_what_runs", &engine.refusal(&["rm", "web"]));
    engine.ok(&["rm", "-f", "web"]);
}

#[test]
fn a_dockerfile_s_unknown_instruction_names_file_and_line() {
    if !process::needs::root() {
        return;
    }
    let engine = Engine::new();
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), "FROM host\n\nFROBNICATE x\n").unwrap();
    let output = engine.command(&["build", "-q", "."]).current_dir(context.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    snapshot("unknown_instruction", &String::from_utf8(output.stderr).unwrap());
}

#[test]
fn a_terminal_is_asked_for_and_there_is_none() {
    if !process::needs::root() {
        return;
    }
    let engine = Engine::new();
    snapshot("no_terminal", &engine.refusal(&["run", "--rm", "-it", "host", "sh"]));
    let mut child = engine
        .command(&["run", "--rm", "-i", "host", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"through\n");
}
