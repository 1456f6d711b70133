//! A command inside a cgroup of its own, which goes whatever happens.

use std::ffi::OsString;

use anyhow::bail;
use cgroups::{Cgroup, CgroupPath, CgroupStep, Hierarchy, Limits, Scope, Stats};
use process::channel::Inside;
use process::{CallError, CloneArgs, Event, ExitStatus, Pid, ProcessStep, Program, Spawned, Step, reaper};

/// The steps of chapter 1 and of this one.
#[derive(Debug)]
enum ConfinedStep {
    Process(ProcessStep),
    Cgroup(CgroupStep),
}

impl Step for ConfinedStep {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Process(step) => step.name(),
            Self::Cgroup(step) => step.name(),
        }
    }

    fn run(&self, state: &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Process(step) => step.run(state, channel),
            Self::Cgroup(step) => step.run(state, channel),
        }
    }
}

/// A cgroup that is emptied and removed.
pub(crate) struct Confined {
    pub(crate) cgroup: Cgroup,
}

impl Confined {
    /// Makes the group, and prints what was written for the limits.
    pub(crate) fn new(limits: &Limits) -> anyhow::Result<Self> {
        let path = CgroupPath::of_container(&format!("ch05-{}", Pid::this()))?;
        let cgroup = Hierarchy::detect().create(&path, limits)?;
        limits.files(cgroup.version()).iter().for_each(|setting| println!("{} <- {}", setting.file, setting.value));
        Ok(Self { cgroup })
    }

    /// Starts a command inside: no instruction of it runs outside its limits.
    pub(crate) fn start(&self, command: Vec<OsString>) -> anyhow::Result<Spawned> {
        let environment =
            std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect();
        let program = Program { arguments: command, environment };
        let entrance = self.cgroup.entrance()?;
        let before_exec =
            [ProcessStep::ResetSignals, ProcessStep::CloseOnExec { preserve: 0 }, ProcessStep::Exec(program)];
        let mut steps: Vec<ConfinedStep> = entrance.step().into_iter().map(ConfinedStep::Cgroup).collect();
        steps.extend(before_exec.map(ConfinedStep::Process));
        let arguments = CloneArgs { cgroup: entrance.birth(), ..CloneArgs::default() };
        let mut child = process::spawn(&arguments, &steps)?;
        match child.next_event()? {
            Event::Execed => Ok(child),
            Event::Failed(error) => bail!(error),
            Event::Reached(name, _) => bail!("the child waits at {name}, where nobody asked it to"),
        }
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if let Err(error) = self.cgroup.kill().and_then(|()| self.cgroup.remove()) {
            eprintln!("ch05-cgroups: {error}");
        }
    }
}

/// Runs a command in a scope that systemd makes around it; returns how it ended, and what was counted.
pub(crate) fn run_in_scope(scope: &Scope, limits: &Limits, command: Vec<OsString>) -> anyhow::Result<ExitStatus> {
    let signals = reaper::listen()?;
    let environment =
        std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect();
    let steps = [
        // It exists, and waits here until it is where it belongs.
        ProcessStep::Checkpoint("scope"),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(Program { arguments: command, environment }),
    ];
    let mut child = process::spawn(&CloneArgs::default(), &steps)?;
    loop {
        match child.next_event()? {
            Event::Reached(..) => {
                let made = Hierarchy::detect().create_scope(scope, child.pid(), limits);
                match made {
                    Ok(cgroup) => println!("{scope}: {}", cgroup.path()),
                    Err(error) => {
                        child.discard();
                        bail!(error);
                    }
                }
                child.go()?;
            }
            Event::Execed => break,
            Event::Failed(error) => bail!(error),
        }
    }
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?)
}

/// Runs a command inside a new cgroup; returns how it ended, and what was counted.
pub(crate) fn run(limits: &Limits, command: Vec<OsString>) -> anyhow::Result<(ExitStatus, Stats)> {
    let signals = reaper::listen()?;
    let confined = Confined::new(limits)?;
    let child = confined.start(command)?;
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals)?;
    Ok((status, confined.cgroup.stats()?))
}
