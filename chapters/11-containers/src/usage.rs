//! What a container uses: one look at its cgroup and at its interfaces.
//!
//! Everything is a counter since the container's start. A rate, like the percents of `stats`, is what two looks differ by.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};
use process::{CallError, During as _, Pid};

use crate::engine::Engine;
use crate::error::{Result, While as _};
use crate::id::ContainerId;
use crate::lifecycle::wrong_state;
use crate::networking::NetworkMode;

/// One look.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// When.
    pub at: Timestamp,
    /// What its cgroup counts.
    pub counted: cgroups::Stats,
    /// Its interfaces by name, without the loopback; none on the host's network, whose are not the container's.
    pub interfaces: BTreeMap<String, Traffic>,
    /// CPU time of the whole machine since boot, idle time included, summed over its CPUs, microseconds.
    pub machine_us: u64,
    /// CPUs of the machine.
    pub cpus: u64,
    /// Memory that it could use: its limit, or all that the machine has, bytes.
    pub memory_limit: u64,
}

/// What went through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes, packets, errors and drops that came in.
    pub received: [u64; 4],
    /// The same that went out.
    pub sent: [u64; 4],
}

impl Engine {
    /// Looks at what a running container uses.
    ///
    /// # Errors
    /// [`Error::WrongState`](crate::Error::WrongState) when it does not run; a cgroup that cannot be read, as for
    /// ordinary users on cgroup v1.
    pub fn usage(&self, id: &ContainerId) -> Result<Usage> {
        let container = self.container(id)?;
        let Some(pid) = container.life()?.pid else { return Err(wrong_state(&container, "stats", "running")?) };
        let counted = self.cgroup(id)?.stats().doing("count", "cgroup")?;
        let interfaces = match container.record().options.network.mode {
            NetworkMode::Host => BTreeMap::new(),
            _ => interfaces(pid)?,
        };
        let (machine_us, cpus) = machine()?;
        let memory_limit = counted.memory.limit.unwrap_or(u64::MAX).min(memory_total()?);
        Ok(Usage { at: Timestamp::now(), counted, interfaces, machine_us, cpus, memory_limit })
    }
}

impl Usage {
    /// CPU time used since `before`, in percent of one CPU.
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let used = self.counted.cpu.usage_us.saturating_sub(before.counted.cpu.usage_us) as f64;
        match self.machine_us.saturating_sub(before.machine_us) {
            0 => 0.0,
            passed => used / passed as f64 * self.cpus as f64 * 100.0,
        }
    }

    /// Memory that nobody else could have at once, bytes: without the file cache that reclaim would take first.
    pub fn memory(&self) -> u64 {
        self.counted.memory.usage.saturating_sub(self.counted.memory.inactive_file)
    }

    /// Bytes received and sent.
    pub fn traffic(&self) -> (u64, u64) {
        self.interfaces.values().fold((0, 0), |sum, it| (sum.0 + it.received[0], sum.1 + it.sent[0]))
    }

    /// Bytes read from disks and written to them.
    pub fn disk(&self) -> (u64, u64) {
        self.counted.io.iter().fold((0, 0), |sum, it| (sum.0 + it.read_bytes, sum.1 + it.written_bytes))
    }
}

/// The interfaces of the network namespace that a process is in.
fn interfaces(pid: Pid) -> Result<BTreeMap<String, Traffic>, CallError> {
    let path = format!("/proc/{pid}/net/dev");
    let text = fs::read_to_string(&path).during("read", &path)?;
    Ok(text.lines().filter_map(interface).filter(|(name, _)| name != "lo").collect())
}

/// A line of proc_pid_net(5)'s `dev`: eight numbers in, eight out.
fn interface(line: &str) -> Option<(String, Traffic)> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0)).collect();
    let four = |from: usize| numbers.get(from..from + 4)?.try_into().ok();
    Some((name.trim().to_owned(), Traffic { received: four(0)?, sent: four(8)? }))
}

/// CPU time since boot in microseconds, and how many CPUs there are.
fn machine() -> Result<(u64, u64), CallError> {
    let path = "/proc/stat";
    let text = fs::read_to_string(path).during("read", path)?;
    let ticks = sysconf(SysconfVar::CLK_TCK).during("sysconf", "_SC_CLK_TCK")?;
    let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
    let first = text.lines().next().unwrap_or_default();
    // The eighth and later numbers, guests' time, are in the first two already.
    let all: u64 = first.split_whitespace().skip(1).take(8).filter_map(|number| number.parse::<u64>().ok()).sum();
    let is_cpu =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    Ok((all * (1_000_000 / ticks), text.lines().filter(is_cpu).count() as u64))
}

fn memory_total() -> Result<u64, CallError> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).during("read", path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| CallError::refused("read", path, "no MemTotal in it"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_interface_s_line_is_sixteen_numbers() {
        let (name, traffic) = interface("  eth0: 1 2 3 4 5 6 7 8  9 10 11 12 13 14 15 16").unwrap();
        assert_eq!((name.as_str(), traffic), ("eth0", Traffic { received: [1, 2, 3, 4], sent: [9, 10, 11, 12] }));
        assert!(interface("Inter-|   Receive").is_none());
    }

    #[test]
    fn a_percent_is_what_two_looks_differ_by() {
        let look = |used, machine| {
            let mut counted = cgroups::Stats::default();
            counted.cpu.usage_us = used;
            let (at, interfaces) = (Timestamp::UNIX_EPOCH, BTreeMap::new());
            Usage { at, counted, interfaces, machine_us: machine, cpus: 2, memory_limit: 1 }
        };
        assert_eq!(look(1_500, 4_000).cpu_percent(&look(500, 2_000)), 100.0);
        assert_eq!(look(1, 1).cpu_percent(&look(1, 1)), 0.0);
        let (used, cpus) = machine().unwrap();
        assert!(used > 0 && cpus > 0 && memory_total().unwrap() > 1 << 20);
    }
}
