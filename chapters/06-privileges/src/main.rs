//! Chapter 6's program: what root may do before, and what is left of it after.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use privileges::landlock::{Ports, Ruleset};
use privileges::seccomp::{Call, default_profile, origins};
use privileges::{CapSet, Capabilities, Confinement, Identity};
use process::explain;

mod deeds;
mod order;
mod start;
mod watch;

use start::start;

/// Take root apart: run a command with few capabilities, without new privileges and behind a system call filter.
///
/// Works for ordinary users too, in a user namespace. Try:
///
///   ch06-privileges compare                             # a dozen of root's deeds, before and after
///   ch06-privileges compare --no-seccomp                # which of them capabilities alone would stop
///   ch06-privileges run -- sh -c 'grep -E "Cap|Secc|NoNew" /proc/self/status'
///   ch06-privileges order                               # why the steps stand in their order, each turned around
///   ch06-privileges watch mkdir -- mkdir /tmp/x         # stop at each mkdir, tell it, and let it go on
///   ch06-privileges fence --write /tmp -- sh -c 'echo a >/tmp/a && echo b >/var/tmp/b'
///   ch06-privileges ask mount --cap-add SYS_ADMIN       # the filter's answer to one call
///   ch06-privileges why mount clone io_uring_setup      # and where the answer comes from
///   ch06-privileges program                             # the filter's instructions
#[derive(Parser)]
#[command(name = "ch06-privileges", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    /// Add capabilities (a name, or ALL).
    #[arg(long, global = true)]
    cap_add: Vec<String>,
    /// Take capabilities away.
    #[arg(long, global = true)]
    cap_drop: Vec<String>,
    /// No system call filter.
    #[arg(long, global = true)]
    no_seccomp: bool,
    /// Leave setuid programs their power.
    #[arg(long, global = true)]
    new_privileges: bool,
    /// Who to be: `user`, `user:group`, names of this machine or numbers.
    #[arg(long, short, global = true, default_value = "0:0")]
    user: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command, confined.
    Run {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Try what root may do, once as you are and once confined.
    Compare,
    /// The order in which privileges are laid down, and what breaks in any other: tried for real.
    Order,
    /// Run a command, and answer some of its system calls from outside.
    Watch {
        /// The calls, by name, with commas in between.
        #[arg(value_delimiter = ',')]
        calls: Vec<String>,
        /// Answer EPERM instead of letting the call go on.
        #[arg(long)]
        deny: bool,
        /// The command and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// Run a command that may read everything, and write nothing but what is named: Landlock, without namespaces.
    Fence {
        /// A directory, or a file, that may be changed.
        #[arg(long, value_name = "PATH")]
        write: Vec<PathBuf>,
        /// Forbid TCP, but for connections to this port.
        #[arg(long, value_name = "PORT")]
        connect: Vec<u16>,
        /// The command and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// What the filter answers to a call (its arguments as numbers).
    Ask {
        /// Its name: `mount`, `clone`.
        call: String,
        /// Its arguments.
        arguments: Vec<u64>,
    },
    /// Why the default profile answers so.
    Why {
        /// The calls, by name.
        #[arg(required = true)]
        calls: Vec<String>,
    },
    /// The filter's instructions.
    Program,
    /// The default profile, as JSON.
    Profile,
    /// Try the deeds and print how each went.
    #[command(hide = true)]
    Deeds,
}

fn main() {
    process::signals::end_by_broken_pipe();
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(&arguments).unwrap_or_else(|error| {
        eprintln!("ch06-privileges: {error:#}");
        125
    });
    std::process::exit(i32::from(code));
}

fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let confinement = arguments.confinement()?;
    match &arguments.command {
        Command::Run { command } => return start(command.clone(), &confinement.steps(), 0, None),
        Command::Compare => deeds::compare(&confinement)?,
        Command::Deeds => deeds::try_all(),
        Command::Order => order::try_each()?,
        Command::Fence { write, connect, command } => {
            let ports = (!connect.is_empty()).then(|| Ports { connect: connect.clone(), ..Ports::default() });
            let ruleset = Ruleset { readable: vec!["/".into()], writable: write.clone(), ports };
            let fenced = Confinement { landlock: Some(ruleset), ..confinement };
            return start(command.clone(), &fenced.steps(), 0, None);
        }
        Command::Watch { calls, deny, command } => return watch::run(calls, *deny, command.clone(), confinement),
        Command::Program => {
            print!("{}", default_profile().compile(&arguments.capabilities()?)?);
        }
        Command::Why { calls } => {
            for (call, origin) in calls.iter().flat_map(|call| origins(call).into_iter().map(move |one| (call, one))) {
                println!("{call}: {}: {}", origin.decision, origin.because);
            }
        }
        Command::Profile => println!("{}", serde_json::to_string_pretty(&default_profile())?),
        Command::Ask { call, arguments: given } => {
            let mut asked = Call::named(call).with_context(|| format!("{call}: no such system call here"))?;
            for (index, value) in given.iter().enumerate() {
                asked = asked.with(index, *value);
            }
            let program = default_profile().compile(&arguments.capabilities()?)?;
            println!("{call}: {}", program.answer(&asked).context("the filter has no answer")?);
        }
    }
    Ok(0)
}

impl Arguments {
    fn capabilities(&self) -> anyhow::Result<CapSet> {
        Ok(CapSet::engine_default().adjusted(&self.cap_add, &self.cap_drop)?)
    }

    fn confinement(&self) -> anyhow::Result<Confinement> {
        let capabilities = self.capabilities()?;
        let accounts = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let identity: Identity =
            privileges::resolve_user(&self.user, &accounts("/etc/passwd"), &accounts("/etc/group"))?;
        // Who is not root keeps nothing across execve, unless it is in the ambient set: as in any engine.
        let held = if identity.uid == 0 { capabilities } else { CapSet::EMPTY };
        Ok(Confinement {
            keyring: Some("ch06-privileges".to_owned()),
            identity,
            capabilities: Some(Capabilities { bounding: capabilities, ..Capabilities::container(held) }),
            no_new_privs: !self.new_privileges,
            labels: Vec::new(),
            landlock: None,
            seccomp: if self.no_seccomp { None } else { Some(default_profile().compile(&capabilities)?) },
        })
    }
}
