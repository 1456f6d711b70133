//! What the program shows, a function a demonstration.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cgroups::{Availability, DeviceProgram, Hierarchy, Limits, devices};
use process::{ExitStatus, Signal};

use crate::confined::{self, Confined};

/// How long a sample of CPU time takes.
const SAMPLE: Duration = Duration::from_millis(200);

/// Which trees there are, and whether we may use them.
pub(crate) fn place() {
    let hierarchy = Hierarchy::detect();
    println!("found: {}", hierarchy.explanation());
    if let Some(manager) = hierarchy.manager() {
        println!("{manager}");
    }
    match hierarchy.availability() {
        Availability::Usable => println!("groups can be made"),
        Availability::Unusable { reason } => println!("no group can be made: {reason}"),
    }
}

pub(crate) fn oom(mebibytes: u64) -> anyhow::Result<()> {
    let bytes = mebibytes << 20;
    let limits = Limits { memory: Some(bytes), memory_swap: i64::try_from(bytes).ok(), ..Limits::default() };
    let (status, stats) = confined::run(&limits, guest(&["memory"])?)?;
    report(status);
    let peak = stats.memory.peak.map_or_else(|| "?".to_owned(), |peak| (peak >> 20).to_string());
    println!("memory: peak {peak} of {mebibytes} MiB; OOM kills: {}", stats.memory.oom_kills);
    Ok(())
}

pub(crate) fn throttle(cpus: f64, milliseconds: u64) -> anyhow::Result<()> {
    let limits = Limits::default().with_cpus(cpus)?;
    let (status, stats) = confined::run(&limits, guest(&["spin", &milliseconds.to_string()])?)?;
    report(status);
    let allowed = limits.cpu_allowance(Duration::from_millis(milliseconds)).unwrap_or_default().as_millis();
    let cpu = stats.cpu;
    println!("cpu: {} ms used in {milliseconds} ms of spinning; the quota allows {allowed} ms", cpu.usage_us / 1000);
    let waited = cpu.throttled_us / 1000;
    println!("throttled in {} of {} periods, for {waited} ms", cpu.throttled_periods, cpu.periods);
    Ok(())
}

pub(crate) fn fork_bomb(pids: i64) -> anyhow::Result<()> {
    let (status, stats) = confined::run(&Limits { pids: Some(pids), ..Limits::default() }, guest(&["fork"])?)?;
    report(status);
    // What the kernel says that it is, not what was asked for.
    let limit = stats.pids.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    println!("pids: limit {limit}, forks refused: {}", stats.pids.refused);
    Ok(())
}

pub(crate) fn freeze() -> anyhow::Result<()> {
    let confined = Confined::new(&Limits::default())?;
    let guest = confined.start(guest(&["spin", "20000"])?)?;
    let used = || -> anyhow::Result<u64> {
        let before = confined.cgroup.stats()?.cpu.usage_us;
        std::thread::sleep(SAMPLE);
        Ok((confined.cgroup.stats()?.cpu.usage_us - before) / 1000)
    };
    let tell = |state: &str, used: u64| println!("{state}: {used} ms of CPU time in {} ms", SAMPLE.as_millis());
    tell("running", used()?);
    confined.cgroup.freeze()?;
    tell("frozen", used()?);
    guest.pidfd().signal(Signal::SIGTERM)?;
    let deadline = Instant::now() + SAMPLE * 5;
    while Instant::now() < deadline && !confined.cgroup.processes()?.is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    match confined.cgroup.processes()?.is_empty() {
        true => println!("sent SIGTERM: it is gone; on v2 death reaches even the frozen"),
        false => println!("sent SIGTERM: it stands still, and the signal waits; it is thawed"),
    }
    confined.cgroup.thaw()?;
    report(guest.pidfd().wait()?);
    Ok(())
}

pub(crate) fn pressure() -> anyhow::Result<()> {
    let limits = Limits::default().with_cpus(0.2)?;
    let (status, stats) = confined::run(&limits, guest(&["crowd", "1000"])?)?;
    report(status);
    match stats.pressure {
        Some(pressure) => {
            let (some, full) = (pressure.cpu.some.total_us / 1000, pressure.cpu.full.total_us / 1000);
            println!("cpu pressure: somebody waited for {some} ms, everybody at once for {full} ms");
        }
        None => println!("this kernel counts no pressure for this group: only cgroup v2 does"),
    }
    Ok(())
}

pub(crate) fn devices() -> anyhow::Result<()> {
    let rules = devices::default_rules();
    for rule in &rules {
        println!("{} {rule}", if rule.allow { "allow" } else { "deny " });
    }
    let some = &rules[..4];
    println!(
        "\nthe first four, assembled for v2 (all of them: {} instructions):",
        DeviceProgram::of(&rules).instructions().len()
    );
    println!("{}", DeviceProgram::of(some));
    let (status, _) = confined::run(&Limits::default(), guest(&["devices"])?)?;
    report(status);
    Ok(())
}

/// This program again, in another role.
fn guest(part: &[&str]) -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe().context("find this program")?.into_os_string();
    Ok([program, "guest".into()].into_iter().chain(part.iter().map(OsString::from)).collect())
}

fn report(status: ExitStatus) {
    match status {
        ExitStatus::Exited(code) => println!("the guest exited with {code}"),
        ExitStatus::Signaled(signal) => println!("the guest was ended by {}", signal.as_str()),
    }
}
