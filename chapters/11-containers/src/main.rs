//! The life of a container, with the built-in images `hello` and `host`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use containers::{
    All, AttachOptions, CreateOptions, Ended, Engine, ExecOptions, LogOptions, Network, Paths, RemoveOptions,
    StartOptions,
};
use process::explain::Format;

/// Create containers, leave them alone, and come back: run, ps, logs, exec, stop, rm.
///
/// Shows that an engine needs no daemon: `run -d` returns, the container lives on under a small monitor of its own,
/// and every other command reads its files or knocks at its socket. Images are `hello` and `host`, made on the spot.
#[derive(Parser)]
#[command(name = "ch11-containers", version, disable_help_subcommand = true)]
struct Arguments {
    /// Keep everything below this directory instead of the system's; COOPER_ROOT does the same.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Tell each kernel call on standard error, as a story or as JSON lines.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command in a new container.
    Run(Run),
    /// List containers; with -a those that have ended, too.
    Ps {
        #[arg(short, long)]
        all: bool,
    },
    /// Print what a container has printed; with -f go on until it ends.
    Logs {
        #[arg(short, long)]
        follow: bool,
        container: String,
    },
    /// Run another command in a running container.
    Exec {
        container: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Ask a container to end; after ten seconds, make it.
    Stop { container: String },
    /// Remove a container; with -f also one that runs.
    Rm {
        #[arg(short, long)]
        force: bool,
        container: String,
    },
    /// Remove every container that does not run, and what crashes left.
    Prune,
}

#[derive(Args)]
struct Run {
    /// Go back at once and print the container's id.
    #[arg(short, long)]
    detach: bool,
    /// Pass standard input on.
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal.
    #[arg(short, long)]
    tty: bool,
    /// Remove it when it has ended.
    #[arg(long)]
    rm: bool,
    #[arg(long)]
    name: Option<String>,
    /// bridge, none or host.
    #[arg(long, default_value = "bridge")]
    network: String,
    /// hello or host.
    image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "monitor") {
        return containers::monitor::main(words);
    }
    match act(Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ch11-containers: {error:#}");
            ExitCode::from(error.downcast_ref::<containers::Error>().map_or(125, containers::Error::exit_code))
        }
    }
}

fn act(arguments: Arguments) -> anyhow::Result<u8> {
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    let root = arguments.root.or_else(|| std::env::var_os("COOPER_ROOT").map(PathBuf::from));
    let engine = Engine::open_as_user(root.map(Paths::at))?;
    let find = |name: &str| engine.find(name).map(|container| container.id().clone());
    match arguments.command {
        Command::Run(run) => return start(&engine, run, arguments.explain),
        Command::Ps { all } => list(&engine, if all { All::Yes } else { All::No })?,
        Command::Logs { follow, container } => {
            for line in engine.logs(&find(&container)?, &LogOptions { follow, ..LogOptions::default() })? {
                print!("{}", line?.log);
            }
        }
        Command::Exec { container, command } => {
            // This process goes where the container's processes can see it.
            rootfs::self_exe::protect()?;
            let options = ExecOptions { command, interactive: true, ..ExecOptions::default() };
            return Ok(engine.exec(&find(&container)?, &options)?);
        }
        Command::Stop { container } => engine.stop(&find(&container)?, None)?,
        Command::Rm { force, container } => {
            engine.remove(&find(&container)?, RemoveOptions { force, volumes: false })?
        }
        Command::Prune => engine.prune()?.containers.iter().for_each(|id| println!("{id}")),
    }
    Ok(0)
}

fn start(engine: &Engine, run: Run, explain: Option<Format>) -> anyhow::Result<u8> {
    let image = images::builtin::ensure(&run.image, engine.store(), engine.snapshots())?;
    let image = image.with_context(|| format!("{:?}: the images here are hello and host", run.image))?;
    let attach = AttachOptions { interactive: run.interactive, ..AttachOptions::default() };
    let container = engine.create(
        &image,
        CreateOptions {
            name: run.name,
            image: run.image,
            command: run.command,
            terminal: run.tty,
            interactive: run.interactive,
            stdin_once: run.interactive && !run.detach,
            auto_remove: run.rm,
            network: Network { mode: run.network.parse()?, ..Network::default() },
            ..CreateOptions::default()
        },
    )?;
    let mut running = engine.start(container.id(), &StartOptions { attach: !run.detach, explain })?;
    let Some(streams) = running.attachment.take() else {
        println!("{}", container.id());
        return Ok(0);
    };
    // A signal may come when the container has just ended, and then needs nobody.
    match streams.run(&attach, &mut |signal| drop(engine.kill(container.id(), signal)))? {
        Ended::Detached => Ok(0),
        Ended::Closed => running.wait()?.context("the container's monitor was killed: nobody knows how it ended"),
    }
}

fn list(engine: &Engine, all: All) -> anyhow::Result<()> {
    println!("{:<14}{:<8}{:<24}{:<12}NAME", "ID", "IMAGE", "COMMAND", "STATUS");
    for container in engine.list(all)? {
        let (record, status) = (container.record(), engine.life(&container)?.to_string());
        let command: String = record.settings.args().join(" ").chars().take(22).collect();
        println!("{:<14}{:<8}{command:<24}{status:<12}{}", record.id.short(), record.options.image, record.name);
    }
    Ok(())
}
