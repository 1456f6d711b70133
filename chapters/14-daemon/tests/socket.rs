//! The daemon on a socket: who may connect, what it answers, how it ends.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

struct Daemon {
    child: Child,
    socket: PathBuf,
    _root: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Daemon {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("api.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ch14-daemon"))
            .arg(&socket)
            .arg("--root")
            .arg(root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("API listen on {}\n", socket.display()));
        Daemon { child, socket, _root: root }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: cooper\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn body(&self, request: &str) -> serde_json::Value {
        let answer = self.ask(request);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already where the test ended it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn only_its_own_user_may_connect() {
    if !process::needs::root() {
        return;
    }
    let daemon = Daemon::start();
    let mode = std::fs::metadata(&daemon.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_ping_tells_the_version_that_is_spoken() {
    if !process::needs::root() {
        return;
    }
    let daemon = Daemon::start();
    let answer = daemon.ask("GET /_ping").to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("api-version: 1.47\r\n") && answer.ends_with("ok"), "{answer}");
    assert!(daemon.ask("HEAD /_ping").ends_with("\r\n\r\n"));
}

#[test]
fn versions_are_cut_off_and_those_of_the_future_refused() {
    if !process::needs::root() {
        return;
    }
    let daemon = Daemon::start();
    assert_eq!(daemon.body("GET /v1.41/containers/json?all=1"), serde_json::json!([]));
    assert_eq!(daemon.body("GET /images/json"), serde_json::json!([]));
    let refused = daemon.body("GET /v9.9/info");
    assert_eq!(refused["message"], "client version 9.9 is too new. Maximum supported API version is 1.47");
}

#[test]
fn what_is_not_served_is_named() {
    if !process::needs::root() {
        return;
    }
    let daemon = Daemon::start();
    let answer = daemon.ask("GET /v1.47/swarm");
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    assert!(answer.ends_with(r#"{"message":"GET /swarm is not served by this engine"}"#), "{answer}");
    assert!(daemon.ask("GET /containers/nope/json").ends_with(r#"{"message":"No such container: nope"}"#));
    assert!(daemon.ask("GET /images/nope/json").contains("No such image"));
    assert!(daemon.ask("DELETE /images/nope").contains("No such image"));
}

#[test]
fn a_filter_that_is_not_known_is_refused() {
    if !process::needs::root() {
        return;
    }
    let daemon = Daemon::start();
    let refused = daemon.body("GET /containers/json?filters=%7B%22moon%22%3A%5B%22full%22%5D%7D");
    assert_eq!(refused["message"], "invalid filter 'moon'");
}

#[test]
fn sigterm_ends_it_and_takes_the_socket_along() {
    if !process::needs::root() {
        return;
    }
    let mut daemon = Daemon::start();
    let pid = process::Pid::new(daemon.child.id().cast_signed()).unwrap();
    process::PidFd::open(pid).unwrap().signal(process::Signal::SIGTERM).unwrap();
    assert!(daemon.child.wait().unwrap().success());
    assert!(!daemon.socket.exists());
}

#[test]
fn tcp_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ch14-daemon"))
        .args(["tcp://0.0.0.0:2375", "--root"])
        .arg(root.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
    ch14-daemon: listen on "tcp://0.0.0.0:2375": TCP without mutual TLS is refused
    "#);
}

#[test]
fn help_says_what_it_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_ch14-daemon")).arg("--help").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}
