//! Chapter 2's program: a command that sees less of the machine.

use std::ffi::OsString;

use clap::Parser;
use namespaces::{IdMaps, NamespaceFd, NamespaceKind, NamespaceStep, Plan, isolate};
use process::{Event, Pid, ProcessStep, Program, explain, reaper};

/// Run a command in namespaces of its own, or in those of another process, and show which ones it has.
///
/// Without root a user namespace comes first, and makes you root of the others. Try:
///
///   ch02-namespaces sh                     # `hostname`, `echo $$`, `id`, `ls /proc/self/ns -l`
///   ch02-namespaces --keep net,ipc -- sh   # share some of them
///   ch02-namespaces --enter PID -- sh      # join another's
#[derive(Parser)]
#[command(name = "ch02-namespaces", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    /// Kinds to share with this process instead of making new ones.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    keep: Vec<NamespaceKind>,
    /// The host name inside.
    #[arg(long, default_value = "cask")]
    hostname: String,
    /// Join the namespaces of this process instead.
    #[arg(long, value_name = "PID")]
    enter: Option<Pid>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The checkpoint at which all of the child's namespaces exist, the time namespace too, and nothing is executed yet.
const COMPLETE: &str = "complete";

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments).unwrap_or_else(|error| {
        eprintln!("ch02-namespaces: {error:#}");
        125
    });
    std::process::exit(i32::from(code));
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let signals = reaper::listen()?;
    let plan = match arguments.enter {
        Some(pid) => Plan { join: different_from_ours(pid)?, create: Vec::new() },
        None => Plan { create: wanted(&arguments.keep), join: Vec::new() },
    };
    let mut rest: Vec<namespaces::IsolatedStep> = Vec::new();
    if plan.create.contains(&NamespaceKind::Uts) {
        rest.push(NamespaceStep::HostName(arguments.hostname).into());
    }
    if plan.create.contains(&NamespaceKind::Time) {
        // The container's clock begins an hour ahead, so that `uptime` shows whose clock it is.
        rest.push(NamespaceStep::OwnTime { monotonic: 3600, boottime: 3600 }.into());
    }
    let environment = std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect());
    let program = Program { arguments: arguments.command, environment: environment.collect() };
    rest.extend([ProcessStep::ResetSignals, ProcessStep::CloseOnExec { preserve: 0 }].map(Into::into));
    rest.push(ProcessStep::Checkpoint(COMPLETE).into());
    rest.push(ProcessStep::Exec(program).into());

    let maps = IdMaps::only_root();
    let mut isolated = isolate(&plan, None, Some(&maps), rest)?;
    isolated.child.go()?;
    // A short command could be over before its namespaces were read: it is looked at while it waits.
    match isolated.child.next_event()? {
        Event::Reached(..) => show(isolated.child.pid())?,
        Event::Failed(error) => return Err(error.into()),
        Event::Execed => anyhow::bail!("init skipped its checkpoint {COMPLETE:?}"),
    }
    isolated.child.go()?;
    isolated.child.run_to_exec()?;
    let status = reaper::supervise(isolated.child.pidfd(), isolated.child.pid(), &signals)?;
    Ok(status.code())
}

/// All kinds but those kept; a user namespace only where we are not root already.
fn wanted(keep: &[NamespaceKind]) -> Vec<NamespaceKind> {
    let root = rustix::process::geteuid().is_root();
    let unwanted = |kind: &NamespaceKind| keep.contains(kind) || (root && *kind == NamespaceKind::User);
    NamespaceKind::ALL.into_iter().filter(|kind| !unwanted(kind)).collect()
}

fn different_from_ours(pid: Pid) -> anyhow::Result<Vec<NamespaceFd>> {
    let mut theirs = Vec::new();
    for kind in NamespaceKind::ALL {
        let namespace = NamespaceFd::of(pid, kind)?;
        if namespace.id()? != NamespaceFd::own(kind)?.id()? {
            theirs.push(namespace);
        }
    }
    Ok(theirs)
}

/// Prints, side by side, the namespaces of this process and of the child, as the kernel numbers them.
fn show(child: Pid) -> anyhow::Result<()> {
    eprintln!("{:<8} {:>12} {:>12}", "kind", "parent", "child");
    for kind in NamespaceKind::ALL {
        let (ours, theirs) = (NamespaceFd::own(kind)?.id()?, NamespaceFd::of(child, kind)?.id()?);
        let hidden = if ours == theirs { "shared" } else { kind.hides() };
        eprintln!("{:<8} {ours:>12} {theirs:>12}  {hidden}", kind.to_string());
    }
    Ok(())
}
