//! Disks: a weight against siblings, and ceilings for each device in bytes and operations a second.
//!
//! A disk is named by the numbers of its whole device (`8:0`), never of a partition. v1 sees only what a process reads
//! and writes itself; v2 also charges the write-back of dirty pages to whoever made them dirty.

use std::collections::BTreeMap;

use process::CallError;
use serde::{Deserialize, Serialize};

use super::{Controller, IfMissing, Read, Setting, or_max, text};
use crate::Limits;
use crate::stats::IoStats;

/// The ceilings of one disk. What is `None` is left as it is; 0 takes a ceiling away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoCeiling {
    /// The disk's major number.
    pub major: u32,
    /// The disk's minor number.
    pub minor: u32,
    /// `--device-read-bps`: bytes a second.
    pub read_bps: Option<u64>,
    /// `--device-write-bps`: bytes a second.
    pub write_bps: Option<u64>,
    /// `--device-read-iops`: operations a second.
    pub read_iops: Option<u64>,
    /// `--device-write-iops`: operations a second.
    pub write_iops: Option<u64>,
}

/// The weight of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoWeight {
    /// The disk's major number.
    pub major: u32,
    /// The disk's minor number.
    pub minor: u32,
    /// 10 to 1,000.
    pub weight: u16,
}

/// v2 has two weights: that of the BFQ scheduler, in v1's numbers up to 1,000, and that of the cost model, up to 10,000.
/// The scheduler's file is there only where BFQ is; if it is, it is the one that acts.
pub(super) fn on_v2(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Io, file, value);
    let mut files = Vec::new();
    files.extend(limits.io_weight.map(|weight| {
        let cost_model = format!("default {}", cost_weight(weight));
        set("io.bfq.weight", weight.to_string()).or(IfMissing::Write("io.weight", cost_model))
    }));
    files.extend(limits.io_weights.iter().map(|IoWeight { major, minor, weight }| {
        let cost_model = format!("{major}:{minor} {}", cost_weight(*weight));
        set("io.bfq.weight", format!("{major}:{minor} {weight}")).or(IfMissing::Write("io.weight", cost_model))
    }));
    files.extend(limits.io_ceilings.iter().map(|disk| {
        let words =
            [("rbps", disk.read_bps), ("wbps", disk.write_bps), ("riops", disk.read_iops), ("wiops", disk.write_iops)];
        let words = words.into_iter().filter_map(|(key, limit)| Some((key, limit?)));
        let words: String =
            words.map(|(key, limit)| format!(" {key}={}", or_max(Some(limit).filter(|n| *n > 0)))).collect();
        set("io.max", format!("{}:{}{words}", disk.major, disk.minor))
    }));
    files
}

pub(super) fn on_v1(limits: &Limits) -> Vec<Setting> {
    let set = |file, value: String| Setting::new(Controller::Io, file, value);
    let mut files = Vec::new();
    // Until Linux 5.0 the CFQ scheduler had the weight, without its successor's name in it.
    files.extend(limits.io_weight.map(|weight| {
        set("blkio.bfq.weight", weight.to_string()).or(IfMissing::Write("blkio.weight", weight.to_string()))
    }));
    files.extend(limits.io_weights.iter().map(|IoWeight { major, minor, weight }| {
        let line = format!("{major}:{minor} {weight}");
        set("blkio.bfq.weight_device", line.clone()).or(IfMissing::Write("blkio.weight_device", line))
    }));
    for disk in &limits.io_ceilings {
        let ceilings = [
            ("blkio.throttle.read_bps_device", disk.read_bps),
            ("blkio.throttle.write_bps_device", disk.write_bps),
            ("blkio.throttle.read_iops_device", disk.read_iops),
            ("blkio.throttle.write_iops_device", disk.write_iops),
        ];
        let given = ceilings.into_iter().filter_map(|(file, limit)| Some((file, limit?)));
        files.extend(given.map(|(file, limit)| set(file, format!("{}:{} {limit}", disk.major, disk.minor))));
    }
    files
}

/// BFQ's 1 to 1,000, of which 10 to 1,000 can be asked for, as the cost model's 1 to 10,000: the straight line of the
/// OCI runtimes. (The usual weights are 100 in both, so the line flatters whoever asks for 100; it is what others do.)
fn cost_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9_999 / 990
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`
pub(super) fn counted_by_v2(read: &Read<'_>) -> Result<Vec<IoStats>, CallError> {
    let text = text(read, Controller::Io, "io.stat")?;
    let disks = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (major, minor) = device(words.next()?)?;
        let mut disk = IoStats { major, minor, ..IoStats::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => disk.read_bytes = value,
                "wbytes" => disk.written_bytes = value,
                "rios" => disk.reads = value,
                "wios" => disk.writes = value,
                _ => {}
            }
        }
        Some(disk)
    });
    Ok(disks.collect())
}

/// `8:0 Read 1`, `8:0 Write 2`, ..., `Total 3`; groups inside are counted in the files that end with `_recursive`.
pub(super) fn counted_by_v1(read: &Read<'_>) -> Result<Vec<IoStats>, CallError> {
    let bytes = text(read, Controller::Io, "blkio.throttle.io_service_bytes_recursive")?;
    let operations = text(read, Controller::Io, "blkio.throttle.io_serviced_recursive")?;
    let mut disks: BTreeMap<(u32, u32), IoStats> = BTreeMap::new();
    let mut count = |text: &str, note: fn(&mut IoStats, &str, u64)| {
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let [numbers, what, value] = words[..]
                && let Some((major, minor)) = device(numbers)
            {
                let disk = disks.entry((major, minor)).or_insert(IoStats { major, minor, ..IoStats::default() });
                note(disk, what, value.parse().unwrap_or(0));
            }
        }
    };
    count(&bytes, |disk, what, value| match what {
        "Read" => disk.read_bytes = value,
        "Write" => disk.written_bytes = value,
        _ => {}
    });
    count(&operations, |disk, what, value| match what {
        "Read" => disk.reads = value,
        "Write" => disk.writes = value,
        _ => {}
    });
    Ok(disks.into_values().collect())
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::cost_weight;

    #[test]
    fn weights_of_one_scheduler_become_the_other_s() {
        assert_eq!([0, 10, 100, 500, 1000, u16::MAX].map(cost_weight), [1, 1, 910, 4950, 10_000, 10_000]);
    }
}
