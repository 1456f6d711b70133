//! The naive way into a cgroup: start the program, then write its pid into `cgroup.procs`.
//!
//! Between the two there is a moment. Children are born where their parent *is*, and moving the parent leaves them
//! behind: a program that forks at once has a child outside, without limits, that no kill of the group ever reaches.
//! The moment is short, so it is met in production and never on one's own desk. Here the program forks in it.
//!
//! Run it as root, or in a cgroup that was delegated to you: `cargo run -p ch05-cgroups --example late_entry`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cgroups::{Cgroup, CgroupPath, CgroupStep, Hierarchy, Limits};
use process::channel::Inside;
use process::{CallError, CloneArgs, Pid, PidFd, ProcessStep, Program, Signal, Step, spawn};

/// The guest: forks, and leaves a note of the child's pid.
const GUEST: &str = "sleep 60 & echo $! > note; wait";

fn main() -> anyhow::Result<()> {
    println!("moved in after the start: {}", outcome("late", moved_in)?);
    println!("there from the start:     {}", outcome("born", born_inside)?);
    Ok(())
}

/// Never do this.
fn moved_in(group: &Cgroup) -> anyhow::Result<(PidFd, Pid)> {
    let child = Command::new("sh").args(["-c", GUEST]).spawn()?;
    let pid = Pid::new(i32::try_from(child.id())?)?;
    // Whoever writes the pid is always later than the program, and sometimes as late as this.
    let sleeper = sleeper()?;
    group.add(pid)?;
    Ok((PidFd::open(pid)?, sleeper))
}

/// The way in is prepared first: the child is born there (v2), or goes there before it executes anything (v1).
fn born_inside(group: &Cgroup) -> anyhow::Result<(PidFd, Pid)> {
    let entrance = group.entrance()?;
    let guest =
        Program { arguments: ["/bin/sh", "-c", GUEST].map(Into::into).into(), environment: vec![search_path()] };
    let mut steps: Vec<Guest> = entrance.step().into_iter().map(Guest::Enter).collect();
    steps.push(Guest::Become(ProcessStep::Exec(guest)));
    let mut child = spawn(&CloneArgs { cgroup: entrance.birth(), ..CloneArgs::default() }, &steps)?;
    child.run_to_exec()?;
    Ok((child.into_pidfd(), sleeper()?))
}

/// Starts the guest in a new group, counts the members, kills the group, and looks who is left.
fn outcome(name: &str, start: fn(&Cgroup) -> anyhow::Result<(PidFd, Pid)>) -> anyhow::Result<String> {
    let path: CgroupPath = format!("/cooper-example-{}/{name}", std::process::id()).parse()?;
    let group = Hierarchy::detect().create(&path, &Limits::default())?;
    let place = std::env::temp_dir().join(format!("late-entry-{}-{name}", std::process::id()));
    std::fs::create_dir(&place)?;
    std::env::set_current_dir(&place)?;

    let (guest, sleeper) = start(&group)?;
    let members = group.processes()?.len();
    // v1 counts a member until its parent has waited for it.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| guest.wait());
        let killed = group.kill();
        waiting.join().map_or_else(|_| anyhow::bail!("the waiting thread died"), |ended| Ok(ended.map(drop)?))?;
        anyhow::Ok(killed?)
    })?;
    let rest = if is_alive(sleeper) { "a process lives on" } else { "nobody is left" };
    if is_alive(sleeper) {
        PidFd::open(sleeper)?.signal(Signal::SIGKILL)?;
    }
    group.remove()?;
    std::fs::remove_dir_all(&place).context("tidy up")?;
    Ok(format!("{members} of 2 processes are members; the group is killed, and {rest}"))
}

/// The pid of the guest's child, as soon as it is noted: a line of a single write, by the shell itself.
fn sleeper() -> anyhow::Result<Pid> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let note = std::fs::read_to_string("note").unwrap_or_default();
        if let Some(pid) = note.strip_suffix('\n') {
            return Ok(pid.parse()?);
        }
        ensure!(Instant::now() < deadline, "the guest does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether it runs; one that has ended and that nobody has waited for does not.
fn is_alive(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains(['Z', 'X']))
}

fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["PATH=".into(), path].into_iter().collect()
}

/// The steps of chapter 1 and of this one.
#[derive(Debug)]
enum Guest {
    Enter(CgroupStep),
    Become(ProcessStep),
}

impl Step for Guest {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Enter(step) => step.name(),
            Self::Become(step) => step.name(),
        }
    }

    fn run(&self, state: &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Enter(step) => step.run(state, channel),
            Self::Become(step) => step.run(state, channel),
        }
    }
}
