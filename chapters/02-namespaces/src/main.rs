//! Chapter 2's program: a command that sees less of the machine.

mod arguments;

use clap::Parser as _;
use namespaces::{
    ClockOffsets, IdMap, IdMaps, IsolatedStep, KeptNamespaces, NamespaceFd, NamespaceKind, NamespaceStep, Plan, RULES,
    View, isolate, lent::Ids, view,
};
use process::{Event, Pid, ProcessStep, Program, explain, reaper};

use crate::arguments::{Arguments, Command, Names, Run};

/// The checkpoint at which all of the child's namespaces exist, the time namespace too, and nothing is executed yet.
const COMPLETE: &str = "complete";

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let kept = KeptNamespaces::in_directory(&arguments.directory);
    let done = match arguments.command {
        Some(command) => manage(&kept, command).map(|()| 0),
        None => run(&kept, arguments.run),
    };
    let code = done.unwrap_or_else(|error| {
        eprintln!("ch02-namespaces: {error:#}");
        125
    });
    std::process::exit(i32::from(code));
}

fn run(kept: &KeptNamespaces, arguments: Run) -> anyhow::Result<u8> {
    let signals = reaper::listen()?;
    let plan = plan(kept, &arguments)?;
    let environment = std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect());
    let program = Program { arguments: arguments.program.clone(), environment: environment.collect() };
    let mut rest = names_and_clocks(&plan, &arguments.names);
    rest.extend([ProcessStep::ResetSignals, ProcessStep::CloseOnExec { preserve: 0 }].map(IsolatedStep::from));
    // A short command could be over before it was looked at: it looks around itself, and waits.
    rest.extend([NamespaceStep::Look.into(), ProcessStep::Exec(program).into()]);

    let mut child = isolate(&plan, None, Some(&maps(arguments.ids)), rest)?;
    match child.next_event()? {
        Event::Reached(seen, _) => {
            let (ours, theirs) = (View::own()?, seen.parse()?);
            eprint!("{}", view::side_by_side((Pid::this(), &ours), (child.pid(), &theirs))?);
        }
        Event::Failed(error) => return Err(error.into()),
        Event::Execed => anyhow::bail!("init did not look around"),
    }
    child.go()?;
    child.run_to_exec()?;
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?.code())
}

fn plan(kept: &KeptNamespaces, arguments: &Run) -> anyhow::Result<Plan> {
    let mut plan = match arguments.enter {
        Some(pid) => Plan::enter(pid)?,
        None => Plan::default(),
    };
    for (kind, path) in &arguments.join {
        plan.join.push(NamespaceFd::open(path, *kind)?.into());
    }
    if let Some(name) = &arguments.kept {
        plan.join.extend(kept.open(name)?.into_iter().map(Into::into));
    }
    if plan.join.is_empty() && arguments.enter.is_none() {
        plan.create = wanted(&arguments.keep);
    }
    Ok(plan)
}

fn names_and_clocks(plan: &Plan, names: &Names) -> Vec<IsolatedStep> {
    let mut steps = Vec::new();
    if plan.create.contains(&NamespaceKind::Uts) {
        steps.push(NamespaceStep::HostName(names.hostname.clone()).into());
        steps.extend(names.domainname.clone().map(|name| NamespaceStep::DomainName(name).into()));
    }
    if plan.create.contains(&NamespaceKind::Time) {
        steps.push(NamespaceStep::OwnTime(ClockOffsets::both(names.clock)).into());
    }
    steps
}

/// All kinds but those kept; a user namespace only where we are not root already.
fn wanted(keep: &[NamespaceKind]) -> Vec<NamespaceKind> {
    let root = rustix::process::geteuid().is_root();
    let unwanted = |kind: &NamespaceKind| keep.contains(kind) || (root && *kind == NamespaceKind::User);
    NamespaceKind::ALL.into_iter().filter(|kind| !unwanted(kind)).collect()
}

/// Root alone, or root and the range of ids that the machine lends to this user.
fn maps(ids: arguments::Mapped) -> IdMaps {
    let mut maps = IdMaps::only_root();
    if ids == arguments::Mapped::Lent {
        let uid = rustix::process::geteuid().as_raw();
        let range = |ids: Ids| ids.lent_to(uid).map(|(first, count)| IdMap { inside: 1, outside: first, count });
        maps.users.extend(range(Ids::Users));
        maps.groups.extend(range(Ids::Groups));
    }
    maps
}

fn manage(kept: &KeptNamespaces, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Keep { name, kinds, names } => keep(kept, &name, &kinds, &names)?,
        Command::List => {
            for one in kept.list()? {
                let id = one.id.map_or("broken: nothing is mounted there".to_owned(), |id| id.to_string());
                println!("{:<16} {:<8} {id}", one.name, one.kind.to_string());
            }
        }
        Command::Remove { name } => {
            for pid in kept.remove(&name)? {
                println!("process {pid} is still in it");
            }
        }
        Command::Rules => {
            for rule in RULES {
                println!("{}\n    or else: {}  [{}]", rule.rule, rule.otherwise, rule.reference);
            }
        }
    }
    Ok(())
}

/// Makes namespaces, keeps them by name, and lets the process that was needed to make them go.
fn keep(kept: &KeptNamespaces, name: &str, kinds: &[NamespaceKind], names: &Names) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!(
            "keep needs root: a kept namespace is a mount, and an ordinary user's mounts end with its last process"
        );
    }
    let plan = Plan::create(kinds.iter().copied());
    let mut steps = names_and_clocks(&plan, names);
    steps.push(ProcessStep::Checkpoint(COMPLETE).into());
    let mut child = isolate(&plan, None, Some(&IdMaps::only_root()), steps)?;
    let complete = child.next_event();
    let done = kept.keep(name, child.pid(), kinds);
    child.discard();
    if let Event::Failed(error) = complete? {
        return Err(error.into());
    }
    Ok(done?)
}
