//! What the small binary prints, from its start to its orderly end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::wire::ask;

const BINARY: &str = env!("CARGO_BIN_EXE_ch13-registry");

#[test]
fn it_says_where_it_listens_and_tells_each_request_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(BINARY)
        .args(["--listen", "127.0.0.1:0"])
        .arg(dir.path().join("root"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    let address = text.split(['/', ',']).nth(2).unwrap().to_owned();
    let to = address.parse().unwrap();
    ask(to, "GET /v2/", &[], b"");
    ask(to, "POST /v2/a/blobs/uploads/", &[], b"");
    ask(to, "GET /v2/a/manifests/latest", &[], b"");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    out.read_to_string(&mut text).unwrap();
    text.push_str("---\n");
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text.push_str(&format!("---\n{status}"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&address.replace('.', r"\."), "[ADDRESS]");
    settings.add_filter(&dir.path().display().to_string(), "[DIR]");
    settings.add_filter(r"\([0-9.]+[a-zµ]+\)", "([TIME])");
    settings.bind(|| insta::assert_snapshot!(text));
}

#[test]
fn an_address_that_is_not_ours_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY).args(["--listen", "192.0.2.1:5000"]).arg(dir.path()).output().unwrap();
    let text = format!("{}exit {}", String::from_utf8_lossy(&output.stderr), output.status.code().unwrap());
    insta::assert_snapshot!(text);
}
