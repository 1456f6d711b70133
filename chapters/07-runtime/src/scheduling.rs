//! The specification's turns, at a CPU and at a disk, as steps of chapter 1.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process,
    Scheduler, Spec,
};
use process::scheduling::cpu_list;
use process::{IoClass, IoPriority, ProcessStep, Scheduling};

use crate::error::Error;
use crate::spec::refuse;

/// What a process is given while it still may take it: real time needs CAP_SYS_NICE.
///
/// # Errors
/// A value out of its range, by its field.
///
/// # References
/// OCI runtime spec, config.md, "Linux Process"; config-linux.md, "Personality"
pub fn steps(spec: &Spec, process: &Process) -> Result<Vec<ProcessStep>, Error> {
    let mut steps = Vec::new();
    if let Some(priority) = process.io_priority() {
        steps.push(ProcessStep::IoPriority(io_priority(priority)?));
    }
    if let Some(scheduler) = process.scheduler() {
        steps.push(ProcessStep::Scheduling(scheduling(scheduler)?));
    }
    let personality = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref());
    steps.extend(personality.map(|personality| {
        ProcessStep::Personality(match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        })
    }));
    Ok(steps)
}

fn io_priority(wanted: &LinuxIOPriority) -> Result<IoPriority, Error> {
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => IoClass::RealTime,
        IOPriorityClass::IoprioClassBe => IoClass::BestEffort,
        IOPriorityClass::IoprioClassIdle => IoClass::Idle,
    };
    let level = u8::try_from(wanted.priority()).ok().filter(|level| *level <= 7);
    let refused = || refuse("process.ioPriority.priority", format!("{} is not between 0 and 7", wanted.priority()));
    Ok(IoPriority { class, level: level.ok_or_else(refused)? })
}

fn scheduling(wanted: &Scheduler) -> Result<Scheduling, Error> {
    let policy = match wanted.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => {
            return Err(refuse("process.scheduler.policy", "no kernel ever had SCHED_ISO"));
        }
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let priority = wanted.priority().unwrap_or(0);
    let refused = || refuse("process.scheduler.priority", format!("{priority} is not between 0 and 99"));
    Ok(Scheduling {
        policy,
        flags: wanted.flags().iter().flatten().map(flag).fold(0, |flags, bit| flags | bit),
        nice: wanted.nice().unwrap_or(0),
        priority: u32::try_from(priority).ok().filter(|priority| *priority <= 99).ok_or_else(refused)?,
        runtime: wanted.runtime().unwrap_or(0),
        deadline: wanted.deadline().unwrap_or(0),
        period: wanted.period().unwrap_or(0),
    })
}

/// The CPUs of a process that comes in later: until it is in the container's cgroup, and from then on.
#[derive(Debug, Default)]
pub struct Affinity {
    /// The first.
    pub initial: Option<ProcessStep>,
    /// The last.
    pub last: Option<ProcessStep>,
}

/// Its own, or those that the container's configuration has for all of them.
///
/// # Errors
/// What is no list of CPUs.
///
/// # References
/// OCI runtime spec, config.md, `execCPUAffinity`
pub fn affinity(spec: &Spec, process: &Process) -> Result<Affinity, Error> {
    let of_all = spec.process().as_ref().and_then(|process| process.exec_cpu_affinity().as_ref());
    let Some(wanted) = process.exec_cpu_affinity().as_ref().or(of_all) else { return Ok(Affinity::default()) };
    let step = |name: &str, list: &Option<String>| {
        let list = list.as_deref().filter(|list| !list.is_empty());
        let cpus = list.map(cpu_list).transpose();
        let refused = |error: process::CallError| refuse(&format!("process.execCPUAffinity.{name}"), error.to_string());
        Ok::<_, Error>(cpus.map_err(refused)?.map(ProcessStep::Affinity))
    };
    Ok(Affinity { initial: step("initial", wanted.initial())?, last: step("final", wanted.cpu_affinity_final())? })
}
