//! The naive parent, who makes children and never asks what became of them.
//!
//! A child that has ended is kept by the kernel, as a zombie, until its parent has waited for it: its status could still
//! be wanted. A zombie does nothing, but it has its pid and its place in every limit on processes. A parent that never
//! waits fills the limit with the dead, and then nobody can make a process any more: no shell, no `kill`.
//!
//! Run it: `cargo run -p ch01-process --example zombie_farm`. It limits itself; no root is needed.

use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, setuid};
use process::{CallError, CloneArgs, Pid, ProcessStep, Program, reaper, spawn};

/// How many children are wanted, and how many at once are allowed.
const WANTED: usize = 100;
const ALLOWED: u64 = 20;

fn main() -> anyhow::Result<()> {
    limit_ourselves()?;
    let (made, refusal) = farm(|| Ok(()));
    let reason = refusal.map_or_else(|| "none was refused".to_owned(), |error| format!("{:?}", error.errno()));
    println!("never reaping: {} ({reason}); of those made, {}", amount(made), state_of(made));
    reaper::reap(Pid::this()).context("reap")?;
    let (made, refusal) = farm(|| reaper::reap(Pid::this()).map(drop));
    if let Some(error) = refusal {
        return Err(error).context("with a reaper");
    }
    reaper::reap(Pid::this()).context("reap")?;
    println!("reaping:       {}; of those made, {}", amount(made), state_of(made));
    Ok(())
}

/// Makes children one after the other, each ended before the next, until all are made or one is refused.
fn farm(after_each: impl Fn() -> Result<(), CallError>) -> (usize, Option<CallError>) {
    let program = Program { arguments: vec!["/bin/true".into()], environment: Vec::new() };
    let steps = [ProcessStep::ResetSignals, ProcessStep::Exec(program)];
    for made in 0..WANTED {
        let ended = spawn(&CloneArgs::default(), &steps).and_then(|child| {
            // It has ended, and nobody has waited for it.
            child.pidfd().ended_within(std::time::Duration::from_secs(60))?;
            after_each()
        });
        if let Err(error) = ended {
            return (made, Some(error));
        }
    }
    (WANTED, None)
}

fn amount(made: usize) -> String {
    if made == WANTED { format!("all {WANTED} children were made") } else { "no more children can be made".to_owned() }
}

/// How many of our children are zombies.
fn state_of(made: usize) -> &'static str {
    let ours = format!(" Z {} ", Pid::this());
    let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    match entries.filter_map(stat).filter(|stat| stat.contains(&ours)).count() {
        0 => "none is a zombie",
        zombies if zombies == made => "every one is a zombie",
        _ => "some are zombies",
    }
}

/// Leaves room for a few processes more than this user has. The machine's root has no such limit, so it becomes nobody.
fn limit_ourselves() -> anyhow::Result<()> {
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(1_000_000 + Pid::this().get().unsigned_abs())).context("become nobody")?;
    }
    let ours = |entry: &std::fs::DirEntry| {
        entry.metadata().is_ok_and(|data| data.uid() == Uid::effective().as_raw())
            && entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
    };
    let threads = |entry: std::fs::DirEntry| std::fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count);
    let there: usize = std::fs::read_dir("/proc")?.flatten().filter(ours).map(threads).sum();
    let limit = there as u64 + ALLOWED;
    setrlimit(Resource::RLIMIT_NPROC, limit, limit).context("limit the number of processes")
}
