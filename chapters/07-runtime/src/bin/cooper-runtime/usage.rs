//! `update` and `events`: what a container may use, and what it has used.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cgroups::{Cgroup, Stats};
use oci_spec::runtime::LinuxResources;
use runtime::StateDir;
use runtime::watch::{self, News};
use serde_json::{Map, Value, json};

/// Flags of `update`. What is not given stays as it is; -1 takes a limit away.
#[derive(clap::Args)]
pub(crate) struct Update {
    /// Read the limits from this file (the `linux.resources` part of a configuration; "-" is standard input). Other
    /// flags are ignored then.
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of disk accesses, 10 to 1000.
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Microseconds of a period of CPU time.
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Microseconds of CPU time in each period.
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Microseconds of unused quota that may be saved up.
    #[arg(long, value_name = "US")]
    cpu_burst: Option<u64>,
    /// Weight of CPU time.
    #[arg(long, visible_alias = "cpu-shares", value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Microseconds of a real-time period.
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// Microseconds for real-time processes in each such period.
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1: run only when nobody else wants to.
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// CPUs, such as 0-2,7.
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes.
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Bytes of memory.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<i64>,
    /// Bytes that reclaim leaves alone as long as it can.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<i64>,
    /// Bytes of memory and swap together.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Processes and threads.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// The container.
    id: String,
}

pub(crate) fn update(state: &StateDir, wanted: &Update) -> anyhow::Result<u8> {
    let resources = match &wanted.resources {
        Some(file) => read(file)?,
        None => serde_json::from_value(wanted.document()).context("update: flags")?,
    };
    runtime::update(state, &wanted.id, &resources)?;
    Ok(0)
}

fn read(file: &std::path::Path) -> anyhow::Result<LinuxResources> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("read limits from standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("read {file:?}"))?;
    }
    serde_json::from_str(&text).with_context(|| format!("read {file:?}"))
}

impl Update {
    /// The flags as the part of a configuration that they stand for.
    fn document(&self) -> Value {
        let mut document = json!({
            "memory": {"limit": self.memory, "reservation": self.memory_reservation, "swap": self.memory_swap},
            "cpu": {
                "shares": self.cpu_share, "quota": self.cpu_quota, "period": self.cpu_period, "burst": self.cpu_burst,
                "realtimeRuntime": self.cpu_rt_runtime, "realtimePeriod": self.cpu_rt_period, "idle": self.cpu_idle,
                "cpus": self.cpuset_cpus, "mems": self.cpuset_mems,
            },
            "blockIO": {"weight": self.blkio_weight},
        });
        if let Some(limit) = self.pids_limit {
            document["pids"] = json!({ "limit": limit });
        }
        document
    }
}

/// A time as Go programs write it: `5s`, `1m30s`, `500ms`.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time such as 5s, 500ms or 1m30s");
    let (mut rest, mut whole) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let units = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| digits + length);
        let seconds = match &rest[digits..units] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return Err(refused()),
        };
        let number: f64 = rest[..digits].parse().map_err(|_| refused())?;
        whole += Duration::try_from_secs_f64(number * seconds).map_err(|_| refused())?;
        rest = &rest[units..];
    }
    if whole.is_zero() { Err(refused()) } else { Ok(whole) }
}

/// Prints once, or at every interval until the container ends.
pub(crate) fn events(state: &StateDir, id: &str, interval: Option<Duration>) -> anyhow::Result<u8> {
    let raw = raw_memory(state, id)?;
    let print = |news: News| {
        let line = match news {
            News::Oom => json!({"type": "oom", "id": id}),
            News::Stats(stats) => json!({"type": "stats", "id": id, "data": document(&stats, &raw())}),
        };
        println!("{line}");
        Ok::<_, runtime::Error>(())
    };
    match interval {
        None => print(News::Stats(Box::new(watch::stats(state, id)?)))?,
        Some(interval) => watch::watch(state, id, interval, print)?,
    }
    Ok(0)
}

/// The kernel's own table of memory, which differs from kernel to kernel and is handed on as it is.
fn raw_memory(state: &StateDir, id: &str) -> anyhow::Result<impl Fn() -> Map<String, Value>> {
    let cgroup = state.record(id)?.cgroup.as_ref().map(Cgroup::open).transpose()?;
    let directories = cgroup.map(|cgroup| cgroup.directories()).unwrap_or_default();
    Ok(move || {
        let text = directories.iter().find_map(|directory| std::fs::read_to_string(directory.join("memory.stat")).ok());
        let lines = text.unwrap_or_default();
        let pair = |line: &str| {
            let (key, number) = line.split_once(' ')?;
            Some((key.to_owned(), json!(number.parse::<u64>().ok()?)))
        };
        lines.lines().filter_map(pair).collect()
    })
}

/// Numbers in runc's shape: times in nanoseconds, the limit of what is unlimited the largest page-aligned number.
fn document(stats: &Stats, raw: &Map<String, Value>) -> Value {
    const UNLIMITED: u64 = i64::MAX as u64 - 4095;
    let Stats { memory, cpu, pids, io, hugetlb, .. } = stats;
    let nanoseconds = |us: u64| us * 1000;
    let operations = |read: u64, written: u64, disk: &cgroups::stats::IoStats| {
        let line = |operation: &str, value: u64| json!({"major": disk.major, "minor": disk.minor, "op": operation, "value": value});
        [line("Read", read), line("Write", written), line("Total", read + written)]
    };
    let swap = memory.swap.unwrap_or(0);
    let pages = hugetlb
        .iter()
        .map(|size| (size.page_size.clone(), json!({"usage": size.usage, "max": size.limit, "failcnt": size.refused})));
    json!({
        "cpu": {
            "usage": {
                "total": nanoseconds(cpu.usage_us),
                "kernel": nanoseconds(cpu.system_us),
                "user": nanoseconds(cpu.user_us),
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": nanoseconds(cpu.throttled_us),
            },
        },
        "memory": {
            "cache": memory.file,
            "usage": {
                "limit": memory.limit.unwrap_or(UNLIMITED),
                "usage": memory.usage,
                "max": memory.peak.unwrap_or(0),
                "failcnt": memory.limit_hits,
            },
            "swap": {
                "limit": memory.swap_limit.map_or(UNLIMITED, |swap| swap.saturating_add(memory.limit.unwrap_or(0))),
                "usage": memory.usage + swap,
                "failcnt": 0,
            },
            "raw": raw,
        },
        "pids": {"current": pids.current, "limit": pids.limit},
        "blkio": {
            "ioServiceBytesRecursive":
                io.iter().flat_map(|disk| operations(disk.read_bytes, disk.written_bytes, disk)).collect::<Vec<_>>(),
            "ioServicedRecursive":
                io.iter().flat_map(|disk| operations(disk.reads, disk.writes, disk)).collect::<Vec<_>>(),
        },
        "hugetlb": pages.collect::<Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        let milliseconds = |text| interval(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("5s"), Ok(5000));
        assert_eq!(milliseconds("1m30s"), Ok(90_000));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("1.5s"), Ok(1500));
        for bad in ["", "5", "s", "0s", "5 s", "-1s", "1d"] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }
}
