//! What chapter 2's program shows.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use process::needs;

fn ch02(arguments: &[&str]) -> std::process::Output {
    Command::new(cargo_bin("ch02-namespaces")).args(arguments).output().unwrap()
}

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What the machine and the moment decide, by its name. Columns are as wide as what stands in them.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    settings.add_filter(&format!("(?m)^(uts +){machine}, domain .*?  +"), "${1}[MACHINE]  ");
    settings.add_filter(r"(?m)^(cgroup +)it stands at /\S* +", "${1}it stands at [CGROUP]  ");
    settings.add_filter(r"(?m)^(ipc +)\d+ System V objects  +", "${1}[COUNT] System V objects  ");
    settings.add_filter(r"(?m)^(net +)interfaces .*?  +", "${1}interfaces [INTERFACES]  ");
    settings.add_filter(r"(?m)^(pid +)it is pid \d+, its parent \d+ +", "${1}it is pid [PID], its parent [PID]  ");
    settings.add_filter(r"up for \d+ s *", "up for [SECONDS] s  ");
    settings.add_filter(r"\d+ mounts, / is mount \d+ *", "[COUNT] mounts, / is mount [ID]  ");
    settings.add_filter(r"(?m)^(user +)uid \d+, of \d+ ids  +", "${1}uid [UID], of [COUNT] ids  ");
    settings.add_filter(r"outside \d+,", "outside [UID],");
    settings.add_filter(r" +\d{10}", " [INODE]");
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
fn parent_and_child_are_shown_side_by_side_also_to_an_ordinary_user() {
    if !needs::user_namespaces() || !needs::root() || !needs::account("learner") {
        return;
    }
    let program = cargo_bin("ch02-namespaces");
    let output =
        Command::new("runuser").args(["-u", "learner", "--"]).arg(program).args(["--", "true"]).output().unwrap();
    snapshot("table_of_an_ordinary_user", &String::from_utf8(output.stderr).unwrap());
}

#[test]
fn the_rules_of_order_are_told() {
    snapshot("rules", &stdout(&ch02(&["rules"])));
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

#[test]
fn a_clock_may_be_ahead_by_less_than_a_second_and_behind_but_not_before_boot() {
    if !needs::user_namespaces() {
        return;
    }
    let inside = |clock: &str| ch02(&["--clock", clock, "--", "grep", "boottime", "/proc/self/timens_offsets"]);
    assert_eq!(stdout(&inside("1.5")).split_whitespace().collect::<Vec<_>>(), ["boottime", "1", "500000000"]);
    assert_eq!(stdout(&inside("-0.25")).split_whitespace().collect::<Vec<_>>(), ["boottime", "-1", "750000000"]);
    let refused = String::from_utf8(inside("-99999999999").stderr).unwrap();
    assert!(refused.contains("(monotonic -99999999999 s, boottime -99999999999 s): ERANGE"), "{refused}");
}

#[test]
fn host_and_domain_have_names_of_their_own() {
    if !needs::user_namespaces() {
        return;
    }
    let script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname";
    let output = ch02(&["--hostname", "barrel", "--domainname", "cellar", "--", "sh", "-c", script]);
    assert_eq!(stdout(&output), "barrel\ncellar\n");
}

#[test]
fn lent_ids_are_mapped_from_one_on() {
    if !needs::root() || !needs::account("learner") || !needs::program("newuidmap") {
        return;
    }
    let program = cargo_bin("ch02-namespaces");
    let inside = ["--ids", "lent", "--", "sh", "-c", "wc -l < /proc/self/uid_map; cat /proc/self/setgroups"];
    let output = Command::new("runuser").args(["-u", "learner", "--"]).arg(program).args(inside).output().unwrap();
    // With a range, groups are lent by the machine, so a process may also change which it is in.
    assert_eq!(stdout(&output), "2\nallow\n");
}

#[test]
fn one_namespace_is_joined_by_its_path_and_no_other() {
    if !needs::root() {
        return;
    }
    let network = format!("net=/proc/{}/ns/net", std::process::id());
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        stdout(&ch02(&["--join", &network, "--", "readlink", "/proc/self/ns/net"])).trim(),
        ours.to_str().unwrap()
    );
    let wrong = ch02(&["--join", "net=/etc/passwd", "--", "true"]);
    assert!(String::from_utf8(wrong.stderr).unwrap().contains(r#"open "/etc/passwd": not a namespace"#));
    let twice = ch02(&["--join", &network, "--join", &network, "--", "true"]);
    assert!(String::from_utf8(twice.stderr).unwrap().contains(r#"plan namespaces "net": named twice"#));
}
