//! What may be asked of a new container: plain data, one field for each flag of `run`.

use std::collections::BTreeMap;

use images::Healthcheck;
use namespaces::IdMaps;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::devices::{DeviceRequest, DeviceRule, DiskRate, DiskWeight};
use crate::logging::LogConfig;
use crate::mounts::MountRequest;
use crate::networking::Network;
use crate::restart::RestartPolicy;
use crate::security::Security;
use crate::sharing::Sharing;

/// Everything that `create` and `run` let one ask for.
///
/// The CLI, the daemon, build and compose all fill in this one struct, so an option means the same
/// whichever door it came through. `Default` is what `docker run IMAGE` means. The struct is stored
/// as it is in `container.json`: what was asked for stays apart from what it was turned into
/// (`config.json`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateOptions {
    /// `--name`; a random one if absent.
    pub name: Option<String>,
    /// The image as the user wrote it, for `ps` and `inspect`.
    pub image: String,
    /// What follows the image on the command line; replaces the image's `Cmd`.
    pub command: Vec<String>,
    /// `--entrypoint`; `Some(vec![])` clears the image's. Giving one also drops the image's `Cmd`.
    pub entrypoint: Option<Vec<String>>,
    /// `-e`: `NAME=VALUE`. (A bare `NAME` is looked up by the CLI, in its own environment.)
    pub env: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`: `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `--hostname`; the short id if absent.
    pub hostname: Option<String>,
    /// `-l`.
    pub labels: BTreeMap<String, String>,
    /// `-t`.
    pub terminal: bool,
    /// The terminal's size at its start; if absent, that of whoever starts it attached, else 24 by 80.
    pub console_size: Option<process::pty::Size>,
    /// `-i`: keep standard input open.
    pub interactive: bool,
    /// Close the container's input when the first attached client ends its own (`-i` without `-d`).
    pub stdin_once: bool,
    /// `--rm`.
    pub auto_remove: bool,
    /// `-v`, `--mount`, `--tmpfs`.
    pub mounts: Vec<MountRequest>,
    /// `--init`: the engine's tiny init is the first process, and the program its child.
    pub init: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--shm-size`, bytes; 64 MiB if absent.
    pub shm_size: Option<u64>,
    /// Capabilities, seccomp and the rest.
    pub security: Security,
    /// Memory, cpu, pids.
    pub resources: Resources,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--device`.
    pub devices: Vec<DeviceRequest>,
    /// `--device-cgroup-rule`.
    pub device_rules: Vec<DeviceRule>,
    /// `--cgroup-parent`: the group that the container's own is made in.
    pub cgroup_parent: Option<String>,
    /// `--log-driver`, `--log-opt`.
    pub log: LogConfig,
    /// `-a`: which streams whoever runs it is attached to; told by `inspect`.
    pub attached: Vec<AttachedStream>,
    /// `--domainname`: the NIS domain.
    pub domainname: Option<String>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--pid`, `--ipc`, `--uts`.
    pub sharing: Sharing,
    /// `--oom-score-adj`: -1000 to 1000, how likely the kernel takes it when memory runs out.
    pub oom_score_adj: Option<i64>,
    /// `--annotation`: what hooks and runtimes are told.
    pub annotations: BTreeMap<String, String>,
    /// `--uidmap`, `--gidmap`: a user namespace of its own, with these ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_maps: Option<IdMaps>,
    /// `--volumes-from`: containers whose mounts it gets too, each `NAME[:ro|:rw]`.
    pub volumes_from: Vec<String>,
    /// `--network` and what belongs to it.
    pub network: Network,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--health-*`, laid over what the image says; `--no-healthcheck` is the test `["NONE"]`.
    pub health: Option<Healthcheck>,
    /// `--stop-signal`; the image's, else SIGTERM, if absent.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, seconds; 10 if absent.
    pub stop_timeout: Option<u64>,
}

impl CreateOptions {
    /// Whether the container is to be there after the machine was off. One that goes away at its end is not: a power cut is its end.
    pub(crate) fn is_lasting(&self) -> bool {
        !self.auto_remove
    }
}

/// Writes the options that differ from what nobody asked for. `#[serde(default)]` reads the others back.
pub(crate) fn serialize_asked<S: Serializer>(options: &CreateOptions, serializer: S) -> Result<S::Ok, S::Error> {
    let fields = |options: &CreateOptions| match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(S::Error::custom(format!("options are an object, not {other:?}"))),
    };
    let unasked = fields(&CreateOptions::default())?;
    let asked = fields(options)?.into_iter().filter(|(name, value)| unasked.get(name) != Some(value));
    serializer.collect_map(asked)
}

/// Limits, in Docker's units. Absent means no limit, but for [`pids_limit`](Self::pids_limit).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `-m`, bytes.
    pub memory: Option<u64>,
    /// `--memory-swap`: memory and swap together in bytes, -1 for no limit; twice the memory if absent.
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: Option<u64>,
    /// `--cpus` in billionths of a cpu.
    pub nano_cpus: Option<u64>,
    /// `--cpu-quota`, microseconds a period.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-shares`: a weight, 1024 by convention.
    pub cpu_shares: Option<u64>,
    /// `--cpuset-cpus`: `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`: -1 or 0 for none; 2,048 if absent.
    pub pids_limit: Option<i64>,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// `--cpu-rt-runtime`, microseconds a period.
    pub cpu_rt_runtime: Option<i64>,
    /// `--memory-swappiness`: 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--blkio-weight`: 10 to 1000, or 0 for none.
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device`.
    pub blkio_weight_devices: Vec<DiskWeight>,
    /// `--device-read-bps`.
    pub device_read_bps: Vec<DiskRate>,
    /// `--device-write-bps`.
    pub device_write_bps: Vec<DiskRate>,
    /// `--device-read-iops`.
    pub device_read_iops: Vec<DiskRate>,
    /// `--device-write-iops`.
    pub device_write_iops: Vec<DiskRate>,
}

impl Resources {
    /// The ceilings of disks: their option, their field in the OCI's document, and the disks.
    pub(crate) fn disk_rates(&self) -> [(&'static str, &'static str, &[DiskRate]); 4] {
        [
            ("--device-read-bps", "throttleReadBpsDevice", &self.device_read_bps),
            ("--device-write-bps", "throttleWriteBpsDevice", &self.device_write_bps),
            ("--device-read-iops", "throttleReadIOPSDevice", &self.device_read_iops),
            ("--device-write-iops", "throttleWriteIOPSDevice", &self.device_write_iops),
        ]
    }
}

/// One of the streams that `--attach` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachedStream {
    /// Its input.
    Stdin,
    /// Its output.
    Stdout,
    /// Its errors.
    Stderr,
}

impl std::str::FromStr for AttachedStream {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "stdin" => Ok(Self::Stdin),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err(Self::Err::bad("--attach", text, "valid streams are STDIN, STDOUT and STDERR")),
        }
    }
}

/// `--ulimit NAME=SOFT[:HARD]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Without the `RLIMIT_`, in lower case: `nofile`.
    pub name: String,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

impl std::str::FromStr for Ulimit {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason: &str| Self::Err::bad("--ulimit", text, reason);
        let (name, limits) = text.split_once('=').ok_or_else(|| bad("expected NAME=SOFT[:HARD]"))?;
        if !ULIMITS.contains(&name) {
            return Err(bad("no such limit: see getrlimit(2), names without RLIMIT_ in lower case"));
        }
        let number = |text: &str| match text {
            "-1" | "unlimited" => Ok(u64::MAX),
            digits => digits.parse::<u64>().map_err(|_| bad("a limit is a number, or -1 for none")),
        };
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft > hard {
            return Err(bad("the soft limit is above the hard one"));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

/// Every limit of getrlimit(2).
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
