//! A scope from a real systemd: its own, over its own socket, as root and as a user with a manager of its own.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// systemd becomes the first process of a pid namespace, as it is in a container. Two services of its are the stories: one
/// of the machine's manager, one of the user's, each a script that asks for scopes.
const STORY: &str = include_str!("systemd.sh");

#[test]
fn a_scope_is_made_limited_and_gone_as_root_and_as_a_user() {
    let programs = ["qemu-system-x86_64", "apt-get", "busybox"];
    let systemd = "/lib/systemd/systemd";
    if !programs.iter().all(|program| process::needs::program(program)) || !process::needs::file(systemd) {
        return;
    }
    let arguments = ["-p", "ch05-cgroups", "-p", "ch07-runtime", "--with", systemd, "run", "sh", "-c", STORY];
    let output = Command::new(env!("CARGO_BIN_EXE_vm")).args(arguments).output().unwrap();
    // Seen only if it fails. What cargo says while it builds is not the machine's word.
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    insta::with_settings!({filters => vec![
        (r"(?m)^found: .*: cpuset cpu [a-z ]+", "found: cgroup v2 at /sys/fs/cgroup: [CONTROLLERS]"),
    ]}, { insta::assert_snapshot!(text); });
}
