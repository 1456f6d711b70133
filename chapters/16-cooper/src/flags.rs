//! The flags of `run` and `create`, with docker's names, short forms and defaults.
//!
//! Nothing is decided here: the next module turns these into `containers::CreateOptions`. A flag
//! of docker's that is not in this list is one that the engine cannot honour yet, and so an
//! error, never a promise.

use clap::{ArgAction, Args, ValueEnum};

use crate::machine::Machine;
use crate::refused::Refused;
use crate::values;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Even when it is here: a tag may have moved.
    Always,
    /// When it is not here.
    Missing,
    /// Never: what is not here is an error.
    Never,
}

/// What a new container is to be.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Assign a name to the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Automatically remove the container and its anonymous volumes when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// Set environment variables (NAME alone takes the value from here)
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<std::path::PathBuf>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "STREAM")]
    pub(crate) attach: Vec<containers::AttachedStream>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<std::path::PathBuf>,
    /// Set meta data on a container
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "FIELDS")]
    pub(crate) mount: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub(crate) init: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) shm_size: Option<u64>,
    /// Restart policy to apply when a container exits
    #[arg(
        long,
        value_name = "no|on-failure[:N]|always|unless-stopped",
        default_value = "no",
        hide_default_value = true
    )]
    pub(crate) restart: containers::RestartPolicy,
    /// PID namespace to use: host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pub(crate) pid: containers::Share,
    /// IPC namespace to use: private (the default), shareable, none (no /dev/shm), host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pub(crate) ipc: containers::Ipc,
    /// UTS namespace to use: host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pub(crate) uts: containers::Share,
    /// Cgroup namespace to use: host, or private
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pub(crate) cgroupns: containers::Share,
    /// User namespace to use: host
    #[arg(long, value_name = "MODE", value_parser = ["host"])]
    userns: Option<String>,
    /// Give the container users of its own: CONTAINER:HOST[:SIZE]; may be given again
    #[arg(long, value_name = "RANGE", value_parser = containers::id_range, conflicts_with = "userns")]
    pub(crate) uidmap: Vec<namespaces::IdMap>,
    /// The same for groups; as for users, if only those are given
    #[arg(long, value_name = "RANGE", value_parser = containers::id_range, conflicts_with = "userns")]
    pub(crate) gidmap: Vec<namespaces::IdMap>,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<i64>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<String>,
    /// Signal to stop the container
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<u64>,
    /// Pull image before running
    #[arg(long, value_enum, default_value = "missing", value_name = "WHEN")]
    pub(crate) pull: Pull,
    /// Write the container ID to the file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<std::path::PathBuf>,
    /// Print usage
    #[arg(long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    #[command(flatten)]
    pub(crate) health: Health,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) security: Security,
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(flatten)]
    pub(crate) refused: Refused,
}

/// How its monitor sees whether it is well.
#[derive(Args, Debug)]
#[command(next_help_heading = "Health check")]
pub(crate) struct Health {
    /// Command to run to check health
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h) (default 30s)
    #[arg(long, value_name = "DURATION", value_parser = values::nanoseconds)]
    pub(crate) health_interval: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 30s)
    #[arg(long, value_name = "DURATION", value_parser = values::nanoseconds)]
    pub(crate) health_timeout: Option<i64>,
    /// Start period for the container to initialize before failures count (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "DURATION", value_parser = values::nanoseconds)]
    pub(crate) health_start_period: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h) (default 5s)
    #[arg(long, value_name = "DURATION", value_parser = values::nanoseconds)]
    pub(crate) health_start_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy (default 3)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) health_retries: Option<u32>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}

/// How much it may use.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Disable OOM Killer
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// Ulimit options
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
}

/// How much it may use, in what can be changed while it runs.
#[derive(Args, Debug)]
pub(crate) struct Resources {
    /// Memory limit
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) memory: Option<u64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = values::swap, allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) memory_reservation: Option<u64>,
    /// Number of CPUs
    #[arg(long, value_name = "DECIMAL", value_parser = values::nano_cpus)]
    pub(crate) cpus: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) period, in microseconds
    #[arg(long, value_name = "US")]
    pub(crate) cpu_period: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds a period
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Limit CPU real-time period, in microseconds
    #[arg(long, value_name = "US")]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Limit CPU real-time runtime, in microseconds a period
    #[arg(long, value_name = "US")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<u16>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "WEIGHT")]
    pub(crate) cpu_shares: Option<u64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Tune container pids limit (set -1 for unlimited; 2048 unless given)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<i64>,
}

/// Whom it can reach, and who can reach it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Connect a container to a network: bridge, host, none, container:NAME, or a network's name; may be given again, also as
    /// NAME:ip=ADDRESS,alias=NAME or name=NAME,ip=ADDRESS,alias=NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// Add network-scoped alias for the container
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::Ipv4Addr>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<std::net::Ipv6Addr>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = exposed)]
    pub(crate) expose: Vec<String>,
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<std::net::IpAddr>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Set DNS options
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
}

/// A port of the container alone, or a range of them.
fn exposed(text: &str) -> Result<String, containers::Error> {
    containers::exposed_port(text).map(|_| text.to_owned())
}

/// What it may do.
#[derive(Args, Debug)]
#[command(next_help_heading = "Privileges")]
pub(crate) struct Security {
    /// Give extended privileges to this container
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Security options: no-new-privileges, seccomp=FILE|unconfined|builtin, apparmor=PROFILE, label=disable|type:TYPE, unmask=ALL|PATHS, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sysctl: Vec<String>,
}
