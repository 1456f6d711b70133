//! `HostConfig`: what a container is to have of the machine, in Docker's words.

use std::collections::BTreeMap;

use containers::{
    CreateOptions, DeviceRequest, DeviceRule, DiskRate, DiskWeight, HostAddress, LogConfig, MountRequest, Network,
    PortMapping, Resources, RestartPolicy, Security, Share, Sharing, Source, Ulimit,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::create::NetworkingConfig;
use crate::error::ApiError;
use crate::mounts::MountBody;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    binds: Option<Vec<String>>,
    tmpfs: Option<BTreeMap<String, String>>,
    mounts: Option<Vec<MountBody>>,
    volume_driver: String,
    network_mode: String,
    port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    auto_remove: bool,
    privileged: bool,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    security_opt: Option<Vec<String>>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
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
    pub(crate) restart_policy: Restart,
    pid_mode: String,
    ipc_mode: String,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    oom_score_adj: i64,
    #[serde(flatten)]
    disks: BlockIo,
    cpu_realtime_period: u64,
    cpu_realtime_runtime: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: Option<bool>,
    devices: Option<Vec<DeviceBody>>,
    device_cgroup_rules: Option<Vec<String>>,
    cgroup_parent: String,
    cgroupns_mode: String,
    userns_mode: String,
    log_config: LogBody,
    publish_all_ports: bool,
    annotations: Option<BTreeMap<String, String>>,
    volumes_from: Option<Vec<String>>,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
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
pub(crate) struct Restart {
    pub(crate) name: String,
    maximum_retry_count: i64,
}

/// What may be taken of disks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct BlockIo {
    blkio_weight: u16,
    blkio_weight_device: Option<Vec<WeightBody>>,
    blkio_device_read_bps: Option<Vec<RateBody>>,
    blkio_device_write_bps: Option<Vec<RateBody>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Option<Vec<RateBody>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Option<Vec<RateBody>>,
}

impl BlockIo {
    fn weights(&self) -> Vec<DiskWeight> {
        let weight = |body: &WeightBody| DiskWeight { path: (&body.path).into(), weight: body.weight };
        self.blkio_weight_device.iter().flatten().map(weight).collect()
    }
}

fn rates(list: &Option<Vec<RateBody>>) -> Vec<DiskRate> {
    list.iter().flatten().map(|body| DiskRate { path: (&body.path).into(), rate: body.rate }).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WeightBody {
    path: String,
    weight: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RateBody {
    path: String,
    rate: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DeviceBody {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct LogBody {
    #[serde(rename = "Type")]
    kind: String,
    config: Option<BTreeMap<String, String>>,
}

impl Restart {
    /// The policy; nothing is `no`.
    pub(crate) fn policy(&self) -> Result<RestartPolicy, ApiError> {
        let policy = RestartPolicy::from_parts(&self.name, self.maximum_retry_count);
        policy.map_err(|e| ApiError::bad_request(e.to_string()))
    }
}

impl HostConfig {
    /// The options that stand here, but for networks and mounts, of which the body says more.
    pub(crate) fn options(&self) -> Result<CreateOptions, ApiError> {
        if !matches!(self.userns_mode.as_str(), "" | "host") {
            return Err(ApiError::not_implemented(format!("UsernsMode {:?} is not supported", self.userns_mode)));
        }
        let (devices, device_rules) = self.devices()?;
        Ok(CreateOptions {
            groups: self.group_add.clone().unwrap_or_default(),
            auto_remove: self.auto_remove,
            init: self.init.unwrap_or_default(),
            read_only: self.readonly_rootfs,
            shm_size: some(self.shm_size),
            security: self.security()?,
            resources: self.resources(),
            ulimits: self.ulimits(),
            sysctls: self.sysctls.clone().unwrap_or_default(),
            devices,
            device_rules,
            cgroup_parent: some(self.cgroup_parent.clone()),
            log: self.log()?,
            restart: self.restart_policy.policy()?,
            sharing: self.sharing()?,
            oom_score_adj: some(self.oom_score_adj),
            annotations: self.annotations.clone().unwrap_or_default(),
            volumes_from: self.volumes_from.clone().unwrap_or_default(),
            ..CreateOptions::default()
        })
    }

    pub(crate) fn mounts(&self, anonymous: BTreeMap<String, Value>) -> Result<Vec<MountRequest>, ApiError> {
        let binds = self.binds.iter().flatten().map(|bind| MountRequest::volume(bind));
        let volumes = anonymous.keys().map(|target| MountRequest::volume(target));
        let tmpfs = self.tmpfs.iter().flatten();
        let tmpfs = tmpfs.map(|(target, options)| MountRequest::tmpfs(&format!("{target}:{options}")));
        let all: Result<Vec<_>, _> = binds.chain(volumes).chain(tmpfs).collect();
        let bad = |e: containers::Error| ApiError::bad_request(e.to_string());
        let mut all = all.map_err(bad)?;
        for body in self.mounts.iter().flatten() {
            all.push(body.request()?);
        }
        for mount in all.iter_mut().filter(|mount| matches!(mount.source, Source::Volume { .. })) {
            mount.volume.driver = mount.volume.driver.take().or(some(self.volume_driver.clone()));
        }
        Ok(all)
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
        match (self.masked_paths.as_deref(), self.readonly_paths.as_deref()) {
            (None, None) => {}
            // What the client makes of `systempaths=unconfined`: two lists, and nothing in them.
            (Some([]), Some([])) => security.system_paths_open = true,
            _ => return Err(ApiError::not_implemented("MaskedPaths and ReadonlyPaths are all or nothing here")),
        }
        Ok(security)
    }

    fn sharing(&self) -> Result<Sharing, ApiError> {
        let share = |text: &str| text.parse::<Share>().map_err(|e| ApiError::bad_request(e.to_string()));
        let ipc = self.ipc_mode.parse().map_err(|e: containers::Error| ApiError::bad_request(e.to_string()))?;
        let (pid, uts) = (share(&self.pid_mode)?, share(&self.uts_mode)?);
        Ok(Sharing { pid, ipc, uts, cgroup: share(&self.cgroupns_mode)? })
    }

    /// The devices of the machine, and rules for more of them.
    fn devices(&self) -> Result<(Vec<DeviceRequest>, Vec<DeviceRule>), ApiError> {
        let bad = |e: containers::Error| ApiError::bad_request(e.to_string());
        let device = |body: &DeviceBody| {
            let inside = if body.path_in_container.is_empty() { &body.path_on_host } else { &body.path_in_container };
            let access = if body.cgroup_permissions.is_empty() { "rwm" } else { &body.cgroup_permissions };
            DeviceRequest::new(&body.path_on_host, inside, access).map_err(bad)
        };
        let devices = self.devices.iter().flatten().map(device).collect::<Result<_, _>>()?;
        let rules = self.device_cgroup_rules.iter().flatten().map(|rule| rule.parse().map_err(bad));
        Ok((devices, rules.collect::<Result<_, _>>()?))
    }

    /// Where output is kept.
    fn log(&self) -> Result<LogConfig, ApiError> {
        let driver =
            self.log_config.kind.parse().map_err(|e: containers::Error| ApiError::bad_request(e.to_string()))?;
        Ok(LogConfig { driver, options: self.log_config.config.clone().unwrap_or_default() })
    }

    /// Zero is Docker's way to say "not given".
    pub(crate) fn resources(&self) -> Resources {
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
            cpu_rt_period: some(self.cpu_realtime_period),
            cpu_rt_runtime: some(self.cpu_realtime_runtime),
            // -1 is what clients send where nothing was said.
            memory_swappiness: self.memory_swappiness.and_then(|swappiness| u64::try_from(swappiness).ok()),
            oom_kill_disable: self.oom_kill_disable.unwrap_or_default(),
            blkio_weight: some(self.disks.blkio_weight),
            blkio_weight_devices: self.disks.weights(),
            device_read_bps: rates(&self.disks.blkio_device_read_bps),
            device_write_bps: rates(&self.disks.blkio_device_write_bps),
            device_read_iops: rates(&self.disks.blkio_device_read_iops),
            device_write_iops: rates(&self.disks.blkio_device_write_iops),
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
    pub(crate) fn network(&self, config: NetworkingConfig, exposed: Vec<String>) -> Result<Network, ApiError> {
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
            expose: exposed,
            publish_all: self.publish_all_ports,
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

/// Docker's "not given".
pub(crate) fn some<T: PartialEq + Default>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}
