//! The OCI runtime, as a program that other engines call.

mod arguments;
mod container;
mod exec;
mod features;
mod frozen;
mod listing;
mod log;
mod usage;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arguments::{Arguments, Command, Kill};
use clap::Parser as _;
use log::Log;
use process::signals;
use runtime::{All, Force, StateDir, spec};

fn main() {
    let early = protect_early();
    let arguments = Arguments::parse();
    let log = Log::new(arguments.settings.log.clone(), &arguments.settings.log_format);
    match arguments.settings.explain {
        Some(format) => process::explain::install(format),
        None if arguments.settings.debug => log.follow(),
        None => {}
    }
    let code =
        early.map_err(anyhow::Error::from).and_then(|early| run(arguments, &log, early)).unwrap_or_else(|error| {
            log.error(&error);
            error.downcast_ref().map_or(1, runtime::Error::exit_code)
        });
    std::process::exit(i32::from(code));
}

/// [`rootfs::self_exe::protect`] executes this program once more, and whatever was done before is done again. So it comes
/// before the command line is read, if a word there may be a command that needs it. A story would lose its first line: then
/// the command comes first.
fn protect_early() -> Result<Protected, process::CallError> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let told = words.iter().any(|word| word.as_encoded_bytes().starts_with(b"--explain") || word == "--debug");
    let starts = words.iter().any(|word| ["create", "run", "exec"].iter().any(|command| word == command));
    if !starts || told {
        return Ok(Protected::NotYet);
    }
    rootfs::self_exe::protect().map(|()| Protected::Yes)
}

/// Whether this program's own file is out of a container's reach.
#[derive(PartialEq, Eq)]
enum Protected {
    Yes,
    NotYet,
}

fn run(arguments: Arguments, log: &Log, protected: Protected) -> anyhow::Result<u8> {
    let Arguments { settings, command } = arguments;
    let starts = matches!(command, Command::Create(_) | Command::Run(_) | Command::Exec(_));
    if starts && protected == Protected::NotYet {
        rootfs::self_exe::protect()?;
    }
    if matches!(
        command,
        Command::State { .. } | Command::List { .. } | Command::Ps(_) | Command::Events { .. } | Command::Features
    ) {
        signals::end_by_broken_pipe();
    }
    let state = StateDir::new(settings.root.clone().unwrap_or_else(default_root));
    match command {
        Command::Create(wanted) => container::create(&state, &wanted, &settings).map(|_| 0),
        Command::Start { id } => {
            log.warnings(runtime::start(&state, &id)?);
            Ok(0)
        }
        Command::Run(wanted) => container::run(&state, &wanted, &settings, log),
        Command::State { id } => listing::state(&state, &id),
        Command::Kill(Kill { all, id, signal }) => {
            let all = if all { All::Yes } else { All::No };
            runtime::kill(&state, &id, signals::parse(&signal)?, all)?;
            Ok(0)
        }
        Command::Delete { force, id } => {
            log.warnings(runtime::delete(&state, &id, if force { Force::Yes } else { Force::No })?);
            Ok(0)
        }
        Command::Exec(wanted) => exec::exec(&state, &wanted),
        Command::List { format, quiet } => listing::list(&state, &format, quiet),
        Command::Ps(wanted) => listing::ps(&state, &wanted),
        Command::Pause { id } => Ok(runtime::pause(&state, &id).map(|()| 0)?),
        Command::Resume { id } => Ok(runtime::resume(&state, &id).map(|()| 0)?),
        Command::Update(wanted) => usage::update(&state, &wanted),
        Command::Events { stats, interval, id } => usage::events(&state, &id, (!stats).then_some(interval)),
        Command::Spec { rootless, bundle } => write_spec(rootless, &bundle),
        Command::Checkpoint(wanted) => frozen::checkpoint(&state, &wanted, &settings, log),
        Command::Restore(wanted) => frozen::restore(&state, &wanted, &settings, log),
        Command::Features => features::print(),
    }
}

/// Whoever is root in a user namespace alone, as under a rootless podman, keeps its state where its user may write.
fn default_root() -> PathBuf {
    let is_ordinary = || !rustix::process::geteuid().is_root() || namespaces::rootless::is_rootless();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if is_ordinary() => Path::new(&directory).join("cooper-runtime"),
        _ => PathBuf::from("/run/cooper-runtime"),
    }
}

fn write_spec(rootless: bool, bundle: &Path) -> anyhow::Result<u8> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let spec = spec::example(rootless.then_some((uid, gid)));
    let path = bundle.join("config.json");
    let file = std::fs::File::create_new(&path).with_context(|| format!("create {path:?}"))?;
    serde_json::to_writer_pretty(file, &spec).with_context(|| format!("write {path:?}"))?;
    Ok(0)
}
