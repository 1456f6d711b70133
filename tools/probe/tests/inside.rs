//! The embedded program, run in a root that has nothing else.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

#[test]
fn the_probe_runs_anywhere_and_tells_about_itself() {
    let directory = std::env::temp_dir().join(format!("probe-test-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("probe");
    fs::write(&path, probe::PROBE).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&path).env_clear().env("WORD", "a \"quote\"\n").stdin(Stdio::null()).output().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert!(text.contains(&format!(r#""bounding":"{bounding}""#)), "{text}");
    assert!(text.contains(r#""WORD":"a \"quote\"\u000a""#), "{text}");
    let pid_namespace = fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
    let inode = pid_namespace.trim_start_matches("pid:[").trim_end_matches(']').to_owned();
    assert!(text.contains(&format!(r#""pid":{inode}"#)), "{text}");
    assert!(text.contains(r#""descriptors":{"0":"/dev/null","1":"pipe:"#), "{text}");
}
