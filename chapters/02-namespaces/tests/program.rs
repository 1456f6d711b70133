//! What chapter 2's program shows.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use process::needs;

fn ch02(arguments: &[&str]) -> std::process::Output {
    Command::new(cargo_bin("ch02-namespaces")).args(arguments).output().unwrap()
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r" +\d{10}", " [INODE]");
    settings.add_filter(r"(?:/usr)?/bin/sh", "[SH]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn a_shell_with_its_own_name_and_pid_1() {
    if !needs::user_namespaces() {
        return;
    }
    let output =
        ch02(&["--", "sh", "-c", "hostname; echo pid $$; id -u; ls /sys/class/net >/dev/null; wc -l < /proc/net/dev"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "cask\npid 1\n0\n3\n");
}

#[test]
fn parent_and_child_are_shown_side_by_side() {
    if !needs::root() {
        return;
    }
    let output = ch02(&["--", "true"]);
    snapshot("table", &String::from_utf8(output.stderr).unwrap());
}

#[test]
fn kept_kinds_are_shared() {
    if !needs::user_namespaces() {
        return;
    }
    let inode = std::fs::read_link("/proc/self/ns/net").unwrap();
    let output = ch02(&["--keep", "net,ipc", "--", "readlink", "/proc/self/ns/net"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), inode.to_str().unwrap());
}

#[test]
fn the_clock_of_a_time_namespace_is_ahead() {
    if !needs::user_namespaces() {
        return;
    }
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let outside = uptime(&std::fs::read_to_string("/proc/uptime").unwrap());
    let inside = uptime(&String::from_utf8(ch02(&["--", "cat", "/proc/uptime"]).stdout).unwrap());
    assert!((3600..3700).contains(&(inside - outside)), "{outside} {inside}");
}

#[test]
fn another_process_is_joined_also_in_its_pid_namespace() {
    if !needs::root() {
        return;
    }
    let mut host = Command::new(cargo_bin("ch02-namespaces"))
        .args(["--hostname", "other", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(host.stdout.take().unwrap()), &mut line).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", host.id())).unwrap();
    let guest = children.split_whitespace().next().unwrap();
    let output = ch02(&["--enter", guest, "--", "sh", "-c", "hostname; readlink /proc/self/ns/pid"]);
    let namespace = std::fs::read_link(format!("/proc/{guest}/ns/pid")).unwrap();
    process::PidFd::open(guest.parse().unwrap()).unwrap().signal(process::Signal::SIGKILL).unwrap();
    host.wait().unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    // /proc is still the machine's, in which `self` has no meaning for a process of another pid namespace... but
    // the machine's /proc shows all processes, so it has.
    assert_eq!(seen, format!("other\n{}\n", namespace.display()));
}

#[test]
fn an_unknown_kind_is_refused_by_name() {
    let output = ch02(&["--keep", "nest", "--", "true"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("nest"));
}
