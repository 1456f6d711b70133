//! Chapter 5's program: what happens at a limit, shown by processes that run into one.

use std::ffi::OsString;

use cgroups::systemd::Manager;
use cgroups::{Limits, Scope};
use clap::{Parser, Subcommand};
use process::explain;

mod confined;
mod guest;
mod show;

/// Put a process into a cgroup of its own, let it run into a limit, and read what the kernel counted.
///
/// Needs root, or a cgroup that was delegated to you. Try:
///
///   ch05-cgroups where                                  # which generation this machine has
///   ch05-cgroups oom                                    # 32 MiB, and a guest that wants more
///   ch05-cgroups throttle --cpus 0.2                    # a fifth of a CPU for a guest that spins
///   ch05-cgroups forkbomb --pids 16                     # a fork bomb that goes nowhere
///   ch05-cgroups freeze                                 # a guest that stands still, and goes on
///   ch05-cgroups pressure                               # how long four guests waited for one small share
///   ch05-cgroups devices                                # the program that says no to /dev/kmsg
///   ch05-cgroups scope -- cat /proc/self/cgroup         # the same made by systemd, where that owns the tree
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
    #[command(alias = "info")]
    Where,
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
    /// A guest that spins, is frozen, thawed and killed.
    Freeze,
    /// Four guests that share a fifth of a CPU, and how long they waited for it.
    Pressure,
    /// The device rules as a program, and a guest that asks it.
    Devices,
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
    /// Any command in a scope of systemd's, where that owns the tree.
    Scope {
        /// `SLICE:PREFIX:NAME`.
        #[arg(long, default_value = ":ch05:scope")]
        name: String,
        /// MiB of memory.
        #[arg(long)]
        memory: Option<u64>,
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
    match command {
        Command::Guest(part) => return part.play(),
        Command::Where => show::place(),
        Command::Oom { memory } => show::oom(memory)?,
        Command::Throttle { cpus, milliseconds } => show::throttle(cpus, milliseconds)?,
        Command::Forkbomb { pids } => show::fork_bomb(pids)?,
        Command::Freeze => show::freeze()?,
        Command::Pressure => show::pressure()?,
        Command::Devices => show::devices()?,
        Command::Scope { name, memory, pids, command } => {
            let limits = Limits { memory: memory.map(|mebibytes| mebibytes << 20), pids, ..Limits::default() };
            let scope = Scope::parse(&name, Manager::of_caller())?;
            return Ok(confined::run_in_scope(&scope, &limits, command)?.code());
        }
        Command::Run { memory, cpus, pids, command } => {
            let memory = memory.map(|mebibytes| mebibytes << 20);
            let mut limits = Limits { memory, pids, ..Limits::default() };
            if let Some(cpus) = cpus {
                limits = limits.with_cpus(cpus)?;
            }
            let (status, stats) = confined::run(&limits, command)?;
            eprintln!("{}", serde_json::to_string_pretty(&stats)?);
            return Ok(status.code());
        }
    }
    Ok(0)
}
