//! Limits that change while members run, and what the kernel then does.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cgroups::limits::UNLIMITED;
use cgroups::{DeviceKind, DeviceRule, Error, Hierarchy, IoCeiling, IoWeight, Limits, Version, devices};
use process::Pid;
use scratch::{Scratch, sleeper, usable};

mod scratch;

fn version() -> Version {
    Hierarchy::detect().version().unwrap()
}

/// What a file of the group says; by its name on v2 or on v1.
fn file(group: &Scratch, v2: &str, v1: &str) -> String {
    let name = if version() == Version::V2 { v2 } else { v1 };
    let found =
        group.0.directories().into_iter().find_map(|directory| std::fs::read_to_string(directory.join(name)).ok());
    found.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
}

#[test]
fn limits_can_be_lowered_and_raised_with_swap() {
    if !usable() {
        return;
    }
    let limits = |memory: u64| Limits {
        memory: Some(memory << 20),
        memory_swap: Some(i64::try_from(memory << 20).unwrap()),
        ..Limits::default()
    };
    let group = Scratch::new("update", &limits(32));
    for mebibytes in [64, 16, 128] {
        group.0.update(&limits(mebibytes)).unwrap();
        assert_eq!(group.0.stats().unwrap().memory.limit, Some(mebibytes << 20));
    }
    group.0.update(&Limits { memory: Some(UNLIMITED), ..Limits::default() }).unwrap();
    let memory = group.0.stats().unwrap().memory;
    assert_eq!((memory.limit, memory.swap_limit), (None, None));
}

#[test]
fn quota_and_burst_can_be_lowered_and_raised_together() {
    if !usable() {
        return;
    }
    let limits = |quota: u64| Limits {
        cpu_quota_us: Some(i64::try_from(quota).unwrap()),
        cpu_burst_us: Some(quota / 2),
        ..Limits::default()
    };
    let group = Scratch::new("burst", &limits(20_000));
    for quota in [100_000, 5_000, 50_000] {
        group.0.update(&limits(quota)).unwrap();
        assert_eq!(file(&group, "cpu.max.burst", "cpu.cfs_burst_us"), (quota / 2).to_string());
        assert!(file(&group, "cpu.max", "cpu.cfs_quota_us").starts_with(&quota.to_string()));
    }
}

#[test]
fn an_update_leaves_alone_what_it_does_not_name() {
    if !usable() {
        return;
    }
    let group = Scratch::new("partly", &Limits { memory: Some(64 << 20), pids: Some(20), ..Limits::default() });
    group.0.update(&Limits { pids: Some(30), ..Limits::default() }).unwrap();
    let stats = group.0.stats().unwrap();
    assert_eq!((stats.memory.limit, stats.pids.limit), (Some(64 << 20), Some(30)));
    group.0.update(&Limits { pids: Some(-1), ..Limits::default() }).unwrap();
    assert_eq!(group.0.stats().unwrap().pids.limit, None);
}

/// A shell in the group that opens what it is told to.
struct Opener {
    shell: Child,
    replies: BufReader<std::process::ChildStdout>,
}

impl Opener {
    fn inside(group: &Scratch) -> Self {
        let script = "while read path; do if true <\"$path\"; then echo open; else echo refused; fi; done 2>/dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        group.0.add(Pid::new(i32::try_from(shell.id()).unwrap()).unwrap()).unwrap();
        let replies = BufReader::new(shell.stdout.take().unwrap());
        Self { shell, replies }
    }

    fn opens(&mut self, path: &str) -> bool {
        writeln!(self.shell.stdin.as_mut().unwrap(), "{path}").unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        match reply.trim() {
            "open" => true,
            "refused" => false,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // The end of its input ends the shell; killing it is for a test that failed.
        drop(self.shell.stdin.take());
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn a_device_that_the_rules_do_not_name_cannot_be_opened() {
    if !usable() {
        return;
    }
    let group = Scratch::new("devices", &Limits::default());
    let mut opener = Opener::inside(&group);
    assert!(opener.opens("/dev/null"));
    assert!(!opener.opens("/dev/kmsg"), "the kernel's log, which root may read otherwise");

    let log = DeviceRule {
        allow: true,
        kind: DeviceKind::Character,
        major: Some(1),
        minor: Some(11),
        access: "r".to_owned(),
    };
    let more: Vec<_> = devices::default_rules().into_iter().chain([log.clone()]).collect();
    group.0.update(&Limits { devices: Some(more.clone()), ..Limits::default() }).unwrap();
    assert!(opener.opens("/dev/kmsg"));
    assert!(opener.opens("/dev/null"));

    let less: Vec<_> = more.into_iter().chain([DeviceRule { allow: false, ..log }]).collect();
    group.0.update(&Limits { devices: Some(less), ..Limits::default() }).unwrap();
    assert!(!opener.opens("/dev/kmsg"));

    group.0.update(&Limits { devices: Some(DeviceRule::everything()), ..Limits::default() }).unwrap();
    assert!(opener.opens("/dev/kmsg"));
}

/// The numbers of a disk of this machine.
fn disk() -> Option<(u32, u32)> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let numbers = disks.filter_map(|disk| std::fs::read_to_string(disk.path().join("dev")).ok());
    numbers.min().and_then(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[test]
fn a_disk_can_be_given_a_ceiling_and_lose_it_again() {
    let Some((major, minor)) = disk().filter(|_| usable()) else { return };
    let ceiling = |bytes| IoCeiling { major, minor, write_bps: Some(bytes), ..IoCeiling::default() };
    let group = Scratch::new("io", &Limits { io_ceilings: vec![ceiling(1 << 20)], ..Limits::default() });
    let told = file(&group, "io.max", "blkio.throttle.write_bps_device");
    assert!(told.starts_with(&format!("{major}:{minor} ")) && told.contains("1048576"), "{told}");
    group.0.update(&Limits { io_ceilings: vec![ceiling(0)], ..Limits::default() }).unwrap();
    assert!(!file(&group, "io.max", "blkio.throttle.write_bps_device").contains("1048576"));
}

#[test]
fn a_weight_that_no_scheduler_here_keeps_is_an_error_and_not_forgotten() {
    if !usable() {
        return;
    }
    let group = Scratch::new("weight", &Limits::default());
    let files = ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"];
    let has_weights =
        group.0.directories().iter().any(|directory| files.iter().any(|name| directory.join(name).exists()));
    match group.0.update(&Limits { io_weight: Some(200), ..Limits::default() }) {
        Ok(()) => assert!(has_weights),
        Err(error) => assert!(!has_weights && matches!(error, Error::Controller { controller: "io", .. }), "{error}"),
    }
    let of_disk = vec![IoWeight { major: 4000, minor: 0, weight: 200 }];
    assert!(group.0.update(&Limits { io_weights: of_disk, ..Limits::default() }).is_err(), "there is no such disk");
}

#[test]
fn a_member_that_spins_is_slowed_down_by_a_quota_set_later() {
    if !usable() {
        return;
    }
    let group = Scratch::new("later", &Limits::default());
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    group.0.add(Pid::new(i32::try_from(child.id()).unwrap()).unwrap()).unwrap();
    group.0.update(&Limits::default().with_cpus(0.05).unwrap()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while group.0.stats().unwrap().cpu.throttled_periods == 0 {
        assert!(Instant::now() < deadline, "never throttled");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn on_v2_one_of_a_group_that_runs_out_of_memory_takes_the_others_along() {
    if !usable() || version() != Version::V2 {
        return;
    }
    let limits = Limits { memory: Some(16 << 20), memory_swap: Some(16 << 20), oom_group: true, ..Limits::default() };
    let group = Scratch::new("together", &limits);
    let (mut bystander, pid) = sleeper();
    group.0.add(pid).unwrap();
    let script = "read go; x=x; while :; do x=$x$x; done";
    let mut greedy = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    group.0.add(Pid::new(i32::try_from(greedy.id()).unwrap()).unwrap()).unwrap();
    greedy.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(!greedy.wait().unwrap().success());
    assert!(!bystander.wait().unwrap().success(), "it would have slept for a minute");
    assert!(group.0.oom_kills().unwrap() >= 2);
}

#[test]
fn on_v2_pressure_is_counted() {
    if !usable() || version() != Version::V2 {
        return;
    }
    let group = Scratch::new("pressure", &Limits::default());
    let is_counted = std::path::Path::new("/proc/pressure/cpu").exists();
    assert_eq!(group.0.stats().unwrap().pressure.is_some(), is_counted);
}
