//! Chapter 5's program: what happens at a limit, shown by processes that run into one.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use cgroups::{Availability, Cgroup, CgroupPath, Hierarchy, Limits, Stats};
use clap::{Parser, Subcommand};
use process::{CloneArgs, Event, ExitStatus, Pid, ProcessStep, Program, explain, reaper};

mod guest;

/// Put a process into a cgroup of its own, let it run into a limit, and read what the kernel counted.
///
/// Needs root, or a cgroup that was delegated to you. Try:
///
///   ch05-cgroups info                                   # which generation this machine has
///   ch05-cgroups oom                                    # 32 MiB, and a guest that wants more
///   ch05-cgroups throttle --cpus 0.2                    # a fifth of a CPU for a guest that spins
///   ch05-cgroups forkbomb --pids 16                     # a fork bomb that goes nowhere
///   ch05-cgroups run --memory 64 --pids 32 -- sh -c 'cat /proc/self/cgroup'
#[derive(Parser)]
#[command(name = "ch05-cgroups", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Which cgroup tree is here, and may we use it?
    Info,
    /// A guest that takes memory until the kernel kills it.
    Oom {
        /// The limit, MiB.
        #[arg(long, default_value_t = 32)]
        memory: u64,
    },
    /// A guest that spins, and is stopped in every period.
    Throttle {
        /// CPUs that it may use.
        #[arg(long, default_value_t = 0.2)]
        cpus: f64,
        /// How long it spins, milliseconds.
        #[arg(long, default_value_t = 1000)]
        milliseconds: u64,
    },
    /// A guest that starts children until it cannot (or has 500).
    Forkbomb {
        /// The limit, processes and threads.
        #[arg(long, default_value_t = 16)]
        pids: i64,
    },
    /// Any command, with limits.
    Run {
        /// MiB of memory.
        #[arg(long)]
        memory: Option<u64>,
        /// CPUs.
        #[arg(long)]
        cpus: Option<f64>,
        /// Processes and threads.
        #[arg(long)]
        pids: Option<i64>,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// What the demonstrations run inside.
    #[command(hide = true)]
    Guest(guest::Part),
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments.command).unwrap_or_else(|error| {
        eprintln!("ch05-cgroups: {error:#}");
        125
    });
    std::process::exit(i32::from(code));
}

fn run(command: Command) -> anyhow::Result<u8> {
    let guest = |part: &[&str]| -> anyhow::Result<Vec<OsString>> {
        let program = std::env::current_exe().context("find this program")?.into_os_string();
        Ok([program, "guest".into()].into_iter().chain(part.iter().map(OsString::from)).collect())
    };
    match command {
        Command::Guest(part) => return part.play(),
        Command::Info => {
            let hierarchy = Hierarchy::detect();
            println!("found: {}", hierarchy.explanation());
            match hierarchy.availability() {
                Availability::Usable => println!("groups can be made"),
                Availability::Unusable { reason } => println!("no group can be made: {reason}"),
            }
        }
        Command::Oom { memory } => {
            let bytes = memory << 20;
            let limits = Limits { memory: Some(bytes), memory_swap: i64::try_from(bytes).ok(), ..Limits::default() };
            let (status, stats) = confined(&limits, guest(&["memory"])?)?;
            report(status);
            println!(
                "memory: peak {} of {memory} MiB; OOM kills: {}",
                mebibytes(stats.memory.peak),
                stats.memory.oom_kills
            );
        }
        Command::Throttle { cpus, milliseconds } => {
            let limits = Limits::default().with_cpus(cpus)?;
            let (status, Stats { cpu, .. }) = confined(&limits, guest(&["spin", &milliseconds.to_string()])?)?;
            report(status);
            println!("cpu: {} ms used in {milliseconds} ms of spinning", cpu.usage_us / 1000);
            println!(
                "throttled in {} of {} periods, for {} ms",
                cpu.throttled_periods,
                cpu.periods,
                cpu.throttled_us / 1000
            );
        }
        Command::Forkbomb { pids } => {
            let (status, stats) = confined(&Limits { pids: Some(pids), ..Limits::default() }, guest(&["fork"])?)?;
            report(status);
            println!("pids: limit {:?}, forks refused: {}", stats.pids.limit, stats.pids.refused);
        }
        Command::Run { memory, cpus, pids, command } => {
            let memory = memory.map(|mebibytes| mebibytes << 20);
            let mut limits = Limits { memory, pids, ..Limits::default() };
            if let Some(cpus) = cpus {
                limits = limits.with_cpus(cpus)?;
            }
            let (status, stats) = confined(&limits, command)?;
            eprintln!("{}", serde_json::to_string_pretty(&stats)?);
            return Ok(status.code());
        }
    }
    Ok(0)
}

/// Runs a command inside a new cgroup, and removes the group whatever happens.
fn confined(limits: &Limits, command: Vec<OsString>) -> anyhow::Result<(ExitStatus, Stats)> {
    let path = CgroupPath::of_container(&format!("ch05-{}", Pid::this()))?;
    let hierarchy = Hierarchy::detect();
    let cgroup = hierarchy.create(&path, limits)?;
    if let Some(version) = hierarchy.version() {
        limits.files(version).iter().for_each(|setting| println!("{} <- {}", setting.file, setting.value));
    }
    let outcome = run_inside(&cgroup, command).and_then(|status| Ok((status, cgroup.stats()?)));
    cgroup.kill()?;
    cgroup.remove()?;
    outcome
}

fn run_inside(cgroup: &Cgroup, command: Vec<OsString>) -> anyhow::Result<ExitStatus> {
    let environment =
        std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect();
    let program = Program { arguments: command, environment };
    let steps = [
        ProcessStep::Checkpoint("limits"),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(program),
    ];
    let signals = reaper::listen()?;
    let directory = cgroup.dir_fd()?;
    let born_inside = directory.as_ref().map(std::os::fd::AsFd::as_fd);
    let mut child = process::spawn(&CloneArgs { cgroup: born_inside, ..CloneArgs::default() }, &steps)?;
    loop {
        match child.next_event()? {
            // On v1 nobody can be born in a cgroup: the child waits here until it was moved.
            Event::Reached(..) => {
                if directory.is_none() {
                    cgroup.add(child.pid())?;
                }
                child.go()?;
            }
            Event::Failed(error) => bail!(error),
            Event::Execed => break,
        }
    }
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?)
}

fn report(status: ExitStatus) {
    match status {
        ExitStatus::Exited(code) => println!("the guest exited with {code}"),
        ExitStatus::Signaled(signal) => println!("the guest was ended by {}", signal.as_str()),
    }
}

fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
}
