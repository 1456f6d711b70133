//! A child that lays its privileges down and becomes a command.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::bail;
use privileges::step::LISTENER;
use process::{CallError, CloneArgs, Event, Pid, ProcessStep, Program, Spawned, reaper};

/// A step of either chapter.
#[derive(Debug)]
pub(crate) enum Step {
    Process(ProcessStep),
    Privileges(privileges::Step),
}

impl process::Step for Step {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Step::Process(step) => step.name(),
            Step::Privileges(step) => step.name(),
        }
    }

    fn run(&self, state: &mut (), channel: &mut process::channel::Inside) -> Result<(), CallError> {
        match self {
            Step::Process(step) => step.run(state, channel),
            Step::Privileges(step) => step.run(state, channel),
        }
    }
}

/// Runs a command after `confining` steps, in new `namespaces`, its output into `output` if given. Returns its exit code.
pub(crate) fn start(
    command: Vec<OsString>,
    confining: &[privileges::Step],
    namespaces: u64,
    output: Option<&OwnedFd>,
) -> anyhow::Result<u8> {
    let signals = reaper::listen()?;
    let (child, _) = begin(command, confining, namespaces, output)?;
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?.code())
}

/// Starts it. Returns once the command has been executed, with the filter's listener if it has one.
pub(crate) fn begin(
    command: Vec<OsString>,
    confining: &[privileges::Step],
    namespaces: u64,
    output: Option<&OwnedFd>,
) -> anyhow::Result<(Spawned, Option<OwnedFd>)> {
    let environment =
        std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect();
    let mut steps = vec![Step::Process(ProcessStep::Checkpoint("id maps"))];
    if let Some(output) = output {
        steps.push(Step::Process(ProcessStep::Stdio([0, output.as_raw_fd(), 2])));
    }
    steps.push(Step::Process(ProcessStep::ResetSignals));
    steps.push(Step::Process(ProcessStep::CloseOnExec { preserve: 0 }));
    steps.extend(confining.iter().cloned().map(Step::Privileges));
    steps.push(Step::Process(ProcessStep::Exec(Program { arguments: command, environment })));

    let user = if nix::unistd::geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER as u64 };
    let mut child = process::spawn(&CloneArgs { namespaces: namespaces | user, ..CloneArgs::default() }, &steps)?;
    let mut listener = None;
    loop {
        match child.next_event()? {
            Event::Reached(name, descriptor) if name == LISTENER => {
                listener = descriptor;
                child.go()?;
            }
            Event::Reached(..) => {
                if user != 0 {
                    become_root_inside(child.pid())?;
                }
                child.go()?;
            }
            Event::Failed(error) => bail!(error),
            Event::Execed => return Ok((child, listener)),
        }
    }
}

/// Maps the caller to uid 0 of the child's user namespace: chapter 2's lesson in three writes.
fn become_root_inside(pid: Pid) -> anyhow::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(format!("/proc/{pid}/uid_map"), format!("0 {uid} 1"))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("0 {gid} 1"))?;
    Ok(())
}
