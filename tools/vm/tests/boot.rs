//! Boots the machine for real: some fifteen seconds.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn a_command_sees_cgroup_v2_and_its_exit_code_comes_back() {
    if !process::needs::program("qemu-system-x86_64")
        || !process::needs::program("apt-get")
        || !process::needs::program("busybox")
    {
        return;
    }
    let script = "cat /sys/fs/cgroup/cgroup.controllers; grep -c overlay /proc/filesystems; exit 7";
    let output = Command::new(env!("CARGO_BIN_EXE_vm")).args(["run", "sh", "-c", script]).output().unwrap();
    let (text, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{text}{complaint}");
    for controller in ["cpu", "memory", "pids"] {
        assert!(text.lines().next().unwrap().split(' ').any(|name| name == controller), "{text}");
    }
    assert_eq!(text.lines().nth(1), Some("1"));
}
