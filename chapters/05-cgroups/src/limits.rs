//! What can be limited, and the pure function from limits to files and values.
//!
//! The numbers are those of `docker run`'s flags and of the OCI runtime spec, which were v1's. On v2 they are
//! converted: that is this module's whole cleverness, and because it does nothing else it can be tested without a
//! kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DeviceRule, Error};

/// A generation of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }
}

/// A part of the kernel that limits or counts one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Controller {
    Cpu,
    /// v1 counts CPU time apart; on v2 it is part of `cpu`.
    Cpuacct,
    Cpuset,
    Memory,
    Pids,
    /// v1 has files for it; on v2 it is a BPF program.
    Devices,
    /// v1; on v2 every cgroup can be frozen.
    Freezer,
}

impl Controller {
    /// Every controller that this engine uses.
    pub const ALL: [Controller; 7] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Pids,
        Controller::Devices,
        Controller::Freezer,
    ];

    /// The kernel's name.
    pub const fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
        }
    }
}

/// What a container may use at most. Everything absent is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`: bytes of memory.
    pub memory: Option<u64>,
    /// `--memory-swap`: bytes of memory *and* swap together; -1 for no limit on swap.
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`: bytes that reclaim leaves alone as long as it can.
    pub memory_reservation: Option<u64>,
    /// Whether an OOM kill takes the whole group with it (v2 only; v1 kills one process).
    pub oom_group: bool,
    /// `--cpu-quota`: microseconds of CPU in each period; -1 for no limit.
    pub cpu_quota_us: Option<i64>,
    /// `--cpu-period`: microseconds; 100,000 if only a quota is given.
    pub cpu_period_us: Option<u64>,
    /// `--cpu-shares`: weight against siblings, 2 to 262,144; 1,024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// `--cpuset-cpus`: `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`: processes and threads; 0 or -1 for no limit.
    pub pids: Option<i64>,
    /// Which device nodes work; [`crate::devices::default_rules`] if absent. Enforced on v1.
    pub devices: Option<Vec<DeviceRule>>,
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Whose file it is.
    pub controller: Controller,
    /// Its name in the cgroup's directory.
    pub file: &'static str,
    /// What to write.
    pub value: String,
}

/// The default period of the CPU controller, in microseconds.
const DEFAULT_PERIOD_US: u64 = 100_000;
/// The CPU controller's own bounds, in microseconds.
const PERIODS_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// Less than this and the first program could not even be executed.
const LEAST_MEMORY: u64 = 512 * 1024;

impl Limits {
    /// `--cpus 1.5`: a quota in the default period.
    ///
    /// # Errors
    /// Not a positive number, or less than a hundredth of a CPU.
    pub fn with_cpus(mut self, cpus: f64) -> Result<Self, Error> {
        if !cpus.is_finite() || !(0.01..=100_000.0).contains(&cpus) {
            return Err(Error::Limit { field: "cpus", reason: format!("{cpus} is not between 0.01 and 100000") });
        }
        self.cpu_period_us = Some(DEFAULT_PERIOD_US);
        self.cpu_quota_us = Some((cpus * DEFAULT_PERIOD_US as f64).round() as i64);
        Ok(self)
    }

    /// Whether nothing at all was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses values that the kernel would refuse later, with a worse word, or take for something else.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, reason: String| Err(Error::Limit { field, reason });
        if let Some(memory) = self.memory.filter(|memory| *memory < LEAST_MEMORY || *memory > i64::MAX as u64) {
            return refuse("memory", format!("{memory} bytes: less than 512 KiB, or absurdly much"));
        }
        match (self.memory, self.memory_swap) {
            (_, None | Some(-1)) => {}
            (None, Some(_)) => {
                return refuse("memory_swap", "is memory and swap together, so it needs memory".to_owned());
            }
            (Some(memory), Some(swap)) if u64::try_from(swap).is_ok_and(|swap| swap >= memory) => {}
            (_, Some(swap)) => {
                return refuse("memory_swap", format!("{swap} is less than memory; it is the sum of both"));
            }
        }
        if let Some(period) = self.cpu_period_us.filter(|period| !PERIODS_US.contains(period)) {
            return refuse("cpu_period_us", format!("{period} is not between 1000 and 1000000"));
        }
        if let Some(quota) = self.cpu_quota_us.filter(|quota| *quota > 0 && *quota < 1_000) {
            return refuse("cpu_quota_us", format!("{quota} is less than 1000"));
        }
        for (field, list) in [("cpuset_cpus", &self.cpuset_cpus), ("cpuset_mems", &self.cpuset_mems)] {
            let is_list = |text: &String| !text.is_empty() && text.bytes().all(|byte| b"0123456789,-".contains(&byte));
            if let Some(text) = list.as_ref().filter(|text| !is_list(text)) {
                return refuse(field, format!("{text:?} is no list such as 0-2,7"));
            }
        }
        Ok(())
    }

    /// The files that express these limits, in the order in which they must be written.
    ///
    /// Devices are not among them: see [`crate::devices`].
    ///
    /// # References
    /// cgroups(7); linux/Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; OCI runtime spec, config-linux.md
    // hole: limits-to-files
    pub fn files(&self, version: Version) -> Vec<Setting> {
        match version {
            Version::V2 => self.v2_files(),
            Version::V1 => self.v1_files(),
        }
    }

    fn v2_files(&self) -> Vec<Setting> {
        let mut files = Vec::new();
        let mut set = |controller, file, value: String| files.push(Setting { controller, file, value });
        if let Some(memory) = self.memory {
            set(Controller::Memory, "memory.max", memory.to_string());
        }
        if let Some(both) = self.memory_swap {
            // v2 counts swap alone.
            let swap = u64::try_from(both).ok().map(|both| both.saturating_sub(self.memory.unwrap_or(0)));
            set(Controller::Memory, "memory.swap.max", or_max(swap));
        }
        if let Some(bytes) = self.memory_reservation {
            set(Controller::Memory, "memory.low", bytes.to_string());
        }
        if self.oom_group {
            set(Controller::Memory, "memory.oom.group", "1".to_owned());
        }
        if self.cpu_quota_us.is_some() || self.cpu_period_us.is_some() {
            let quota = self.cpu_quota_us.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
            let period = self.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
            set(Controller::Cpu, "cpu.max", format!("{} {period}", or_max(quota)));
        }
        if let Some(weight) = self.cpu_shares.and_then(weight_of_shares) {
            set(Controller::Cpu, "cpu.weight", weight.to_string());
        }
        self.shared_files(files)
    }

    fn v1_files(&self) -> Vec<Setting> {
        let mut files = Vec::new();
        let mut set = |controller, file, value: String| files.push(Setting { controller, file, value });
        if let Some(memory) = self.memory {
            set(Controller::Memory, "memory.limit_in_bytes", memory.to_string());
        }
        // v1 counts both, and refuses a sum below the memory limit: hence after it.
        if let Some(both) = self.memory_swap {
            set(Controller::Memory, "memory.memsw.limit_in_bytes", both.to_string());
        }
        if let Some(bytes) = self.memory_reservation {
            set(Controller::Memory, "memory.soft_limit_in_bytes", bytes.to_string());
        }
        // The period first: the quota is checked against it.
        if let Some(period) = self.cpu_period_us {
            set(Controller::Cpu, "cpu.cfs_period_us", period.to_string());
        }
        if let Some(quota) = self.cpu_quota_us {
            set(Controller::Cpu, "cpu.cfs_quota_us", if quota > 0 { quota } else { -1 }.to_string());
        }
        if let Some(shares) = self.cpu_shares.filter(|shares| *shares > 0) {
            set(Controller::Cpu, "cpu.shares", shares.to_string());
        }
        self.shared_files(files)
    }

    /// The files that have the same name and form in both generations.
    fn shared_files(&self, mut files: Vec<Setting>) -> Vec<Setting> {
        let mut set = |controller, file, value: String| files.push(Setting { controller, file, value });
        if let Some(cpus) = &self.cpuset_cpus {
            set(Controller::Cpuset, "cpuset.cpus", cpus.clone());
        }
        if let Some(mems) = &self.cpuset_mems {
            set(Controller::Cpuset, "cpuset.mems", mems.clone());
        }
        if let Some(pids) = self.pids {
            set(Controller::Pids, "pids.max", or_max(u64::try_from(pids).ok().filter(|pids| *pids > 0)));
        }
        files
    }
}

impl Setting {
    /// Whether a kernel may lack the file, and the limit then silently does not hold: only swap accounting, which
    /// is a boot option, and which Docker's `-m` sets without being asked.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.file, "memory.swap.max" | "memory.memsw.limit_in_bytes")
    }
}

/// v1's shares (2 to 262,144, usually 1,024) as v2's weight (1 to 10,000, usually 100); `None` for 0, "unset".
///
/// The curve goes through those three points: `10 ^ ((l² + 125 l) / 612 - 7/34)` with `l = log2(shares)`, as runc and
/// crun have it since 2025. The older straight line made 39 of the usual 1,024, so that a container with "default
/// shares" got less than half of what its neighbours without any had.
fn weight_of_shares(shares: u64) -> Option<u64> {
    if shares == 0 {
        return None;
    }
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let weight = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    // Rounded up, but not for the last bit of a float.
    Some((weight - 1e-6).ceil() as u64)
}

fn or_max(number: Option<u64>) -> String {
    number.map_or_else(|| "max".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(limits: &Limits, version: Version) -> Vec<String> {
        limits.files(version).iter().map(|setting| format!("{} {}", setting.file, setting.value)).collect()
    }

    #[test]
    fn every_limit_in_both_generations() {
        let limits = Limits {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            memory_reservation: Some(32 << 20),
            oom_group: true,
            cpu_quota_us: Some(50_000),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0-1".to_owned()),
            pids: Some(64),
            ..Limits::default()
        };
        limits.check().unwrap();
        insta::assert_debug_snapshot!([written(&limits, Version::V2), written(&limits, Version::V1)]);
    }

    #[test]
    fn unlimited_is_written_as_each_generation_says_it() {
        let limits = Limits { memory_swap: Some(-1), cpu_quota_us: Some(-1), pids: Some(-1), ..Limits::default() };
        assert_eq!(written(&limits, Version::V2), ["memory.swap.max max", "cpu.max max 100000", "pids.max max"]);
        assert_eq!(
            written(&limits, Version::V1),
            ["memory.memsw.limit_in_bytes -1", "cpu.cfs_quota_us -1", "pids.max max"]
        );
    }

    #[test]
    fn nothing_asked_is_nothing_written() {
        assert!(Limits::default().is_empty());
        assert!(written(&Limits::default(), Version::V2).is_empty());
    }

    #[test]
    fn shares_become_weights_through_three_known_points() {
        let weights: Vec<_> = [0, 1, 2, 512, 1024, 2048, 262_144, u64::MAX].map(weight_of_shares).into();
        assert_eq!(weights, [None, Some(1), Some(1), Some(59), Some(100), Some(174), Some(10_000), Some(10_000)]);
    }

    #[test]
    fn impossible_limits_are_refused_by_field() {
        let field = |limits: Limits| match limits.check() {
            Err(Error::Limit { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(Limits { memory: Some(4096), ..Limits::default() }), "memory");
        assert_eq!(field(Limits { memory_swap: Some(1 << 30), ..Limits::default() }), "memory_swap");
        let swap = Limits { memory: Some(2 << 20), memory_swap: Some(1 << 20), ..Limits::default() };
        assert_eq!(field(swap), "memory_swap");
        assert_eq!(field(Limits { cpu_period_us: Some(5), ..Limits::default() }), "cpu_period_us");
        assert_eq!(field(Limits { cpuset_cpus: Some("0\n1".to_owned()), ..Limits::default() }), "cpuset_cpus");
        assert!(Limits::default().with_cpus(0.0).is_err());
        assert_eq!(Limits::default().with_cpus(1.5).unwrap().cpu_quota_us, Some(150_000));
    }
}
