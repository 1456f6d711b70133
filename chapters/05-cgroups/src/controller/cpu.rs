//! CPU time: a share of it when it is scarce, and a quota of it in each period.

use process::CallError;

use super::{Controller, Read, Setting, or_max, text};
use crate::Limits;
use crate::file;
use crate::stats::CpuStats;

/// The default period, in microseconds.
pub(crate) const DEFAULT_PERIOD_US: u64 = 100_000;

pub(super) fn on_v2(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Cpu, file, value);
    let mut files = Vec::new();
    if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
        let quota = limits.cpu_quota_us.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
        let period = limits.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        files.push(set("cpu.max", format!("{} {period}", or_max(quota))));
    }
    // After the quota, which it must not exceed.
    files.extend(limits.cpu_burst_us.map(|burst| set("cpu.max.burst", burst.to_string())));
    // Before the weight: an idle group has none, and the kernel refuses one.
    files.extend(limits.cpu_idle.map(|idle| set("cpu.idle", u8::from(idle).to_string())));
    files.extend(limits.cpu_shares.and_then(weight_of_shares).map(|weight| set("cpu.weight", weight.to_string())));
    files
}

pub(super) fn on_v1(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Cpu, file, value);
    let mut files = Vec::new();
    // The period first: the quota is checked against it.
    files.extend(limits.cpu_period_us.map(|period| set("cpu.cfs_period_us", period.to_string())));
    let quota = limits.cpu_quota_us.map(|quota| if quota > 0 { quota } else { -1 });
    files.extend(quota.map(|quota| set("cpu.cfs_quota_us", quota.to_string())));
    files.extend(limits.cpu_burst_us.map(|burst| set("cpu.cfs_burst_us", burst.to_string())));
    files.extend(limits.cpu_idle.map(|idle| set("cpu.idle", u8::from(idle).to_string())));
    // The period first here, too.
    files.extend(limits.cpu_rt_period_us.map(|period| set("cpu.rt_period_us", period.to_string())));
    files.extend(limits.cpu_rt_runtime_us.map(|runtime| set("cpu.rt_runtime_us", runtime.to_string())));
    let shares = limits.cpu_shares.filter(|shares| *shares > 0);
    files.extend(shares.map(|shares| set("cpu.shares", shares.to_string())));
    files
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

pub(super) fn counted_by_v2(read: &Read<'_>) -> Result<CpuStats, CallError> {
    let text = text(read, Controller::Cpu, "cpu.stat")?;
    let table = file::table(&text);
    let of = |key| table.get(key).copied().unwrap_or(0);
    Ok(CpuStats {
        usage_us: of("usage_usec"),
        user_us: of("user_usec"),
        system_us: of("system_usec"),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_us: of("throttled_usec"),
        bursts: of("nr_bursts"),
        burst_us: of("burst_usec"),
        per_cpu_us: Vec::new(),
    })
}

pub(super) fn counted_by_v1(read: &Read<'_>) -> Result<CpuStats, CallError> {
    let cpu = text(read, Controller::Cpu, "cpu.stat")?;
    let account = text(read, Controller::Cpuacct, "cpuacct.stat")?;
    let per_cpu = text(read, Controller::Cpuacct, "cpuacct.usage_percpu")?;
    let (cpu, account) = (file::table(&cpu), file::table(&account));
    let of = |key| cpu.get(key).copied().unwrap_or(0);
    // cpuacct.stat counts in ticks of 1/100 s, which is USER_HZ on every Linux that we run on.
    let ticks = |key| account.get(key).copied().unwrap_or(0) * 10_000;
    Ok(CpuStats {
        usage_us: super::number(read, Controller::Cpuacct, "cpuacct.usage")?.unwrap_or(0) / 1000,
        user_us: ticks("user"),
        system_us: ticks("system"),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_us: of("throttled_time") / 1000,
        bursts: of("nr_bursts"),
        burst_us: of("burst_time") / 1000,
        per_cpu_us: per_cpu.split_whitespace().filter_map(|ns| Some(ns.parse::<u64>().ok()? / 1000)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_through_three_known_points() {
        let weights: Vec<_> = [0, 1, 2, 512, 1024, 2048, 262_144, u64::MAX].map(weight_of_shares).into();
        assert_eq!(weights, [None, Some(1), Some(1), Some(59), Some(100), Some(174), Some(10_000), Some(10_000)]);
    }
}
