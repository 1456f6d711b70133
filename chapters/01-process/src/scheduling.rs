//! How the kernel treats a process beside others: its turn on a CPU, on which CPUs, its turn at a disk, and as which Linux
//! it shows itself.

use std::fmt;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::{CallError, During};
use crate::{step, sys};

/// The turn at a disk.
///
/// # References
/// ioprio_set(2)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// Within it, 0 (first) to 7.
    pub level: u8,
}

/// Classes of turns at a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// Before all others.
    RealTime = 1,
    /// As usual.
    BestEffort = 2,
    /// When nobody else wants to.
    Idle = 3,
}

/// The turn on a CPU.
///
/// # References
/// sched_setattr(2), sched(7)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `SCHED_OTHER` (0), `SCHED_FIFO` (1), `SCHED_RR` (2), `SCHED_BATCH` (3), `SCHED_IDLE` (5), `SCHED_DEADLINE` (6).
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 (first) to 19, for the policies without a priority.
    pub nice: i32,
    /// 1 to 99 (first), for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds of each period, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds after the period's begin by which they must have been had.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, flags, nice, priority, runtime, deadline, period } = self;
        match policy {
            6 => write!(f, "SCHED_DEADLINE {runtime}/{deadline}/{period} ns, flags {flags:#x}"),
            1 | 2 => write!(f, "policy {policy}, priority {priority}, flags {flags:#x}"),
            _ => write!(f, "policy {policy}, nice {nice}, flags {flags:#x}"),
        }
    }
}

pub(crate) fn set_io_priority(priority: IoPriority) -> Result<(), CallError> {
    let IoPriority { class, level } = priority;
    step!(1, "ioprio_set", "ioprio_set(2)", "its turn at a disk", "{class:?} {level}");
    sys::set_io_priority(class as u16, level)
        .during("ioprio_set", format!("{class:?} {level}"))
        .map_err(|error| error.with("IOPRIO_WHO_PROCESS"))
}

pub(crate) fn set_scheduling(scheduling: &Scheduling) -> Result<(), CallError> {
    step!(1, "sched_setattr", "sched_setattr(2)", "its turn on a CPU", "{scheduling}");
    sys::set_scheduling(scheduling).during("sched_setattr", scheduling)
}

pub(crate) fn set_personality(persona: u64) -> Result<(), CallError> {
    step!(1, "personality", "personality(2)", "as which Linux it shows itself", "{persona:#x}");
    sys::set_personality(persona).during("personality", format!("{persona:#x}"))
}

pub(crate) fn set_affinity(cpus: &[usize]) -> Result<(), CallError> {
    step!(1, "sched_setaffinity", "sched_setaffinity(2)", "the CPUs that it runs on", "{cpus:?}");
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).during("sched_setaffinity", format!("CPU {cpu}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).during("sched_setaffinity", format!("{cpus:?}"))
}

/// Reads a list of CPUs as the kernel writes it: `0-2,7`.
///
/// # Errors
/// What is none, or has a number beyond 4095.
pub fn cpu_list(text: &str) -> Result<Vec<usize>, CallError> {
    const MOST: usize = 4096;
    let refused = || CallError::refused("read CPU list", text, "no list such as 0-2,7");
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < MOST).ok_or_else(refused);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refused());
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0-2,7,1").unwrap(), [0, 1, 2, 7]);
        for bad in ["", "a", "2-1", "-1", "0-99999999", "1,,2"] {
            assert!(cpu_list(bad).is_err(), "{bad:?}");
        }
    }
}
