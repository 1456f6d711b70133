#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::io::{IoCeiling, IoWeight};
use super::*;
use crate::HugetlbLimit;
use crate::limits::UNLIMITED;

fn written(limits: &Limits, version: Version) -> Vec<String> {
    let told = |setting: Setting| match setting.if_missing {
        IfMissing::Fail => format!("{} {}", setting.file, setting.value),
        IfMissing::GoWithout => format!("{} {}   (or go without)", setting.file, setting.value),
        IfMissing::Write(file, value) => format!("{} {}   (or {file} {value})", setting.file, setting.value),
    };
    limits.files(version).into_iter().map(told).collect()
}

#[test]
fn every_limit_in_both_generations() {
    let limits = Limits {
        memory: Some(64 << 20),
        memory_swap: Some(96 << 20),
        memory_reservation: Some(32 << 20),
        cpu_quota_us: Some(50_000),
        cpu_burst_us: Some(10_000),
        cpu_idle: Some(false),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0-1".to_owned()),
        pids: Some(64),
        io_weight: Some(500),
        io_weights: vec![IoWeight { major: 8, minor: 16, weight: 10 }],
        io_ceilings: vec![IoCeiling { major: 8, read_bps: Some(1 << 20), write_iops: Some(0), ..IoCeiling::default() }],
        hugetlb: vec![HugetlbLimit { page_size: "2MB".to_owned(), bytes: 4 << 20 }],
        ..Limits::default()
    };
    limits.check(Version::V1).unwrap();
    let only_v2 = Limits {
        memory_high: Some(48 << 20),
        oom_group: true,
        unified: BTreeMap::from([("memory.zswap.max".to_owned(), "0".to_owned())]),
        ..limits.clone()
    };
    only_v2.check(Version::V2).unwrap();
    insta::assert_debug_snapshot!([written(&only_v2, Version::V2), written(&limits, Version::V1)]);
}

#[test]
fn unlimited_is_written_as_each_generation_says_it() {
    let limits = Limits { memory_swap: Some(-1), cpu_quota_us: Some(-1), pids: Some(-1), ..Limits::default() };
    assert_eq!(
        written(&limits, Version::V2),
        ["memory.swap.max max   (or go without)", "cpu.max max 100000", "pids.max max"]
    );
    assert_eq!(
        written(&limits, Version::V1),
        ["memory.memsw.limit_in_bytes -1   (or go without)", "cpu.cfs_quota_us -1", "pids.max max"]
    );
}

#[test]
fn a_memory_limit_is_taken_away_with_that_on_swap() {
    let limits = Limits { memory: Some(UNLIMITED), ..Limits::default() };
    limits.check(Version::V1).unwrap();
    assert_eq!(written(&limits, Version::V2), ["memory.max max", "memory.swap.max max   (or go without)"]);
    assert_eq!(
        written(&limits, Version::V1),
        ["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1   (or go without)"]
    );
    let contradiction = Limits { memory_swap: Some(1 << 30), ..limits };
    assert!(contradiction.check(Version::V2).is_err());
}

#[test]
fn nothing_asked_is_nothing_written() {
    assert!(Limits::default().is_empty());
    assert!(written(&Limits::default(), Version::V2).is_empty());
    assert!(written(&Limits::default(), Version::V1).is_empty());
}

/// A group's files, as a kernel would show them.
fn shown(files: &[(&str, &str)]) -> impl Fn(Controller, &str) -> Result<Option<String>, CallError> {
    let files: BTreeMap<String, String> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    move |_, name| Ok(files.get(name).cloned())
}

#[test]
fn the_counters_of_both_generations_come_out_alike() {
    let v2 = shown(&[
        ("memory.current", "1000\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "2000\n"),
        ("memory.swap.current", "10\n"),
        ("memory.swap.max", "20\n"),
        ("memory.stat", "anon 600\nfile 300\ninactive_file 100\n"),
        ("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n"),
        (
            "cpu.stat",
            "usage_usec 5000\nuser_usec 30000\nsystem_usec 10000\nnr_periods 3\nnr_throttled 2\nthrottled_usec 7\n",
        ),
        ("pids.current", "3\n"),
        ("pids.max", "9\n"),
        ("pids.events", "max 5\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:1 \n"),
        ("hugetlb.2MB.current", "0\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.events", "max 1\n"),
    ]);
    let v1 = shown(&[
        ("memory.usage_in_bytes", "1000\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.max_usage_in_bytes", "2000\n"),
        ("memory.memsw.usage_in_bytes", "1010\n"),
        ("memory.memsw.limit_in_bytes", "20\n"),
        ("memory.stat", "cache 1\ntotal_cache 300\ntotal_rss 600\ntotal_inactive_file 100\n"),
        ("memory.failcnt", "4\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("cpuacct.usage", "5000000\n"),
        ("cpuacct.stat", "user 3\nsystem 1\n"),
        ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 7000\n"),
        ("pids.current", "3\n"),
        ("pids.max", "9\n"),
        ("pids.events", "max 5\n"),
        (
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Total 3\n7:1 Read 0\nTotal 3\n",
        ),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 3\n8:0 Write 4\n8:0 Total 7\nTotal 7\n"),
        ("hugetlb.2MB.usage_in_bytes", "0\n"),
        ("hugetlb.2MB.limit_in_bytes", "9223372036852678656\n"),
        ("hugetlb.2MB.failcnt", "1\n"),
    ]);
    let sizes = ["2MB".to_owned(), "1GB".to_owned()];
    let (mut of_v2, mut of_v1) = (counted_by_v2(&v2, &sizes).unwrap(), counted_by_v1(&v1, &sizes).unwrap());
    assert_eq!(of_v2.memory.details.remove("anon"), Some(600), "the two have other names for most");
    assert_eq!(of_v1.memory.details.remove("rss"), Some(600));
    of_v2.memory.details.clear();
    of_v1.memory.details.clear();
    of_v2.io.sort_by_key(|disk| (disk.major, disk.minor));
    assert_eq!(of_v2, of_v1);
    assert_eq!(of_v1.hugetlb.len(), 1, "a size without files is no size that is counted");
    insta::assert_debug_snapshot!(of_v1);
}

#[test]
fn a_kernel_without_any_of_the_files_has_counted_nothing() {
    let none = shown(&[]);
    assert_eq!(counted_by_v2(&none, &["2MB".to_owned()]).unwrap(), Stats::default());
    assert_eq!(counted_by_v1(&none, &[]).unwrap(), Stats::default());
}
