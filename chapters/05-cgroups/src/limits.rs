//! What can be limited.
//!
//! The numbers are those of `docker run`'s flags and of the OCI runtime spec, which were v1's. What they mean to a
//! kernel is said by [`Limits::files`], one controller a file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::controller::cpu::DEFAULT_PERIOD_US;
use crate::controller::io::{IoCeiling, IoWeight};
use crate::{Controller, DeviceRule, Error, HugetlbLimit, NetPriority, RdmaLimit, Version};

/// What a container may use at most. Everything absent is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`: bytes of memory. [`UNLIMITED`] takes a limit away, as `docker update --memory -1`; then swap is
    /// unlimited too, unless something is said of it.
    pub memory: Option<u64>,
    /// `--memory-swap`: bytes of memory *and* swap together; -1 for no limit on swap.
    pub memory_swap: Option<i64>,
    /// Bytes above which members are slowed down and must reclaim, and nobody is killed. v2 only.
    pub memory_high: Option<u64>,
    /// `--memory-reservation`: bytes that reclaim leaves alone as long as it can.
    pub memory_reservation: Option<u64>,
    /// `--memory-swappiness`: how readily anonymous memory is swapped out, 0 to 100. v1 only.
    pub memory_swappiness: Option<u64>,
    /// Bytes of buffers of TCP connections; -1 for no limit. v1 only; v2 counts them as memory.
    pub memory_kernel_tcp: Option<i64>,
    /// `--oom-kill-disable`: whoever needs memory when the limit is reached waits, instead of being killed. v1 only.
    pub oom_kill_disable: bool,
    /// Whether an OOM kill takes the whole group with it. v2 only; v1 kills one process.
    pub oom_group: bool,
    /// `--cpu-quota`: microseconds of CPU in each period; -1 for no limit.
    pub cpu_quota_us: Option<i64>,
    /// `--cpu-period`: microseconds; 100,000 if only a quota is given.
    pub cpu_period_us: Option<u64>,
    /// Microseconds of unused quota that may be saved up and used at once. At most the quota.
    pub cpu_burst_us: Option<u64>,
    /// Whether members run only when nobody else wants to.
    pub cpu_idle: Option<bool>,
    /// `--cpu-rt-runtime`: microseconds of each real-time period that real-time members may use. v1 only.
    pub cpu_rt_runtime_us: Option<i64>,
    /// `--cpu-rt-period`: microseconds. v1 only.
    pub cpu_rt_period_us: Option<u64>,
    /// `--cpu-shares`: weight against siblings, 2 to 262,144; 1,024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// `--cpuset-cpus`: `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`: processes and threads; 0 or -1 for no limit.
    pub pids: Option<i64>,
    /// `--blkio-weight`: weight against siblings, 10 to 1,000; 100 is the usual one.
    pub io_weight: Option<u16>,
    /// `--blkio-weight-device`: the same for one disk.
    pub io_weights: Vec<IoWeight>,
    /// `--device-read-bps` and its relatives.
    pub io_ceilings: Vec<IoCeiling>,
    /// Huge pages, by size.
    pub hugetlb: Vec<HugetlbLimit>,
    /// The class that packets of members are tagged with, for `tc`: 0xAAAABBBB is AAAA:BBBB. v1 only.
    pub net_class_id: Option<u32>,
    /// Priorities of members' packets, by network interface. v1 only.
    pub net_priorities: Vec<NetPriority>,
    /// What members may take of RDMA devices.
    pub rdma: Vec<RdmaLimit>,
    /// Files of v2 by their own names, for what has no field here: `memory.zswap.max`. v2 only.
    pub unified: BTreeMap<String, String>,
    /// Which device nodes work; [`crate::devices::default_rules`] if absent.
    pub devices: Option<Vec<DeviceRule>>,
}

/// The CPU controller's own bounds, in microseconds.
const PERIODS_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// The range of weights that the OCI spec has.
const IO_WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1_000;
/// Less than this and the first program could not even be executed.
const LEAST_MEMORY: u64 = 512 * 1024;
/// More rules than anybody means; each becomes a few instructions that run at every `open` of a device.
const MOST_RULES: usize = 1_000;

/// The word for "no limit" where `None` means "as it is": in an [update](crate::Cgroup::update).
pub const UNLIMITED: u64 = u64::MAX;

impl Limits {
    /// `--cpus 1.5`: a quota in the default period.
    ///
    /// # Errors
    /// Not a positive number, or less than a hundredth of a CPU.
    pub fn with_cpus(mut self, cpus: f64) -> Result<Self, Error> {
        if !cpus.is_finite() || !(0.01..=100_000.0).contains(&cpus) {
            return refuse("cpus", format!("{cpus} is not between 0.01 and 100000"));
        }
        self.cpu_period_us = Some(DEFAULT_PERIOD_US);
        self.cpu_quota_us = Some((cpus * DEFAULT_PERIOD_US as f64).round() as i64);
        Ok(self)
    }

    /// Whether nothing at all was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses values that the kernel would refuse later, with a worse word, or take for something else; and limits that
    /// this generation does not have.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self, version: Version) -> Result<(), Error> {
        self.check_memory()?;
        self.check_cpu()?;
        self.check_io()?;
        self.check_names()?;
        if version == Version::V1 {
            let only_v2 = [
                ("memory_high", self.memory_high.is_some()),
                ("oom_group", self.oom_group),
                ("unified", !self.unified.is_empty()),
            ];
            if let Some((field, _)) = only_v2.into_iter().find(|(_, is_asked)| *is_asked) {
                return refuse(field, "cgroup v1 has no such limit; cgroup v2 does".to_owned());
            }
            return Ok(());
        }
        let only_v1 = [
            ("memory_swappiness", self.memory_swappiness.is_some()),
            ("memory_kernel_tcp", self.memory_kernel_tcp.is_some()),
            ("oom_kill_disable", self.oom_kill_disable),
            ("cpu_rt_runtime_us", self.cpu_rt_runtime_us.is_some()),
            ("cpu_rt_period_us", self.cpu_rt_period_us.is_some()),
            ("net_class_id", self.net_class_id.is_some()),
            ("net_priorities", !self.net_priorities.is_empty()),
        ];
        match only_v1.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((field, _)) => refuse(field, "cgroup v2 has no such limit; cgroup v1 had".to_owned()),
            None => Ok(()),
        }
    }

    fn check_memory(&self) -> Result<(), Error> {
        for (field, bytes) in [("memory", self.memory), ("memory_high", self.memory_high)] {
            let absurd = |bytes: &u64| *bytes < LEAST_MEMORY || (*bytes > i64::MAX as u64 && *bytes != UNLIMITED);
            if let Some(bytes) = bytes.filter(absurd) {
                return refuse(field, format!("{bytes} bytes: less than 512 KiB, or absurdly much"));
            }
        }
        if let Some(swappiness) = self.memory_swappiness.filter(|swappiness| *swappiness > 100) {
            return refuse("memory_swappiness", format!("{swappiness} is not between 0 and 100"));
        }
        match (self.memory, self.memory_swap) {
            (_, None | Some(-1)) => Ok(()),
            (None, Some(_)) => refuse("memory_swap", "is memory and swap together, so it needs memory".to_owned()),
            (Some(memory), Some(swap)) if u64::try_from(swap).is_ok_and(|swap| swap >= memory) => Ok(()),
            (_, Some(swap)) => refuse("memory_swap", format!("{swap} is less than memory; it is the sum of both")),
        }
    }

    fn check_cpu(&self) -> Result<(), Error> {
        if let Some(period) = self.cpu_period_us.filter(|period| !PERIODS_US.contains(period)) {
            return refuse("cpu_period_us", format!("{period} is not between 1000 and 1000000"));
        }
        if let Some(quota) = self.cpu_quota_us.filter(|quota| *quota > 0 && *quota < 1_000) {
            return refuse("cpu_quota_us", format!("{quota} is less than 1000"));
        }
        let quota = self.cpu_quota_us.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
        if let (Some(burst), Some(quota)) = (self.cpu_burst_us, quota)
            && burst > quota
        {
            return refuse("cpu_burst_us", format!("{burst} is more than the quota of {quota}"));
        }
        if self.cpu_idle == Some(true) && self.cpu_shares.is_some_and(|shares| shares > 0) {
            return refuse("cpu_idle", "an idle group has no shares; one of both".to_owned());
        }
        Ok(())
    }

    fn check_io(&self) -> Result<(), Error> {
        let weights = self.io_weight.into_iter().chain(self.io_weights.iter().map(|disk| disk.weight));
        if let Some(weight) = weights.into_iter().find(|weight| !IO_WEIGHTS.contains(weight)) {
            return refuse("io_weight", format!("{weight} is not between 10 and 1000"));
        }
        let is_idle = |disk: &&IoCeiling| {
            [disk.read_bps, disk.write_bps, disk.read_iops, disk.write_iops].iter().all(Option::is_none)
        };
        match self.io_ceilings.iter().find(is_idle) {
            Some(disk) => refuse("io_ceilings", format!("{}:{} without any ceiling", disk.major, disk.minor)),
            None => Ok(()),
        }
    }

    /// What becomes part of a file's name or is handed to the kernel as text must be what it is taken for.
    fn check_names(&self) -> Result<(), Error> {
        for (field, list) in [("cpuset_cpus", &self.cpuset_cpus), ("cpuset_mems", &self.cpuset_mems)] {
            let is_list = |text: &String| !text.is_empty() && text.bytes().all(|byte| b"0123456789,-".contains(&byte));
            if let Some(text) = list.as_ref().filter(|text| !is_list(text)) {
                return refuse(field, format!("{text:?} is no list such as 0-2,7"));
            }
        }
        let is_size = |text: &str| {
            let unit = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
            unit.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if let Some(limit) = self.hugetlb.iter().find(|limit| !is_size(&limit.page_size)) {
            return refuse("hugetlb", format!("{:?} is no page size such as 2MB", limit.page_size));
        }
        let is_file = |name: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
            Controller::of_file(name).is_some() && name.bytes().all(is_plain) && !name.contains("..")
        };
        if let Some((name, _)) = self.unified.iter().find(|(name, value)| !is_file(name) || value.len() > 4096) {
            return refuse("unified", format!("{name:?} is no file of a controller, such as memory.high"));
        }
        // Both become the first word of a line.
        let is_word = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(one) = self.net_priorities.iter().find(|one| !is_word(&one.interface)) {
            return refuse("net_priorities", format!("{:?} is no network interface", one.interface));
        }
        if let Some(one) = self.rdma.iter().find(|one| !is_word(&one.device)) {
            return refuse("rdma", format!("{:?} is no RDMA device", one.device));
        }
        let rules = self.devices.as_deref().unwrap_or_default();
        if rules.len() > MOST_RULES {
            return refuse("devices", format!("{} rules, more than {MOST_RULES}", rules.len()));
        }
        let is_access = |text: &str| !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter));
        match rules.iter().find(|rule| !is_access(&rule.access)) {
            Some(rule) => refuse("devices", format!("{:?} is no access such as rwm", rule.access)),
            None => Ok(()),
        }
    }

    /// The CPU time that the quota allows in a stretch of time; `None` without a quota.
    pub fn cpu_allowance(&self, stretch: Duration) -> Option<Duration> {
        let quota = self.cpu_quota_us.filter(|quota| *quota > 0)?;
        let period = self.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        Some(stretch.mul_f64(quota as f64 / period as f64))
    }
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, Error> {
    Err(Error::Limit { field, reason })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn field(limits: &Limits, version: Version) -> &'static str {
        match limits.check(version) {
            Err(Error::Limit { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn impossible_limits_are_refused_by_field() {
        let field = |limits: Limits| field(&limits, Version::V2);
        let none = Limits::default;
        assert_eq!(field(Limits { memory: Some(4096), ..none() }), "memory");
        assert_eq!(field(Limits { memory_swap: Some(1 << 30), ..none() }), "memory_swap");
        assert_eq!(field(Limits { memory: Some(2 << 20), memory_swap: Some(1 << 20), ..none() }), "memory_swap");
        assert_eq!(field(Limits { cpu_period_us: Some(5), ..none() }), "cpu_period_us");
        assert_eq!(field(Limits { cpu_quota_us: Some(5000), cpu_burst_us: Some(5001), ..none() }), "cpu_burst_us");
        assert_eq!(field(Limits { cpu_idle: Some(true), cpu_shares: Some(2), ..none() }), "cpu_idle");
        assert_eq!(field(Limits { cpuset_cpus: Some("0\n1".to_owned()), ..none() }), "cpuset_cpus");
        assert_eq!(field(Limits { io_weight: Some(9), ..none() }), "io_weight");
        assert_eq!(field(Limits { io_ceilings: vec![IoCeiling::default()], ..none() }), "io_ceilings");
        assert!(none().with_cpus(0.0).is_err());
        assert_eq!(none().with_cpus(1.5).unwrap().cpu_quota_us, Some(150_000));
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let field = |limits: Limits| field(&limits, Version::V2);
        for name in ["../memory.max", "memory/../x", "cgroup.procs", "memory.max\0", "memory", "memory..", ""] {
            let unified = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            assert_eq!(field(Limits { unified, ..Limits::default() }), "unified", "{name:?}");
        }
        for size in ["2MB/../..", "", "MB", "2mb", "../2MB"] {
            let hugetlb = vec![HugetlbLimit { page_size: size.to_owned(), bytes: 0 }];
            assert_eq!(field(Limits { hugetlb, ..Limits::default() }), "hugetlb", "{size:?}");
        }
    }

    #[test]
    fn what_only_v2_can_do_is_an_error_on_v1_and_not_forgotten() {
        let on_v1 = |limits: Limits| {
            limits.check(Version::V2).unwrap();
            field(&limits, Version::V1)
        };
        assert_eq!(on_v1(Limits { memory_high: Some(1 << 20), ..Limits::default() }), "memory_high");
        assert_eq!(on_v1(Limits { oom_group: true, ..Limits::default() }), "oom_group");
        let unified = BTreeMap::from([("memory.zswap.max".to_owned(), "0".to_owned())]);
        assert_eq!(on_v1(Limits { unified, ..Limits::default() }), "unified");
    }
}
