//! What the program's command line says.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use namespaces::{ClockOffset, NamespaceKind};
use process::{CallError, Pid, explain};

/// Run a command in namespaces of its own, or in those of another process, and show what it sees.
///
/// Without root a user namespace comes first, and makes you root of the others. Try:
///
///   ch02-namespaces sh                      # `hostname`, `echo $$`, `id`, `ls /proc/self/ns -l`
///   ch02-namespaces --keep net,ipc -- sh    # share some of them
///   ch02-namespaces --enter PID -- sh       # join another's
///   ch02-namespaces keep blue; ch02-namespaces --kept blue -- hostname
#[derive(Parser)]
#[command(name = "ch02-namespaces", version, verbatim_doc_comment)]
#[command(subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    pub(crate) explain: Option<explain::Format>,
    /// Where kept namespaces are.
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/cooper-namespaces")]
    pub(crate) directory: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// A command, and where it runs.
#[derive(Args)]
pub(crate) struct Run {
    /// Kinds to share with this process instead of making new ones.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub(crate) keep: Vec<NamespaceKind>,
    #[command(flatten)]
    pub(crate) names: Names,
    /// Which ids exist inside.
    #[arg(long, value_enum, default_value = "root")]
    pub(crate) ids: Mapped,
    /// Join all namespaces of this process instead.
    #[arg(long, value_name = "PID")]
    pub(crate) enter: Option<Pid>,
    /// Join the namespace behind this path instead.
    #[arg(long, value_name = "KIND=PATH", value_parser = kind_and_path)]
    pub(crate) join: Vec<(NamespaceKind, PathBuf)>,
    /// Join the namespaces that were kept under this name instead.
    #[arg(long, value_name = "NAME")]
    pub(crate) kept: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<OsString>,
}

/// What is set in new namespaces.
#[derive(Args)]
pub(crate) struct Names {
    /// The host name inside.
    #[arg(long, default_value = "cask")]
    pub(crate) hostname: String,
    /// The NIS domain name inside.
    #[arg(long)]
    pub(crate) domainname: Option<String>,
    /// How many seconds the clocks inside are ahead: whose clock it is shows in `uptime`.
    #[arg(long, value_name = "SECONDS", default_value = "3600", allow_hyphen_values = true)]
    pub(crate) clock: ClockOffset,
}

/// Namespaces that outlive their processes.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make namespaces and keep them under a name, with no process in them (root).
    Keep {
        name: String,
        /// Which kinds.
        #[arg(long, value_delimiter = ',', value_name = "KIND", default_value = "uts,net,ipc")]
        kinds: Vec<NamespaceKind>,
        #[command(flatten)]
        names: Names,
    },
    /// List what is kept.
    List,
    /// Let go of a name; say which processes are still inside.
    Remove { name: String },
    /// The rules of order, and what breaks without them.
    Rules,
}

/// Which ids a new user namespace has.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mapped {
    /// Root alone, which is the caller: needs no privilege.
    Root,
    /// Also those that /etc/subuid and /etc/subgid lend to the caller, from 1 on.
    Lent,
}

fn kind_and_path(text: &str) -> Result<(NamespaceKind, PathBuf), CallError> {
    let (kind, path) =
        text.split_once('=').ok_or_else(|| CallError::refused("read namespace", text, "expected KIND=PATH"))?;
    Ok((kind.parse()?, path.into()))
}
