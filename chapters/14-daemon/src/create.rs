//! The body of `POST /containers/create`, and what it asks for.
//!
//! The real client sends every field that it knows, most of them empty. So each field that this
//! engine honours is named here, and all others are kept aside: where one of them holds
//! anything but its empty value, the request is refused by that field's name. A client
//! never gets a container that silently lacks what it asked for.

use std::collections::BTreeMap;

use containers::{
    CreateOptions, HostAddress, MountRequest, Network, PortMapping, Resources, RestartPolicy, Security, Share, Sharing,
    Ulimit, Update,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::network::Endpoint;

/// What a container is to be, in Docker's words.
///
/// # References
/// Docker Engine API v1.41, `ContainerCreate`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Body {
    /// The image, as the user wrote it.
    pub image: String,
    hostname: String,
    user: String,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<Vec<String>>,
    cmd: Option<Words>,
    entrypoint: Option<Words>,
    working_dir: String,
    labels: Option<BTreeMap<String, String>>,
    volumes: Option<BTreeMap<String, Value>>,
    stop_signal: String,
    stop_timeout: Option<u64>,
    healthcheck: Option<images::Healthcheck>,
    host_config: HostConfig,
    networking_config: Option<NetworkingConfig>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A command as a list, or as one word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::Many(words) => words,
            Words::One(word) => vec![word],
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    binds: Option<Vec<String>>,
    tmpfs: Option<BTreeMap<String, String>>,
    network_mode: String,
    port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    auto_remove: bool,
    privileged: bool,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    security_opt: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    extra_hosts: Option<Vec<String>>,
    dns: Option<Vec<std::net::IpAddr>>,
    dns_search: Option<Vec<String>>,
    dns_options: Option<Vec<String>>,
    readonly_rootfs: bool,
    init: Option<bool>,
    shm_size: u64,
    sysctls: Option<BTreeMap<String, String>>,
    ulimits: Option<Vec<UlimitBody>>,
    memory: u64,
    memory_swap: i64,
    memory_reservation: u64,
    nano_cpus: u64,
    cpu_shares: u64,
    cpu_quota: i64,
    cpu_period: u64,
    cpuset_cpus: String,
    cpuset_mems: String,
    pids_limit: Option<i64>,
    restart_policy: Restart,
    pid_mode: String,
    ipc_mode: String,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    oom_score_adj: i64,
    annotations: Option<BTreeMap<String, String>>,
    volumes_from: Option<Vec<String>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortBinding {
    host_ip: String,
    host_port: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UlimitBody {
    name: String,
    soft: i64,
    hard: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Restart {
    name: String,
    maximum_retry_count: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkingConfig {
    endpoints_config: Option<BTreeMap<String, Option<Endpoint>>>,
}

impl Body {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 with the place in the JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes).map_err(|e| ApiError::bad_request(format!("invalid body of create: {e}")))
    }

    /// The options that the body asks for; `name` came in the query.
    ///
    /// # Errors
    /// 400 for a value that is none, 501 with the name of a field that cannot be honoured.
    pub fn options(self, name: Option<&str>) -> Result<CreateOptions, ApiError> {
        refuse_others("", &self.others)?;
        refuse_others("HostConfig.", &self.host_config.others)?;
        let host = self.host_config;
        let policy = &host.restart_policy;
        let restart = RestartPolicy::from_parts(&policy.name, policy.maximum_retry_count)
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        let empty = |text: String| (!text.is_empty()).then_some(text);
        Ok(CreateOptions {
            name: name.map(str::to_owned),
            image: self.image,
            command: self.cmd.map(Into::into).unwrap_or_default(),
            // The client sends [""] for `--entrypoint ""`: no entrypoint at all.
            entrypoint: self.entrypoint.map(|words| {
                let words: Vec<String> = words.into();
                words.into_iter().filter(|word| !word.is_empty()).collect()
            }),
            env: self.env.unwrap_or_default(),
            workdir: empty(self.working_dir),
            user: empty(self.user),
            groups: host.group_add.clone().unwrap_or_default(),
            hostname: empty(self.hostname),
            labels: self.labels.unwrap_or_default(),
            terminal: self.tty,
            interactive: self.open_stdin,
            stdin_once: self.stdin_once,
            auto_remove: host.auto_remove,
            mounts: host.mounts(self.volumes.unwrap_or_default())?,
            init: host.init.unwrap_or_default(),
            read_only: host.readonly_rootfs,
            shm_size: some(host.shm_size),
            security: host.security()?,
            resources: host.resources(),
            ulimits: host.ulimits(),
            sysctls: host.sysctls.clone().unwrap_or_default(),
            network: host.network(self.networking_config.unwrap_or_default())?,
            restart,
            health: self.healthcheck,
            sharing: host.sharing()?,
            oom_score_adj: some(host.oom_score_adj),
            annotations: host.annotations.clone().unwrap_or_default(),
            volumes_from: host.volumes_from.clone().unwrap_or_default(),
            stop_signal: empty(self.stop_signal),
            stop_timeout: self.stop_timeout,
            ..CreateOptions::default()
        })
    }
}

/// The body of `POST /containers/{id}/update`: some of the fields of `HostConfig`.
///
/// # Errors
/// As [`Body::parse`] and [`Body::options`].
pub fn update(bytes: &[u8]) -> Result<Update, ApiError> {
    let bad = |e: serde_json::Error| ApiError::bad_request(format!("invalid body of update: {e}"));
    let body: HostConfig = serde_json::from_slice(bytes).map_err(bad)?;
    refuse_others("", &body.others)?;
    let policy = &body.restart_policy;
    let restart = (!policy.name.is_empty())
        .then(|| RestartPolicy::from_parts(&policy.name, policy.maximum_retry_count))
        .transpose()
        .map_err(|e| ApiError::bad_request(e.to_string()))?;
    Ok(Update { resources: body.resources(), restart })
}

impl HostConfig {
    fn mounts(&self, anonymous: BTreeMap<String, Value>) -> Result<Vec<MountRequest>, ApiError> {
        let binds = self.binds.iter().flatten().map(|bind| MountRequest::volume(bind));
        let volumes = anonymous.keys().map(|target| MountRequest::volume(target));
        let tmpfs = self.tmpfs.iter().flatten();
        let tmpfs = tmpfs.map(|(target, options)| MountRequest::tmpfs(&format!("{target}:{options}")));
        let all: Result<Vec<_>, _> = binds.chain(volumes).chain(tmpfs).collect();
        all.map_err(|e| ApiError::bad_request(e.to_string()))
    }

    fn security(&self) -> Result<Security, ApiError> {
        let mut security = Security {
            privileged: self.privileged,
            cap_add: self.cap_add.clone().unwrap_or_default(),
            cap_drop: self.cap_drop.clone().unwrap_or_default(),
            ..Security::default()
        };
        for option in self.security_opt.iter().flatten() {
            // The client reads a profile's file and sends what is in it.
            let taken = security.set(option, |profile| Ok(profile.to_owned()));
            taken.map_err(|e| ApiError::bad_request(e.to_string()))?;
        }
        Ok(security)
    }

    fn sharing(&self) -> Result<Sharing, ApiError> {
        let share = |text: &str| text.parse::<Share>().map_err(|e| ApiError::bad_request(e.to_string()));
        Ok(Sharing { pid: share(&self.pid_mode)?, ipc: share(&self.ipc_mode)?, uts: share(&self.uts_mode)? })
    }

    /// Zero is Docker's way to say "not given".
    fn resources(&self) -> Resources {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        Resources {
            memory: some(self.memory),
            memory_swap: some(self.memory_swap),
            memory_reservation: some(self.memory_reservation),
            nano_cpus: some(self.nano_cpus),
            cpu_quota: some(self.cpu_quota),
            cpu_period: some(self.cpu_period),
            cpu_shares: some(self.cpu_shares),
            cpuset_cpus: text(&self.cpuset_cpus),
            cpuset_mems: text(&self.cpuset_mems),
            pids_limit: self.pids_limit.and_then(some),
        }
    }

    fn ulimits(&self) -> Vec<Ulimit> {
        // -1 is "no limit" in Docker and the largest number in the kernel.
        let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        let ulimits = self.ulimits.iter().flatten().map(|ulimit| Ulimit {
            name: ulimit.name.clone(),
            soft: limit(ulimit.soft),
            hard: limit(ulimit.hard),
        });
        ulimits.collect()
    }

    /// The network of the mode comes first; the others follow by name, for JSON's objects have no order.
    fn network(&self, config: NetworkingConfig) -> Result<Network, ApiError> {
        let bad = |e: containers::Error| ApiError::bad_request(e.to_string());
        let mut endpoints = config.endpoints_config.unwrap_or_default();
        let named = match self.network_mode.as_str() {
            "" => endpoints.keys().next().cloned().unwrap_or_default(),
            mode => mode.to_owned(),
        };
        let mode: containers::NetworkMode = named.parse().map_err(bad)?;
        let first = endpoints.remove(&named).or_else(|| endpoints.remove(mode.as_str())).flatten().unwrap_or_default();
        let first = first.connection(&named)?;
        let more = endpoints.into_iter().map(|(name, endpoint)| endpoint.unwrap_or_default().connection(&name));
        let network = Network {
            mode,
            aliases: first.aliases,
            ip: first.ip,
            ip6: first.ip6,
            mac: first.mac,
            more: more.collect::<Result<_, _>>()?,
            left_first: false,
            publish: self.publish()?,
            extra_hosts: self.hosts()?,
            dns: self.dns.clone().unwrap_or_default(),
            dns_search: self.dns_search.clone().unwrap_or_default(),
            dns_options: self.dns_options.clone().unwrap_or_default(),
        };
        network.check().map_err(bad)?;
        Ok(network)
    }

    fn publish(&self) -> Result<Vec<PortMapping>, ApiError> {
        let mut publish = Vec::new();
        for (target, bindings) in self.port_bindings.iter().flatten() {
            for binding in bindings.iter().flatten() {
                let ip = match binding.host_ip.as_str() {
                    ip if ip.contains(':') => format!("[{ip}]"),
                    ip => ip.to_owned(),
                };
                let text = format!("{ip}:{}:{target}", binding.host_port);
                let parsed = network::port::parse(text.trim_start_matches(':'));
                publish.extend(parsed.map_err(|e| ApiError::bad_request(e.to_string()))?);
            }
        }
        Ok(publish)
    }

    fn hosts(&self) -> Result<Vec<(String, HostAddress)>, ApiError> {
        let host = |text: &String| {
            let bad = || ApiError::bad_request(format!("invalid extra host {text:?}"));
            let (name, address) = text.split_once(':').ok_or_else(bad)?;
            Ok((name.to_owned(), address.parse().map_err(|_| bad())?))
        };
        self.extra_hosts.iter().flatten().map(host).collect()
    }
}

fn some<T: PartialEq + Default>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// Fields that ask nothing of the engine: which streams the client is going to attach and how large
/// its terminal is (it says so again when it does), a file that it writes itself, and ports
/// that are documentation until they are published.
const INFORMATIVE: [&str; 6] =
    ["AttachStdin", "AttachStdout", "AttachStderr", "ConsoleSize", "ContainerIDFile", "ExposedPorts"];

/// Refuses the first field that is not known and asks for something.
fn refuse_others(prefix: &str, others: &Map<String, Value>) -> Result<(), ApiError> {
    let asked = others.iter().find(|(name, value)| !is_default(name, value));
    asked.map_or(Ok(()), |(name, _)| Err(ApiError::not_implemented(format!("{prefix}{name} is not supported"))))
}

/// Whether a field says nothing: null, false, zero, empty, or a default that clients spell out.
fn is_default(name: &str, value: &Value) -> bool {
    match (name, value) {
        (name, _) if INFORMATIVE.contains(&name) => true,
        ("MemorySwappiness", Value::Number(n)) if n.as_i64() == Some(-1) => true,
        ("LogConfig", Value::Object(log)) => {
            let kind = log.get("Type").and_then(Value::as_str).unwrap_or("");
            matches!(kind, "" | "json-file") && log.get("Config").is_none_or(|c| is_default("", c))
        }
        ("CgroupnsMode", Value::String(mode)) => matches!(mode.as_str(), "" | "private"),
        (_, Value::Null | Value::Bool(false)) => true,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(list)) => list.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
        (_, Value::Bool(true)) => false,
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
