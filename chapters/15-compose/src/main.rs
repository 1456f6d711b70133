//! Projects of services: up, ps, down, and what a compose file was understood to mean.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use compose::{DownOptions, Project, UpOptions};
use containers::{All, Engine, Paths};
use process::explain::Format;

/// Bring a compose file's services up together, look at them, and take them away.
///
/// Shows that a project is nothing but a network, volumes and containers with labels: everything that `down` needs
/// to find them again. Images that need no network: the built-in `hello` and `host`.
#[derive(Parser)]
#[command(name = "ch15-compose", version, disable_help_subcommand = true)]
struct Arguments {
    /// Keep everything below this directory instead of the system's; COOPER_ROOT does the same.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Tell each kernel call on standard error.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<Format>,
    /// The compose file; compose.yaml and its like, here or above, if absent.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// The project's name.
    #[arg(short, long)]
    project_name: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print what the file was understood to mean.
    Config,
    /// Create and start what is missing.
    Up {
        /// Go back when everything has started.
        #[arg(short, long)]
        detach: bool,
        /// Build images that are there already.
        #[arg(long)]
        build: bool,
        /// Only these, and what they depend on.
        services: Vec<String>,
    },
    /// List the project's containers.
    Ps {
        /// Those that have ended, too.
        #[arg(short, long)]
        all: bool,
    },
    /// Remove the project's containers and networks.
    Down {
        /// Its named volumes, too.
        #[arg(short, long)]
        volumes: bool,
    },
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "monitor") {
        return containers::monitor::main(words);
    }
    match run(Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ch15-compose: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    let files: Vec<PathBuf> = arguments.file.into_iter().collect();
    let project = Project::load(&std::env::current_dir()?, &files, arguments.project_name.as_deref())?;
    if matches!(arguments.command, Command::Config) {
        println!("{}", serde_json::to_string_pretty(&project)?);
        return Ok(0);
    }
    let root = arguments.root.or_else(|| std::env::var_os("COOPER_ROOT").map(PathBuf::from));
    let paths = root.map_or_else(Paths::default_for_user, Paths::at);
    std::fs::create_dir_all(&paths.run)?;
    namespaces::rootless::enter(&paths.run)?;
    let engine = Engine::open(paths)?;
    let mut out = std::io::stdout();
    match arguments.command {
        Command::Config => {}
        Command::Up { detach, build, services } => {
            return Ok(compose::up(&engine, &project, &UpOptions { detach, build, services }, &mut out)?);
        }
        Command::Down { volumes } => compose::down(&engine, &project, &DownOptions { volumes }, &mut out)?,
        Command::Ps { all } => {
            println!("{:<24}{:<12}{:<26}PORTS", "NAME", "SERVICE", "STATUS");
            for row in compose::ps(&engine, &project, if all { All::Yes } else { All::No })? {
                println!("{:<24}{:<12}{:<26}{}", row.name, row.service, row.status, row.ports);
            }
        }
    }
    Ok(0)
}
