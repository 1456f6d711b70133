//! The naive way to take root's power, and how it comes back.
//!
//! The kernel checks the effective set on every call, so to empty that (and the permitted one, from which it could be
//! filled again) looks like the end of root. It lasts until the next `execve`: for uid 0 that fills both from the bounding
//! set. The library limits the bounding set first, and there is nothing to come back.
//!
//! Run it: `cargo run -p ch06-privileges --example emptied_sets`. No root is needed.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context as _, bail};
use privileges::{CapSet, Capabilities, Capability, Confinement};
use process::channel::Inside;
use process::{CallError, CloneArgs, During as _, Event, Pid, ProcessStep, Program, Step, reaper};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The library's steps, and the naive one beside them.
#[derive(Debug)]
enum Attempt {
    Process(ProcessStep),
    Library(privileges::Step),
    /// Empty the sets that count now, and no other.
    EmptyTheSets,
}

impl Step for Attempt {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Process(step) => step.name(),
            Self::Library(step) => step.name(),
            Self::EmptyTheSets => "capset",
        }
    }

    fn run(&self, state: &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Process(step) => step.run(state, channel),
            Self::Library(step) => step.run(state, channel),
            Self::EmptyTheSets => empty_the_sets(),
        }
    }
}

/// One call, and it works: this process may do nothing any more.
fn empty_the_sets() -> Result<(), CallError> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).during("capset", "(none)")?;
    if Capabilities::of("self")?.effective.is_empty() {
        return Ok(());
    }
    Err(CallError::refused("capset", "(none)", "something is left"))
}

fn main() -> anyhow::Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        return look(&name);
    }
    let confinement =
        Confinement { capabilities: Some(Capabilities::container(CapSet::EMPTY)), ..Confinement::default() };
    attempt("emptied sets", vec![Attempt::EmptyTheSets])?;
    attempt("limited bounding set", confinement.steps().into_iter().map(Attempt::Library).collect())
}

/// What the program finds that has been executed.
fn look(name: &str) -> anyhow::Result<()> {
    let held = Capabilities::of("self")?.effective;
    let root = if held.contains(Capability::SysAdmin) { "may mount again" } else { "holds nothing" };
    println!("{name}: after execve, root {root}");
    Ok(())
}

/// Executes this program again, as root of a user namespace, behind the given steps.
fn attempt(name: &str, confining: Vec<Attempt>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("find this program")?.into_os_string();
    let program = Program { arguments: vec![program, OsString::from(name)], environment: Vec::new() };
    let mut steps = vec![Attempt::Process(ProcessStep::Checkpoint("id maps"))];
    steps.extend(confining);
    steps.push(Attempt::Process(ProcessStep::ResetSignals));
    steps.push(Attempt::Process(ProcessStep::Exec(program)));
    let signals = reaper::listen()?;
    let namespaces = libc::CLONE_NEWUSER as u64;
    let mut child = process::spawn(&CloneArgs { namespaces, ..CloneArgs::default() }, &steps)?;
    loop {
        match child.next_event()? {
            Event::Reached(..) => {
                become_root_inside(child.pid())?;
                child.go()?;
            }
            Event::Failed(error) => bail!(error),
            Event::Execed => break,
        }
    }
    reaper::supervise(child.pidfd(), child.pid(), &signals)?;
    Ok(())
}

/// Maps the caller to uid 0 of the child's user namespace.
fn become_root_inside(pid: Pid) -> anyhow::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let maps = [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))];
    for (file, text) in maps {
        fs::write(format!("/proc/{pid}/{file}"), text).with_context(|| format!("write /proc/{pid}/{file}"))?;
    }
    Ok(())
}
