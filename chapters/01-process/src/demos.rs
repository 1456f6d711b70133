//! Three things about processes that are easier to see than to say: what a child inherits, what a zombie is, and whom a
//! number means. Each prints what the kernel shows, before and after, side by side.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal as Blockable};
use process::channel::Inside;
use process::{CallError, CloneArgs, During as _, ExitStatus, Pid, PidFd, ProcessStep, Program, Signal, Spawned, Step};
use process::{refuse_threads, spawn};

/// How long a machine under load may take to end a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// A column: what a process has, or what became of it.
type Column = Vec<String>;

fn table(heads: &[&str], rows: &[&str], columns: &[Column]) {
    let row = |name: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<26}  ")).collect();
        println!("{}", format!("{name:<14}{cells}").trim_end());
    };
    row("", heads.to_vec());
    for (index, name) in rows.iter().enumerate() {
        row(name, columns.iter().map(|column| column[index].as_str()).collect());
    }
}

fn program(words: &[&str]) -> ProcessStep {
    let arguments = words.iter().map(Into::into).collect();
    ProcessStep::Exec(Program { arguments, environment: vec!["PATH=/usr/bin:/bin".into()] })
}

/// What a child has of its parent's: by itself everything, and by this chapter's steps what it was given.
pub(crate) fn inherit() -> anyhow::Result<u8> {
    refuse_threads("show", "inheritance")?;
    let others = descriptors(Pid::this())?;
    // A careless parent: a directory open for every child, and a signal that it does not want to hear just now.
    let _open: OwnedFd = rustix::io::dup(std::fs::File::open("/etc")?).context("open /etc")?;
    SigSet::from(Blockable::SIGUSR2).thread_block().context("block SIGUSR2")?;

    let (reader, writer) = std::io::pipe().context("a pipe")?;
    let waits = || [ProcessStep::Stdio([reader.as_raw_fd(), 1, 2]), program(&["cat"])];
    let [streams, becomes] = waits();
    let careful = [streams, ProcessStep::ResetSignals, ProcessStep::CloseOnExec { preserve: 0 }, becomes];
    let children = [run(&waits())?, run(&careful)?];
    let mut columns = vec![inheritance(Pid::this(), &others)?];
    for child in &children {
        columns.push(inheritance(child.pid(), &others)?);
    }
    drop((reader, writer));
    for child in children {
        child.pidfd().wait()?;
    }
    let heads = ["the parent", "a child by exec alone", "a child of this chapter"];
    table(&heads, &["descriptors", "blocked", "ignored"], &columns);
    Ok(0)
}

fn run(steps: &[ProcessStep]) -> anyhow::Result<Spawned> {
    let mut child = spawn(&CloneArgs::default(), steps)?;
    child.run_to_exec()?;
    Ok(child)
}

/// A process's descriptors by number; those that are gone while we look are not there.
fn descriptors(pid: Pid) -> anyhow::Result<BTreeMap<u32, PathBuf>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("look at process {pid}"))?;
    let open = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, std::fs::read_link(entry.path()).ok()?)));
    Ok(open.collect())
}

/// The standard streams and what was opened since `others`, and the two sets of signals that survive an exec.
fn inheritance(pid: Pid, others: &BTreeMap<u32, PathBuf>) -> anyhow::Result<Column> {
    let open = descriptors(pid)?;
    let ours = |number: u32, path: &PathBuf| number > 2 && !others.contains_key(&number) && path.starts_with("/etc");
    let more = open.iter().filter(|(number, path)| ours(**number, path)).map(|(_, path)| path.display().to_string());
    let streams = (0..3).filter(|number| open.contains_key(number)).map(|number| number.to_string());
    let descriptors: Vec<String> = streams.chain(more).collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(vec![descriptors.join(" "), signals(&status, "SigBlk:"), signals(&status, "SigIgn:")])
}

/// The signals of a mask in `/proc/PID/status`, by name.
fn signals(status: &str, field: &str) -> String {
    let mask = status.lines().find_map(|line| line.strip_prefix(field));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // The C library keeps 32 and 33 for its threads, and a parent's `posix_spawn` may leave them ignored.
    let is_set = |number: &i32| mask & (1 << (number - 1)) != 0 && !matches!(number, 32 | 33);
    let set = (1..=64).filter(is_set).filter_map(Signal::from_number);
    let names: Vec<&str> = set.map(Signal::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// A child that runs, one that has ended and that nobody has waited for, and one that was reaped.
pub(crate) fn zombie() -> anyhow::Result<u8> {
    let (reader, writer) = std::io::pipe().context("a pipe")?;
    let child = run(&[
        ProcessStep::Stdio([reader.as_raw_fd(), 1, 2]),
        ProcessStep::CloseOnExec { preserve: 0 },
        program(&["sh", "-c", "read line; exit 3"]),
    ])?;
    let running = shape(child.pid());
    drop((reader, writer));
    anyhow::ensure!(child.pidfd().ended_within(PATIENCE)?, "the child does not end");
    let ended = shape(child.pid());
    let status = child.pidfd().wait()?;
    let columns = [running, ended, shape(child.pid())];
    table(&["runs", "has ended", "is reaped"], &["state", "memory", "its number"], &columns);
    println!("what it was kept for: {}", told(status));
    Ok(0)
}

/// What the kernel keeps of a process.
fn shape(pid: Pid) -> Column {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return vec!["none".to_owned(), "none".to_owned(), "free".to_owned()];
    };
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default().trim();
    // It may be on its way between two states in which it does not run.
    let state = if state.starts_with('Z') { "Z (zombie)" } else { "alive" };
    let memory = if status.contains("VmRSS:") { "some" } else { "none" };
    vec![state.to_owned(), memory.to_owned(), "taken".to_owned()]
}

pub(crate) fn told(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("it exited with {code}"),
        ExitStatus::Signaled(signal) => format!("{signal} ended it"),
    }
}

/// A number that names one process and then another, and a descriptor that does not.
///
/// Numbers are given away anew when all have been used, which takes a machine hours. A pid namespace of our own has a
/// counter of its own, and its root may set it.
pub(crate) fn reuse() -> anyhow::Result<u8> {
    let namespaces = (nix::libc::CLONE_NEWUSER | nix::libc::CLONE_NEWPID) as u64;
    let mut inside = spawn(&CloneArgs { namespaces, cgroup: None }, &[Reuse])
        .context("a user namespace of one's own (without one, only root could set the counter)")?;
    match inside.next_event()? {
        process::Event::Reached(..) => {}
        process::Event::Failed(error) => return Err(error.into()),
        process::Event::Execed => anyhow::bail!("it became a program"),
    }
    inside.discard();
    Ok(0)
}

/// The demonstration, as the one step of a child in its own namespaces.
#[derive(Debug)]
struct Reuse;

impl Step for Reuse {
    type State = ();

    fn name(&self) -> &'static str {
        "reuse"
    }

    fn run(&self, (): &mut (), channel: &mut Inside) -> Result<(), CallError> {
        let sleeper = || spawn(&CloneArgs::default(), &[program(&["sleep", "1000"])]);
        let first = sleeper()?;
        let before = vec![is_there(&PidFd::open(first.pid())?), is_there(first.pidfd())];
        first.pidfd().signal(Signal::SIGKILL)?;
        first.pidfd().wait()?;
        let between = vec![PidFd::open(first.pid()).map_or_else(nobody, |it| is_there(&it)), is_there(first.pidfd())];
        let counter = "/proc/sys/kernel/ns_last_pid";
        std::fs::write(counter, (first.pid().get() - 1).to_string()).during("write", counter)?;
        let second = sleeper()?;
        if second.pid() != first.pid() {
            return Err(CallError::refused("reuse", first.pid(), format!("the next one got {}", second.pid())));
        }
        let after = vec![is_there(&PidFd::open(first.pid())?), is_there(first.pidfd())];
        table(
            &["the first runs", "it has ended", "a second one was made"],
            &["its number", "its pidfd"],
            &[before, between, after],
        );
        println!("a signal to the number would now reach the second; to the pidfd, nobody");
        second.discard();
        channel.reach("shown", None)
    }
}

/// Asks without doing anything: SIGCONT to a process that is not stopped.
fn is_there(process: &PidFd) -> String {
    process.signal(Signal::SIGCONT).map_or_else(nobody, |()| "reaches a process".to_owned())
}

fn nobody(error: CallError) -> String {
    format!("reaches nobody ({:?})", error.errno())
}
