//! `map`: where a container is in this machine, as the kernel has it now: namespaces, mounts, control group, network, rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use containers::{Container, Engine, Life, PortMapping};
use process::Pid;

use crate::cli::Place;
use crate::stdout::print;
use crate::{map_picture, map_text};

/// Show a container's namespaces, mounts, control group and network, as text or as a picture
#[derive(Args, Debug)]
pub(crate) struct Map {
    /// Write an SVG picture to the file instead ('-' for standard output)
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Map {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let scene = Scene::of(&engine, &engine.find(&self.container)?)?;
        match &self.svg {
            None => print(format_args!("{}", map_text::draw(&scene))),
            Some(path) if path.as_os_str() == "-" => print(format_args!("{}", map_picture::draw(&scene))),
            Some(path) => {
                std::fs::write(path, map_picture::draw(&scene)).with_context(|| format!("write {}", path.display()))?;
            }
        }
        Ok(0)
    }
}

/// A running container, as it was seen at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) command: String,
    pub(crate) pid: i32,
    /// The ids of its first process, on the host.
    pub(crate) user: String,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) mounts: Vec<Mount>,
    /// Paths in `/proc` and `/sys` that are masked, or made read-only.
    pub(crate) covered: Vec<String>,
    pub(crate) group: Group,
    pub(crate) capabilities: Vec<String>,
    /// `filter`, `strict` or `none`.
    pub(crate) seccomp: &'static str,
    pub(crate) no_new_privileges: bool,
    pub(crate) wires: Vec<Wire>,
    pub(crate) ports: Vec<PortMapping>,
}

/// One of the eight namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    /// As in `/proc/PID/ns`.
    pub(crate) kind: &'static str,
    pub(crate) number: u64,
    /// Whether this very command is in it, too.
    pub(crate) shared: bool,
}

/// A line of its mountinfo.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    pub(crate) target: String,
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) read_only: bool,
}

/// Its control group: what it uses, and the most that it may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) path: String,
    pub(crate) memory: (u64, Option<u64>),
    pub(crate) pids: (u64, Option<u64>),
    /// Seconds of processor time.
    pub(crate) cpu: f64,
}

/// A cable into a network.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) network: String,
    pub(crate) interface: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) mac: String,
    pub(crate) host_end: String,
    pub(crate) bridge: String,
    pub(crate) gateway: String,
    pub(crate) table: String,
    /// Why packets may or may not leave: `masquerade`, `routed`, `internal`.
    pub(crate) way_out: &'static str,
    /// Whether the bridge is this engine's, with rules of its own.
    pub(crate) bridged: bool,
}

impl Scene {
    fn of(engine: &Engine, container: &Container) -> anyhow::Result<Self> {
        let life = engine.life(container)?;
        let Some(pid) = life.pid.filter(|_| life.status.is_live()) else {
            bail!("container {} does not run: there is nothing of it in the kernel", container.name());
        };
        let record = container.record();
        let status = status(pid)?;
        let field = |name: &str| status.get(name).map_or("", String::as_str);
        let bits = u64::from_str_radix(field("CapEff"), 16).unwrap_or_default();
        let capabilities = privileges::CapSet::from_bits(bits).iter();
        let capabilities = capabilities.map(|capability| capability.to_string().trim_start_matches("CAP_").to_owned());
        let (mounts, covered) = sorted(mounts(pid)?);
        Ok(Self {
            name: record.name.clone(),
            id: record.id.short().to_owned(),
            image: record.options.image.clone(),
            command: record.settings.args().join(" "),
            pid: pid.get(),
            user: field("Uid").split_whitespace().next().unwrap_or("?").to_owned(),
            namespaces: namespaces(pid)?,
            mounts,
            covered,
            group: group(engine, container),
            capabilities: capabilities.collect(),
            seccomp: match field("Seccomp") {
                "2" => "filter",
                "1" => "strict",
                _ => "none",
            },
            no_new_privileges: field("NoNewPrivs") == "1",
            wires: wires(engine, &life)?,
            ports: life.ports,
        })
    }
}

/// `/proc/PID/status`, by field.
fn status(pid: Pid) -> anyhow::Result<BTreeMap<String, String>> {
    let text = read(&format!("/proc/{pid}/status"))?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// Which namespaces it is in. `mnt:[4026532431]` is how the kernel names one.
fn namespaces(pid: Pid) -> anyhow::Result<Vec<Namespace>> {
    let number = |process: &str, kind: &str| -> anyhow::Result<u64> {
        let path = format!("/proc/{process}/ns/{kind}");
        let link = std::fs::read_link(&path).with_context(|| format!("readlink {path}"))?;
        let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        digits.parse().with_context(|| format!("{path} is {}", link.display()))
    };
    let mut namespaces = Vec::new();
    for kind in ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user", "time"] {
        let theirs = number(&pid.to_string(), kind)?;
        namespaces.push(Namespace { kind, number: theirs, shared: theirs == number("self", kind)? });
    }
    Ok(namespaces)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw`: fields from the left, and others from the lone dash.
///
/// # References
/// proc_pid_mountinfo(5)
fn mounts(pid: Pid) -> anyhow::Result<Vec<Mount>> {
    let text = read(&format!("/proc/{pid}/mountinfo"))?;
    let mount = |line: &str| {
        let (place, what) = line.split_once(" - ")?;
        let (place, what) = (place.split(' ').collect::<Vec<_>>(), what.split(' ').collect::<Vec<_>>());
        let (root, source) = (*place.get(3)?, *what.get(1)?);
        Some(Mount {
            target: (*place.get(4)?).to_owned(),
            kind: (*what.first()?).to_owned(),
            // A bind mount's source is a device, and the directory of it that is seen says more.
            source: short_ids(if root == "/" { source } else { root }),
            read_only: place.get(5)?.split(',').any(|option| option == "ro"),
        })
    };
    Ok(text.lines().filter_map(mount).collect())
}

/// What a reader wants to see first, and apart from it what only covers a part of `/proc` and `/sys`.
///
/// Of several mounts on one path the last is the one that is seen. The control groups' hierarchies count as one.
fn sorted(mounts: Vec<Mount>) -> (Vec<Mount>, Vec<String>) {
    let (mut shown, mut covered): (Vec<Mount>, Vec<String>) = (Vec::new(), Vec::new());
    for mount in mounts {
        if mount.target.starts_with("/sys/fs/cgroup/") {
            continue;
        }
        let system = mount.target.starts_with("/proc/") || mount.target.starts_with("/sys/");
        if system && mount.target != "/sys/fs/cgroup" {
            covered.push(mount.target);
        } else if let Some(below) = shown.iter_mut().find(|other| other.target == mount.target) {
            *below = mount;
        } else {
            shown.push(mount);
        }
    }
    (shown, covered)
}

/// Ids of 64 digits as everybody writes them, with 12.
fn short_ids(path: &str) -> String {
    let long = |part: &str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.split('/').map(|part| if long(part) { &part[..12] } else { part }).collect::<Vec<_>>().join("/")
}

/// What cannot be read (a machine without control groups) is shown as nothing.
fn group(engine: &Engine, container: &Container) -> Group {
    let Ok(path) = engine.cgroup_path(container.id()) else { return Group::default() };
    let Some(stats) = cgroups::Cgroup::open(&path).ok().and_then(|group| group.stats().ok()) else {
        return Group { path: short_ids(path.as_str()), ..Group::default() };
    };
    Group {
        path: short_ids(path.as_str()),
        memory: (stats.memory.usage, stats.memory.limit),
        pids: (stats.pids.current, stats.pids.limit),
        cpu: stats.cpu.usage_us as f64 / 1e6,
    }
}

fn wires(engine: &Engine, life: &Life) -> anyhow::Result<Vec<Wire>> {
    let mut wires = Vec::new();
    for endpoint in &life.endpoints {
        let network = engine.networks().inspect(&endpoint.network)?;
        let six = endpoint.ipv6.map(|six| format!("{}/{}", six.address, six.prefix_length));
        wires.push(Wire {
            network: network.name.to_string(),
            interface: endpoint.interface.to_string(),
            addresses: [format!("{}/{}", endpoint.address, endpoint.prefix_length)].into_iter().chain(six).collect(),
            mac: endpoint.mac.to_string(),
            host_end: endpoint.host_end.to_string(),
            bridge: network.bridge.to_string(),
            gateway: network.gateway.to_string(),
            table: engine.networks().table(&network.name).name().to_owned(),
            way_out: match (network.internal, network.routed) {
                (true, _) => "internal: no way out",
                (_, true) => "routed as it is",
                (_, false) => "masquerade",
            },
            bridged: network.driver == network::Driver::Bridge,
        });
    }
    Ok(wires)
}

/// 16777216 as `16 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let digits = usize::from(value < 10.0 && unit > 0);
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_are_told_apart_from_mounts_and_the_last_one_is_seen() {
        let mount = |target: &str, kind: &str| Mount {
            target: target.to_owned(),
            kind: kind.to_owned(),
            source: String::new(),
            read_only: false,
        };
        let all =
            [("/", "overlay"), ("/sys/fs/cgroup", "tmpfs"), ("/sys/fs/cgroup/cpu", "cgroup"), ("/proc/keys", "tmpfs")];
        let mut all: Vec<Mount> = all.map(|(target, kind)| mount(target, kind)).into();
        all.push(mount("/", "ext4"));
        let (shown, covered) = sorted(all);
        let shown: Vec<_> = shown.iter().map(|mount| (mount.target.as_str(), mount.kind.as_str())).collect();
        assert_eq!(shown, [("/", "ext4"), ("/sys/fs/cgroup", "tmpfs")]);
        assert_eq!(covered, ["/proc/keys"]);
        assert_eq!(short_ids(&format!("/c/{}/hosts", "ab".repeat(32))), "/c/abababababab/hosts");
        assert_eq!(size(16 << 20), "16 MiB");
    }
}
