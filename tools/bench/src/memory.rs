//! What a container's monitor costs, as the kernel counts it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// KiB of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resident {
    /// What nobody else has: its own heap and stack.
    pub(crate) anonymous: u64,
    /// Everything, also its program's pages that all monitors share.
    pub(crate) all: u64,
}

/// The monitors of the engine at `root`.
///
/// # Errors
/// `/proc` cannot be read. A process that ends meanwhile is passed over.
pub(crate) fn of_monitors(root: &Path) -> Result<Vec<Resident>> {
    let rollups =
        monitors(root)?.into_iter().filter_map(|process| fs::read_to_string(process.join("smaps_rollup")).ok());
    Ok(rollups.filter_map(|rollup| read(&rollup)).collect())
}

/// Seconds of a processor that these monitors have used until now.
///
/// # Errors
/// As [`of_monitors`].
pub(crate) fn seconds_of_monitors(root: &Path) -> Result<f64> {
    let ticks = |process: &PathBuf| -> Option<f64> {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // proc_pid_stat(5): the 14th and 15th, counted behind the name, in which anything may stand.
        let numbers: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(numbers.get(11)?.parse::<f64>().ok()? + numbers.get(12)?.parse::<f64>().ok()?)
    };
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).context("sysconf")?.unwrap_or(100);
    Ok(monitors(root)?.iter().filter_map(ticks).sum::<f64>() / hertz as f64)
}

/// Their directories in `/proc`.
fn monitors(root: &Path) -> Result<Vec<PathBuf>> {
    let root = root.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        if words.get(1) == Some(&b"monitor".as_slice()) && words.contains(&root.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Rounded down.
pub(crate) fn mean(several: &[Resident]) -> Resident {
    let count = several.len().max(1) as u64;
    let sum = |part: fn(&Resident) -> u64| several.iter().map(part).sum::<u64>() / count;
    Resident { anonymous: sum(|it| it.anonymous), all: sum(|it| it.all) }
}

/// The two lines of proc_pid_smaps(5)'s rollup; none of a process that has ended.
fn read(rollup: &str) -> Option<Resident> {
    let line = |name: &str| rollup.lines().find_map(|line| line.strip_prefix(name));
    let number = |name: &str| line(name)?.split_whitespace().next()?.parse().ok();
    Some(Resident { anonymous: number("Anonymous:")?, all: number("Rss:")? })
}
