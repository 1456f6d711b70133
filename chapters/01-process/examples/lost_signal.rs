//! The naive parent, who makes a child first and listens for signals afterwards.
//!
//! Between the two there is a moment. A SIGTERM that arrives in it does what SIGTERM does to a program that does not
//! listen: the parent is gone, nobody has told the child, and it goes on for ever with nobody to wait for it. The
//! moment is short, so one meets it in production and never on one's own desk. Here the child itself sends the signal
//! at its worst.
//!
//! Run it: `cargo run -p ch01-process --example lost_signal`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context as _;
use process::{CloneArgs, PidFd, ProcessStep, Program, Signal, reaper, spawn};

/// The child: says who it is, sends the signal, and then would work for a long time.
const CHILD: &str = "echo $$; kill -TERM $PPID; exec sleep 1000";

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("naive") => listen_afterwards(),
        Some("careful") => listen_before(),
        _ => {
            println!("listening after the fork:  {}", outcome("naive")?);
            println!("listening before the fork: {}", outcome("careful")?);
            Ok(())
        }
    }
}

fn listen_afterwards() -> anyhow::Result<()> {
    let mut child = Command::new("sh").args(["-c", CHILD]).spawn()?;
    // A parent with more to do than this one is here for a while. The signal arrives.
    std::thread::sleep(std::time::Duration::from_secs(60));
    let _signals = reaper::listen()?;
    child.wait()?;
    Ok(())
}

fn listen_before() -> anyhow::Result<()> {
    let signals = reaper::listen()?;
    let arguments = ["/bin/sh", "-c", CHILD].map(Into::into).to_vec();
    let program = Program { arguments, environment: vec!["PATH=/usr/bin:/bin".into()] };
    let mut child = spawn(&CloneArgs::default(), &[ProcessStep::ResetSignals, ProcessStep::Exec(program)])?;
    child.run_to_exec()?;
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals)?;
    std::process::exit(status.code().into());
}

/// Runs one of the two parents, and looks what became of it and of its child.
fn outcome(way: &str) -> anyhow::Result<String> {
    let mut parent = Command::new(std::env::current_exe()?).arg(way).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(parent.stdout.take().context("its output")?).read_line(&mut line)?;
    // Its number cannot have been given away: it has ended at most once its parent has, which we have not waited for.
    let child = PidFd::open(line.parse()?);
    let status = parent.wait()?;
    let orphan = match child {
        Ok(child) if !child.ended_within(std::time::Duration::from_secs(1))? => {
            child.signal(Signal::SIGKILL)?;
            "its child goes on alone"
        }
        _ => "its child has ended, too",
    };
    std::io::stdout().flush()?;
    Ok(format!("{}, and {orphan}", told(status)))
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal().and_then(Signal::from_number)) {
        (Some(code), _) => format!("the parent passed the signal on and exited with {code}"),
        (None, Some(signal)) => format!("the parent was killed by {signal}"),
        (None, None) => "nobody knows".to_owned(),
    }
}
