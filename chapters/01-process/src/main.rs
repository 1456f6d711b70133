//! Chapter 1's program: run a command as a careful parent would, be a small init, and see what they are careful about.

mod demos;

use std::ffi::OsString;
use std::io::Write as _;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use process::{CloneArgs, ProcessStep, Program, Signal, explain, reaper};

/// Run a command as a careful parent: made by clone3, held by a pidfd, reaped, its exit code passed on.
///
/// Shows what every container begins with. Try:
///
///   ch01-process run -- sh -c 'echo I am $$; exit 3'
///   ch01-process init -- sh -c '(sleep 0.1 &) ; echo done'    # orphans are reaped
///   ch01-process inherit; ch01-process zombie; ch01-process reuse
///   ch01-process --explain run -- true
#[derive(Parser)]
#[command(name = "ch01-process", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command, forward signals to it, report how it ended.
    Run(Guest),
    /// The same, and adopt and reap every orphan until nobody is left.
    Init(Guest),
    /// Show what a child inherits by itself, and what it is given by this chapter.
    Inherit,
    /// Show a process that has ended before and after somebody waits for it.
    Zombie,
    /// Show a number that means another process than before, and a pidfd that does not.
    Reuse,
}

#[derive(clap::Args)]
struct Guest {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments.command).unwrap_or_else(|error| {
        eprintln!("ch01-process: {error:#}");
        error.downcast_ref::<process::ChildError>().map_or(125, |child| match child.error.errno() {
            nix::errno::Errno::ENOENT => 127,
            nix::errno::Errno::EACCES => 126,
            _ => 125,
        })
    });
    std::process::exit(i32::from(code));
}

fn run(command: Command) -> anyhow::Result<u8> {
    let (guest, adopts) = match command {
        Command::Run(guest) => (guest, false),
        Command::Init(guest) => (guest, true),
        Command::Inherit => return demos::inherit(),
        Command::Zombie => return demos::zombie(),
        Command::Reuse => return demos::reuse(),
    };
    if adopts {
        reaper::adopt_orphans()?;
    }
    let signals = reaper::listen()?;
    let program = Program {
        arguments: guest.command,
        environment: std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect(),
    };
    let steps = [
        ProcessStep::DieWithParent(Signal::SIGKILL),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(program),
    ];
    let mut child = process::spawn(&CloneArgs::default(), &steps)?;
    child.run_to_exec()?;
    report(&format!("parent: pid {} made pid {}", process::Pid::this(), child.pid()));
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals)?;
    report(&format!("parent: {}", demos::told(status)));
    if adopts {
        wait_for_orphans().context("wait for orphans")?;
    }
    Ok(status.code())
}

/// Reaps what the command left behind, and counts it.
fn wait_for_orphans() -> anyhow::Result<()> {
    let mut reaped = 0;
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::empty()) {
        reaped += 1;
    }
    report(&format!("parent: reaped {reaped} orphan(s)"));
    Ok(())
}

/// Says it on standard error; a terminal that has been hung up hears no more, and that is no reason to fail.
fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
