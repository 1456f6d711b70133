//! The command line that OCI hosts (podman, containerd, docker) expect of a runtime.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use process::explain;

/// An OCI runtime: runs containers from bundles.
#[derive(Parser)]
#[command(name = "cooper-runtime", version)]
pub(crate) struct Arguments {
    /// Where the state of containers is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Write errors to this file instead of standard error alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// How errors are written to the file.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) log_format: String,
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    pub(crate) explain: Option<explain::Format>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a container that waits to be started.
    Create(Create),
    /// Start a created container.
    Start {
        /// The container.
        id: String,
    },
    /// Make a container, start it, wait for it and delete it.
    Run(Run),
    /// Print a container's state as JSON.
    State {
        /// The container.
        id: String,
    },
    /// Send a signal.
    Kill(Kill),
    /// Delete a stopped container.
    Delete {
        /// Kill it first if it runs; a container that does not exist is no error.
        #[arg(short, long)]
        force: bool,
        /// The container.
        id: String,
    },
    /// Run one more process in a container.
    Exec(Exec),
    /// List containers.
    List {
        /// "table" or "json".
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
        /// Print ids only.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Write an example configuration to config.json in the current directory.
    Spec {
        /// For an ordinary user: with a user namespace.
        #[arg(long)]
        rootless: bool,
    },
}

#[derive(Args)]
pub(crate) struct Create {
    /// The bundle's directory.
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// Send the terminal's master to this socket.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Write the first process's pid to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on the program inherits.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) preserve_fds: u32,
    /// The container's id.
    pub(crate) id: String,
}

#[derive(Args)]
pub(crate) struct Run {
    /// Do not wait for it.
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) create: Create,
}

#[derive(Args)]
pub(crate) struct Kill {
    /// Every process of the container, not only the first.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The container.
    pub(crate) id: String,
    /// The signal, by name or number.
    #[arg(default_value = "SIGTERM")]
    pub(crate) signal: String,
}

#[derive(Args)]
pub(crate) struct Exec {
    /// Read the process from this file (the `process` part of a configuration).
    #[arg(short, long, value_name = "FILE")]
    pub(crate) process: Option<PathBuf>,
    /// Do not wait for it.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Give it a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Send the terminal's master to this socket.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Write its pid to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Its working directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// One more environment variable.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// The container.
    pub(crate) id: String,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}
