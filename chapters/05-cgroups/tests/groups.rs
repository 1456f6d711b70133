//! Real cgroups on this machine, of whichever generation it has.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use cgroups::{Cgroup, Error, Hierarchy, Limits};
use process::Pid;
use scratch::{Scratch, path, sleeper, usable};

mod scratch;

fn state(pid: Pid) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap().to_owned()
}

#[test]
fn a_process_that_is_added_is_a_member_and_kill_ends_it() {
    if !usable() {
        return;
    }
    let group = Scratch::new("member", &Limits::default());
    let (mut child, pid) = sleeper();
    group.0.add(pid).unwrap();
    assert_eq!(group.0.processes().unwrap(), [pid]);
    assert_eq!(group.0.stats().unwrap().pids.current, 1);
    // A zombie still counts as a member of v1's lists, so somebody has to wait for it meanwhile.
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.0.kill().unwrap();
    assert!(!reaper.join().unwrap().success());
}

#[test]
fn a_frozen_process_stands_still_until_it_is_thawed() {
    if !usable() {
        return;
    }
    let group = Scratch::new("freeze", &Limits::default());
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
    group.0.add(pid).unwrap();
    group.0.freeze().unwrap();
    let before = group.0.stats().unwrap().cpu.usage_us;
    std::thread::sleep(Duration::from_millis(60));
    assert!(group.0.stats().unwrap().cpu.usage_us - before < 5_000, "it used CPU: {}", state(pid));
    group.0.thaw().unwrap();
    std::thread::sleep(Duration::from_millis(60));
    assert!(group.0.stats().unwrap().cpu.usage_us - before > 5_000);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn removal_waits_for_the_last_process_to_end() {
    if !usable() {
        return;
    }
    let group = Scratch::new("remove", &Limits::default());
    let mut child = Command::new("sleep").arg("0.3").spawn().unwrap();
    group.0.add(Pid::new(i32::try_from(child.id()).unwrap()).unwrap()).unwrap();
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let begun = Instant::now();
    group.0.remove().unwrap();
    assert!(begun.elapsed() > Duration::from_millis(100));
    assert!(group.0.directories().is_empty());
    reaper.join().unwrap();
}

#[test]
fn removing_takes_nested_groups_and_empty_parents_along() {
    if !usable() {
        return;
    }
    let group = Scratch::new("nested", &Limits::default());
    let directory = group.0.directories().remove(0);
    std::fs::create_dir_all(directory.join("inner/deeper")).unwrap();
    group.0.remove().unwrap();
    assert!(!directory.exists());
    assert!(!directory.parent().unwrap().exists());
}

#[test]
fn a_group_with_members_is_not_made_again() {
    if !usable() {
        return;
    }
    let group = Scratch::new("busy", &Limits::default());
    let (mut child, pid) = sleeper();
    group.0.add(pid).unwrap();
    let error = Hierarchy::detect().create(group.0.path(), &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Busy { count: 1, first, .. } if first == pid.get()), "{error}");
    // Whoever reads it learns what stands in the way, and whether it can be ended.
    assert!(error.to_string().contains("(sleep, state "), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_no_group_behind() {
    if !usable() {
        return;
    }
    let name = path("refused");
    let limits = Limits { cpuset_cpus: Some("4000-4001".to_owned()), ..Limits::default() };
    assert!(Hierarchy::detect().create(&name, &limits).is_err());
    assert!(Cgroup::open(&name).unwrap().directories().is_empty());
}

#[test]
fn a_cpuset_group_can_be_entered() {
    if !usable() {
        return;
    }
    let group = Scratch::new("cpuset", &Limits { cpuset_cpus: Some("0".to_owned()), ..Limits::default() });
    let (mut child, pid) = sleeper();
    group.0.add(pid).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_group_that_does_not_exist_has_no_counters_and_no_entrance() {
    if !usable() {
        return;
    }
    let group = Cgroup::open(&path("nothing")).unwrap();
    assert!(group.stats().is_err());
    assert!(group.processes().unwrap().is_empty());
    group.remove().unwrap();
}

#[test]
fn the_controllers_of_this_machine_are_those_that_it_says() {
    if !usable() {
        return;
    }
    let hierarchy = Hierarchy::detect();
    let controllers = hierarchy.controllers();
    for controller in ["cpu", "memory", "pids", "devices", "freezer"] {
        assert!(controllers.iter().any(|found| found.name() == controller), "{}", hierarchy.explanation());
    }
}
