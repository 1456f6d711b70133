//! Everything that a cgroup counts, in one typed snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A snapshot of a cgroup's counters. What a kernel does not count is `None`, or missing from its list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Memory.
    pub memory: MemoryStats,
    /// CPU time.
    pub cpu: CpuStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Disks that were read or written.
    pub io: Vec<IoStats>,
    /// Huge pages, by size.
    pub hugetlb: Vec<HugetlbStats>,
    /// Time spent waiting; v2 only.
    pub pressure: Option<Pressures>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// Charged now, page cache included.
    pub usage: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// The highest usage ever.
    pub peak: Option<u64>,
    /// In swap, not counted in `usage`; `None` where swap is not counted.
    pub swap: Option<u64>,
    /// The limit of swap alone, if there is one.
    pub swap_limit: Option<u64>,
    /// Of `usage`: memory without a file behind it.
    pub anonymous: u64,
    /// Of `usage`: page cache.
    pub file: u64,
    /// File cache that reclaim would take first; `docker stats` shows usage without it.
    pub inactive_file: u64,
    /// How often members were slowed down because usage was above `memory_high` (v2).
    pub high_hits: u64,
    /// How often usage ran into the limit.
    pub limit_hits: u64,
    /// How many processes the kernel killed because nothing could be reclaimed.
    pub oom_kills: u64,
    /// How often pages were reclaimed although usage was below `memory_reservation` (v2).
    pub low_hits: u64,
    /// Of `usage`: what the kernel itself needs for the members: stacks, page tables, sockets' buffers, slabs.
    pub kernel: u64,
    /// Faults on pages that were not mapped yet.
    pub page_faults: u64,
    /// Those of them that had to wait for a disk.
    pub major_page_faults: u64,
    /// Every number of `memory.stat`, by this kernel's names; on v1 those that count the groups inside, too.
    pub details: BTreeMap<String, u64>,
}

/// CPU time, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
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
    /// Periods in which more than the quota was used, out of what was saved up.
    pub bursts: u64,
    /// How much more that was.
    pub burst_us: u64,
    /// Used on each CPU; v1 only.
    pub per_cpu_us: Vec<u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// The most there ever were (Linux 6.6).
    pub peak: Option<u64>,
    /// How many forks were refused.
    pub refused: u64,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IoStats {
    /// The disk's major number.
    pub major: u32,
    /// The disk's minor number.
    pub minor: u32,
    /// Bytes.
    pub read_bytes: u64,
    /// Bytes.
    pub written_bytes: u64,
    /// Operations.
    pub reads: u64,
    /// Operations.
    pub writes: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HugetlbStats {
    /// `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes now.
    pub usage: u64,
    /// The limit in bytes, if there is one.
    pub limit: Option<u64>,
    /// How often pages were refused.
    pub refused: u64,
}

/// The three resources that one can wait for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressures {
    /// For a CPU.
    pub cpu: Pressure,
    /// For memory: reclaim, refaults, swap.
    pub memory: Pressure,
    /// For a disk.
    pub io: Pressure,
}

/// Time spent waiting for one resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// At least one member waited.
    pub some: Waiting,
    /// All members that had something to do waited: time lost outright.
    pub full: Waiting,
}

/// Shares of time, in percent, over three windows, and the sum.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// Percent of the last 10 seconds.
    pub average_10_s: f64,
    /// Percent of the last minute.
    pub average_60_s: f64,
    /// Percent of the last five minutes.
    pub average_300_s: f64,
    /// Microseconds since the group was made.
    pub total_us: u64,
}

impl MemoryStats {
    /// What `docker stats` calls usage: without the file cache that would go first.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

impl Stats {
    /// Bytes read and written, over all disks: the two numbers of `docker stats`.
    pub fn io_bytes(&self) -> (u64, u64) {
        self.io.iter().fold((0, 0), |(read, written), disk| (read + disk.read_bytes, written + disk.written_bytes))
    }
}
