//! Everything that a cgroup counts, in one typed snapshot.

use serde::{Deserialize, Serialize};

/// A snapshot of a cgroup's counters. What a kernel does not count is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Memory.
    pub memory: MemoryStats,
    /// CPU time.
    pub cpu: CpuStats,
    /// Processes and threads.
    pub pids: PidsStats,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryStats {
    /// Charged now, page cache included.
    pub usage: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// The highest usage ever.
    pub peak: Option<u64>,
    /// File cache that reclaim would take first; `docker stats` shows usage without it.
    pub inactive_file: u64,
    /// How often usage ran into the limit.
    pub limit_hits: u64,
    /// How many processes the kernel killed because nothing could be reclaimed.
    pub oom_kills: u64,
}

/// CPU time, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuStats {
    /// Used in all.
    pub usage_us: u64,
    /// Of that in user mode.
    pub user_us: u64,
    /// Of that in the kernel.
    pub system_us: u64,
    /// Periods that passed with somebody wanting to run.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Time that members waited for the next period, summed over CPUs.
    pub throttled_us: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// How many forks were refused.
    pub refused: u64,
}

impl MemoryStats {
    /// What `docker stats` calls usage: without the file cache that would go first.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}
