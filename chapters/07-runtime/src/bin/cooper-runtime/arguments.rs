//! The command line that OCI hosts (podman, containerd, docker) expect of a runtime: runc's.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use process::explain;

use crate::frozen::{Frozen, Thawed};
use crate::usage::Update;

/// What `--version` prints: hosts look for the words "version" and "spec".
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1");

/// An OCI runtime: runs containers from bundles.
#[derive(Parser)]
#[command(name = "cooper-runtime", version = VERSION)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Args)]
pub(crate) struct Settings {
    /// Where the state of containers is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Write errors and warnings to this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// How they are written to the file.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) log_format: String,
    /// Write each kernel call there as well.
    #[arg(long)]
    pub(crate) debug: bool,
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    pub(crate) explain: Option<explain::Format>,
    /// Let systemd make the cgroup.
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Who makes the cgroup: "cgroupfs" (this program) or "systemd".
    #[arg(long, value_name = "WHO", default_value = "cgroupfs", value_parser = ["cgroupfs", "systemd"])]
    pub(crate) cgroup_manager: String,
    /// Whether a container may do without a cgroup where none can be made and no limit is asked for; "false" forbids it.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["true", "false", "auto"])]
    pub(crate) rootless: String,
    /// The program behind checkpoint and restore.
    #[arg(long, value_name = "FILE", default_value = "criu")]
    pub(crate) criu: PathBuf,
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
    Exec(Box<Exec>),
    /// List containers.
    List {
        /// "table" or "json".
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
        /// Print ids only.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show a container's processes, as ps(1) does.
    Ps(Ps),
    /// Stop all processes of a container where they are.
    Pause {
        /// The container.
        id: String,
    },
    /// Let the processes of a paused container go on.
    Resume {
        /// The container.
        id: String,
    },
    /// Change a container's limits.
    Update(Box<Update>),
    /// Print what a container uses, and when it runs out of memory, as JSON lines.
    Events {
        /// Print what is used once, and end.
        #[arg(long)]
        stats: bool,
        /// How often what is used is printed: 5s, 500ms, 1m.
        #[arg(long, default_value = "5s", value_name = "TIME", value_parser = crate::usage::interval)]
        interval: std::time::Duration,
        /// The container.
        id: String,
    },
    /// Write an example configuration to config.json.
    Spec {
        /// For an ordinary user: with a user namespace.
        #[arg(long)]
        rootless: bool,
        /// The directory to write it in.
        #[arg(short, long, default_value = ".", value_name = "DIR")]
        bundle: PathBuf,
    },
    /// Write a running container to disk, by criu(8), and delete it.
    Checkpoint(Box<Frozen>),
    /// Let a container go on that was written to disk.
    Restore(Box<Thawed>),
    /// Print what this runtime knows, as JSON.
    Features,
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
    /// How many descriptors from 3 on the program inherits, besides those of $LISTEN_FDS.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) preserve_fds: u32,
    /// Change the root by moving a mount over it: for machines whose root is an initramfs.
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Leave the program the caller's session keyring, and the keys in it.
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// The container's id.
    pub(crate) id: String,
}

#[derive(Args)]
pub(crate) struct Run {
    /// Do not wait for it.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not delete it when it has ended.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Leave processes that lose their parent to others.
    #[arg(long)]
    pub(crate) no_subreaper: bool,
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
pub(crate) struct Ps {
    /// "table" or "json".
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    pub(crate) format: String,
    /// The container.
    pub(crate) id: String,
    /// Arguments for ps(1), -ef if none are given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<String>,
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
    /// Its user and group, as numbers.
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(crate) user: Option<String>,
    /// One more group of its user.
    #[arg(short = 'g', long, value_name = "GID")]
    pub(crate) additional_gids: Vec<u32>,
    /// One more capability.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) cap: Vec<String>,
    /// Let no program that it executes gain privileges.
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// The label that SELinux goes by.
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,
    /// The profile that AppArmor goes by.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,
    /// How many descriptors from 3 on it inherits, besides those of $LISTEN_FDS.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) preserve_fds: u32,
    /// Run it in this cgroup inside the container's own, which must exist.
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<String>,
    /// Come into a paused container, too; the process stands still until it is resumed.
    #[arg(long)]
    pub(crate) ignore_paused: bool,
    /// The container.
    pub(crate) id: String,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}
