//! What chapter 1's exercises call that its program cannot show alone: a step or two and a program, and nothing after it.

use std::ffi::OsString;
use std::time::Duration;

use process::{CloneArgs, ProcessStep, Program, Signal, reaper};

/// `plain COMMAND...` runs a command by nothing but exec; `fresh COMMAND...` resets its signals first, below a parent that
/// blocks what a careful one blocks; `signals COMMAND...` does that, and passes on the signals that arrive meanwhile.
fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let mode = words.next().unwrap_or_default();
    let arguments: Vec<OsString> = words.collect();
    let environment =
        std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect();
    let mut steps = vec![ProcessStep::Exec(Program { arguments, environment })];
    let mut signals = None;
    if mode != "plain" {
        signals = Some(reaper::listen()?);
        steps.insert(0, ProcessStep::ResetSignals);
    }
    let mut child = process::spawn(&CloneArgs::default(), &steps)?;
    if let Err(error) = child.run_to_exec() {
        eprintln!("{error}");
        std::process::exit(match error.error.errno() {
            nix::errno::Errno::ENOENT => 127,
            nix::errno::Errno::EACCES => 126,
            _ => 125,
        });
    }
    if let (Some(signals), true) = (&signals, mode == "signals") {
        while !child.pidfd().ended_within(Duration::from_millis(20))? {
            while let Some(received) = signals.receive()? {
                if received.signal != Signal::SIGCHLD {
                    reaper::pass_on(child.pidfd(), child.pid(), received)?;
                }
            }
        }
    }
    let status = child.pidfd().wait()?;
    std::process::exit(i32::from(status.code()))
}
