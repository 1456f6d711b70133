//! Memory: pages are charged to the group whose member first touched them.

use process::CallError;

use super::{Controller, IfMissing, Read, Setting, number, or_max, text};
use crate::Limits;
use crate::file;
use crate::limits::UNLIMITED;
use crate::stats::MemoryStats;

pub(super) fn on_v2(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Memory, file, value);
    let mut files = Vec::new();
    files.extend(limits.memory.map(|bytes| set("memory.max", or_max(finite(bytes)))));
    files.extend(swap_with(limits).map(|both| {
        // v2 counts swap alone. Without swap accounting (a boot option on old kernels) the memory limit still holds, and
        // Docker's `-m` sets this without being asked.
        let memory = limits.memory.and_then(finite);
        let swap = u64::try_from(both).ok().map(|both| both.saturating_sub(memory.unwrap_or(0)));
        set("memory.swap.max", or_max(swap)).or(IfMissing::GoWithout)
    }));
    files.extend(limits.memory_high.map(|bytes| set("memory.high", or_max(finite(bytes)))));
    files.extend(limits.memory_reservation.map(|bytes| {
        // Without a limit there is nothing to protect: the kernel's own "none" is 0 here.
        set("memory.low", finite(bytes).unwrap_or(0).to_string())
    }));
    files.extend(limits.oom_group.then(|| set("memory.oom.group", "1".to_owned())));
    files
}

/// v1 counts memory and swap together, and keeps the sum at or above the memory limit: hence after it.
pub(super) fn on_v1(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Memory, file, value);
    let mut files = Vec::new();
    let or_minus_one = |bytes: u64| finite(bytes).map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    files.extend(limits.memory.map(|bytes| set("memory.limit_in_bytes", or_minus_one(bytes))));
    files.extend(
        swap_with(limits).map(|both| set("memory.memsw.limit_in_bytes", both.to_string()).or(IfMissing::GoWithout)),
    );
    let reservation = |bytes| set("memory.soft_limit_in_bytes", or_minus_one(bytes));
    files.extend(limits.memory_reservation.map(reservation));
    files.extend(limits.memory_swappiness.map(|swappiness| set("memory.swappiness", swappiness.to_string())));
    files.extend(limits.memory_kernel_tcp.map(|bytes| set("memory.kmem.tcp.limit_in_bytes", bytes.to_string())));
    files.extend(limits.oom_kill_disable.then(|| set("memory.oom_control", "1".to_owned())));
    files
}

/// The number of bytes, unless it stands for none.
fn finite(bytes: u64) -> Option<u64> {
    Some(bytes).filter(|bytes| *bytes != UNLIMITED)
}

/// The limit on memory and swap together. Where memory is to be unlimited and nothing is said of swap, that is too: v1
/// takes no limit on the sum that is lower than that on memory.
fn swap_with(limits: &Limits) -> Option<i64> {
    limits.memory_swap.or((limits.memory == Some(UNLIMITED)).then_some(-1))
}

pub(super) fn counted_by_v2(read: &Read<'_>) -> Result<MemoryStats, CallError> {
    use Controller::Memory;
    let (stat, events) = (text(read, Memory, "memory.stat")?, text(read, Memory, "memory.events")?);
    let (stat, events) = (file::table(&stat), file::table(&events));
    let of = |table: &std::collections::BTreeMap<&str, u64>, key| table.get(key).copied().unwrap_or(0);
    Ok(MemoryStats {
        usage: number(read, Memory, "memory.current")?.unwrap_or(0),
        limit: number(read, Memory, "memory.max")?,
        peak: number(read, Memory, "memory.peak")?,
        swap: number(read, Memory, "memory.swap.current")?,
        swap_limit: number(read, Memory, "memory.swap.max")?,
        anonymous: of(&stat, "anon"),
        file: of(&stat, "file"),
        inactive_file: of(&stat, "inactive_file"),
        low_hits: of(&events, "low"),
        kernel: of(&stat, "kernel"),
        page_faults: of(&stat, "pgfault"),
        major_page_faults: of(&stat, "pgmajfault"),
        details: stat.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
        high_hits: of(&events, "high"),
        limit_hits: of(&events, "max"),
        oom_kills: of(&events, "oom_kill"),
    })
}

pub(super) fn counted_by_v1(read: &Read<'_>) -> Result<MemoryStats, CallError> {
    use Controller::Memory;
    let (stat, oom) = (text(read, Memory, "memory.stat")?, text(read, Memory, "memory.oom_control")?);
    let (stat, oom) = (file::table(&stat), file::table(&oom));
    let of = |table: &std::collections::BTreeMap<&str, u64>, key| table.get(key).copied().unwrap_or(0);
    let usage = number(read, Memory, "memory.usage_in_bytes")?.unwrap_or(0);
    let limit = number(read, Memory, "memory.limit_in_bytes")?;
    // Both counters are sums with memory in them; what is told is swap alone, as v2 has it.
    let swap = number(read, Memory, "memory.memsw.usage_in_bytes")?.map(|both| both.saturating_sub(usage));
    let both_limit = number(read, Memory, "memory.memsw.limit_in_bytes")?;
    Ok(MemoryStats {
        usage,
        limit,
        peak: number(read, Memory, "memory.max_usage_in_bytes")?,
        swap,
        swap_limit: both_limit.map(|both| both.saturating_sub(limit.unwrap_or(0))),
        anonymous: of(&stat, "total_rss"),
        file: of(&stat, "total_cache"),
        inactive_file: of(&stat, "total_inactive_file"),
        high_hits: 0,
        low_hits: 0,
        kernel: number(read, Memory, "memory.kmem.usage_in_bytes")?.unwrap_or(0),
        page_faults: of(&stat, "total_pgfault"),
        major_page_faults: of(&stat, "total_pgmajfault"),
        details: stat
            .iter()
            .filter_map(|(name, number)| Some((name.strip_prefix("total_")?.to_owned(), *number)))
            .collect(),
        limit_hits: number(read, Memory, "memory.failcnt")?.unwrap_or(0),
        oom_kills: of(&oom, "oom_kill"),
    })
}
