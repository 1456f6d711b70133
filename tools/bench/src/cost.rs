//! What a command costs: time on the wall, time of the processors, memory. A client whose work is done by a daemon pays for that too.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// How often a process is asked for its memory. The kernel keeps the peak, so nothing is missed but what the very end adds.
const INTERVAL: Duration = Duration::from_millis(2);

/// The cost of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Milliseconds until the command ended.
    pub(crate) wall: f64,
    /// Milliseconds of all processors together.
    pub(crate) processor: f64,
    /// Most that was resident at once, in MiB: the command, and what its daemons had more than before.
    pub(crate) memory: f64,
}

/// Runs a command, with the daemons that work for it.
///
/// # Errors
/// The command fails; the last line of what it said.
pub(crate) fn of(command: &mut Command, daemons: &[u32]) -> Result<Cost> {
    for daemon in daemons {
        // From here on the kernel counts the peak anew.
        fs::write(format!("/proc/{daemon}/clear_refs"), "5").context("cannot reset a daemon's memory peak")?;
    }
    let resting: Vec<f64> = daemons.iter().map(|daemon| peak(*daemon).unwrap_or(0.0)).collect();
    let before = children()? + daemons.iter().map(|daemon| processor(*daemon)).sum::<f64>();
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut memory = 0.0_f64;
    let status = loop {
        memory = memory.max(peak(child.id()).unwrap_or(0.0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(INTERVAL);
    };
    let wall = began.elapsed().as_secs_f64() * 1000.0;
    if !status.success() {
        bail!("{}", last_words(&mut child));
    }
    let after = children()? + daemons.iter().map(|daemon| processor(*daemon)).sum::<f64>();
    let grown = daemons.iter().zip(resting).map(|(daemon, resting)| peak(*daemon).unwrap_or(0.0) - resting);
    Ok(Cost { wall, processor: after - before, memory: memory + grown.sum::<f64>() })
}

/// The middle of several runs, each number for itself.
pub(crate) fn median(runs: &[Cost]) -> Cost {
    let middle = |number: fn(&Cost) -> f64| {
        let mut numbers: Vec<f64> = runs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Cost {
        wall: middle(|cost| cost.wall),
        processor: middle(|cost| cost.processor),
        memory: middle(|cost| cost.memory),
    }
}

/// The last line that a command wrote about its failure.
fn last_words(child: &mut Child) -> String {
    let said = child.stderr.take().and_then(|pipe| std::io::read_to_string(pipe).ok()).unwrap_or_default();
    said.trim().lines().last().unwrap_or("failed without a word").chars().take(200).collect()
}

/// Processor time of all children that have ended, and of theirs, in milliseconds.
fn children() -> Result<f64> {
    usage(UsageWho::RUSAGE_CHILDREN)
}

/// Processor time of this process, in milliseconds.
///
/// # Errors
/// Those of getrusage(2).
pub(crate) fn own() -> Result<f64> {
    usage(UsageWho::RUSAGE_SELF)
}

fn usage(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who).context("getrusage")?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1000.0)
}

/// Processor time of a running process and its ended children, in milliseconds.
fn processor(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may have spaces in it.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    let ticks: f64 = fields.iter().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks * 10.0
}

/// The most that a process had resident, in MiB.
fn peak(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
