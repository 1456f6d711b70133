//! `inspect`: what is known of a container, in Docker's shape.

use jiff::Timestamp;
use network::PortMapping;
use serde_json::{Map, Value, json};

use crate::devices::{DeviceRequest, DiskRate, DiskWeight};
use crate::engine::Engine;
use crate::error::Result;
use crate::id::ContainerId;
use crate::options::{AttachedStream, Resources};
use crate::record::{Container, Life, Status};
use crate::sharing::Share;
use crate::volumes::{MountKind, MountPoint};

/// Docker's way to say "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// Everything about a container, as `docker inspect` writes it.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`](crate::Error::NoSuchContainer), or a state file that cannot be read.
    ///
    /// # References
    /// Docker Engine API, "Inspect a container"
    pub fn inspect(&self, id: &ContainerId) -> Result<Value> {
        let container = self.container(id)?;
        let life = self.life(&container)?;
        let record = container.record();
        let args = record.settings.args();
        let (path, args) = args.split_first().map_or((String::new(), &[][..]), |(path, args)| (path.clone(), args));
        Ok(json!({
            "Id": record.id,
            "Created": record.created,
            "Path": path,
            "Args": args,
            "State": state(&container, &life)?,
            "Image": record.image_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            "ResolvConfPath": container.directory().join("resolv.conf"),
            "HostnamePath": container.directory().join("hostname"),
            "HostsPath": container.directory().join("hosts"),
            "LogPath": container.log_file(),
            "Name": format!("/{}", record.name),
            "RestartCount": life.restart_count,
            "Driver": "overlay",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": record.options.security.selinux.text().unwrap_or_default(),
            "AppArmorProfile": record.options.security.apparmor.as_deref().unwrap_or_default(),
            "HostConfig": host_config(&container),
            "Mounts": record.mounts.iter().map(mount_document).collect::<Vec<_>>(),
            "Config": config(&container),
            "NetworkSettings": network(self, &container, &life),
        }))
    }
}

fn state(container: &Container, life: &Life) -> Result<Value> {
    let time = |time: Option<Timestamp>| time.map_or(NEVER.to_owned(), |time| time.to_string());
    let unknown = life.status == Status::Exited && life.exit_code.is_none();
    let mut state = json!({
        "Status": life.status,
        "Running": life.status.is_live(),
        "Paused": life.status == Status::Paused,
        "Restarting": life.status == Status::Restarting,
        "OOMKilled": life.oom_killed,
        "Dead": false,
        "Pid": life.pid.map_or(0, process::Pid::get),
        // Docker has no word for "unknown", and clients want a number: -1 is none that a process can end with.
        "ExitCode": if unknown { -1 } else { i64::from(life.exit_code.unwrap_or(0)) },
        "Error": if unknown { "exit code unknown: the container's monitor was killed" } else { &life.error },
        "StartedAt": time(life.started_at),
        "FinishedAt": time(life.finished_at),
    });
    if let Some(health) = container.health()? {
        state["Health"] = json!(health);
    }
    Ok(state)
}

fn config(container: &Container) -> Value {
    let record = container.record();
    let (settings, options) = (&record.settings, &record.options);
    let exposed: Map<String, Value> = settings.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let mut config = json!({
        "Hostname": settings.hostname,
        "Domainname": options.domainname.clone().unwrap_or_default(),
        "AttachStdin": options.attached.contains(&AttachedStream::Stdin),
        "AttachStdout": options.attached.contains(&AttachedStream::Stdout),
        "AttachStderr": options.attached.contains(&AttachedStream::Stderr),
        "User": settings.user,
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "StdinOnce": options.stdin_once,
        "Env": settings.env,
        "Cmd": settings.cmd,
        "Image": options.image,
        "WorkingDir": settings.workdir,
        "Entrypoint": if settings.entrypoint.is_empty() { Value::Null } else { json!(settings.entrypoint) },
        "Labels": settings.labels,
        "ExposedPorts": exposed,
        "StopSignal": settings.stop_signal,
        "StopTimeout": options.stop_timeout,
    });
    if let Some(check) = &settings.health {
        let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        config["Healthcheck"] = json!({
            "Test": check.test,
            "Interval": nanoseconds(check.interval),
            "Timeout": nanoseconds(check.timeout),
            "StartPeriod": nanoseconds(check.start_period),
            "StartInterval": nanoseconds(check.start_interval),
            "Retries": check.retries,
        });
    }
    config
}

fn host_config(container: &Container) -> Value {
    let options = &container.record().options;
    let binds: Vec<String> = container
        .record()
        .mounts
        .iter()
        .filter_map(|mount| {
            let source = match &mount.kind {
                MountKind::Bind => mount.source.display().to_string(),
                MountKind::Volume { name, anonymous: false } => name.clone(),
                MountKind::Volume { .. } | MountKind::Tmpfs { .. } => return None,
            };
            Some(format!("{source}:{}:{}", mount.target.display(), if mount.read_only { "ro" } else { "rw" }))
        })
        .collect();
    let mut document = json!({
        "Binds": binds,
        "NetworkMode": options.network.mode.to_string(),
        "PortBindings": ports(&options.network.publish),
        "PublishAllPorts": options.network.publish_all,
        "Dns": options.network.dns,
        "DnsOptions": options.network.dns_options,
        "DnsSearch": options.network.dns_search,
        "ExtraHosts": options.network.extra_hosts.iter().map(|(name, address)| format!("{name}:{}", String::from(*address))).collect::<Vec<_>>(),
        "RestartPolicy": { "Name": options.restart.name(), "MaximumRetryCount": options.restart.most() },
        "PidMode": options.sharing.pid.to_string(),
        "IpcMode": options.sharing.ipc.to_string(),
        "UTSMode": options.sharing.uts.to_string(),
        "OomScoreAdj": options.oom_score_adj.unwrap_or(0),
        "Annotations": options.annotations,
        "VolumesFrom": if options.volumes_from.is_empty() { Value::Null } else { json!(options.volumes_from) },
        "AutoRemove": options.auto_remove,
        "LogConfig": { "Type": options.log.driver.as_str(), "Config": options.log.options },
        "Privileged": options.security.privileged,
        "CapAdd": options.security.cap_add,
        "CapDrop": options.security.cap_drop,
        "GroupAdd": options.groups,
        "ReadonlyRootfs": options.read_only,
        "Init": options.init.then_some(true),
        "ShmSize": options.shm_size.unwrap_or(64 << 20),
        "Sysctls": options.sysctls,
        "Devices": options.devices.iter().map(device).collect::<Vec<_>>(),
        "DeviceCgroupRules": options.device_rules.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "CgroupParent": options.cgroup_parent.clone().unwrap_or_default(),
        "CgroupnsMode": if options.sharing.cgroup == Share::Host { "host" } else { "private" },
        "UsernsMode": if options.id_maps.is_some() { "private" } else { "" },
    });
    if let Some(maps) = &options.id_maps {
        let lines = |maps: &[namespaces::IdMap]| -> Value {
            maps.iter().map(|map| format!("{}:{}:{}", map.inside, map.outside, map.count)).collect()
        };
        document["IDMappings"] = json!({ "UidMap": lines(&maps.users), "GidMap": lines(&maps.groups) });
    }
    if let (Some(document), Value::Object(limits)) = (document.as_object_mut(), limits(&options.resources)) {
        document.extend(limits);
    }
    document
}

/// The fields of `HostConfig` that are limits.
fn limits(resources: &Resources) -> Value {
    json!({
        "Memory": resources.memory.unwrap_or(0),
        "MemoryReservation": resources.memory_reservation.unwrap_or(0),
        "MemorySwap": resources.memory_swap.or(resources.memory.map(|bytes| bytes.saturating_mul(2) as i64)).unwrap_or(0),
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "CpuPeriod": resources.cpu_period.unwrap_or(0),
        "CpuQuota": resources.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": resources.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": resources.cpu_rt_runtime.unwrap_or(0),
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": weights(&resources.blkio_weight_devices),
        "BlkioDeviceReadBps": rates(&resources.device_read_bps),
        "BlkioDeviceWriteBps": rates(&resources.device_write_bps),
        "BlkioDeviceReadIOps": rates(&resources.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&resources.device_write_iops),
        "CpusetCpus": resources.cpuset_cpus.clone().unwrap_or_default(),
        "PidsLimit": resources.pids_limit.unwrap_or(crate::spec::DEFAULT_PIDS),
    })
}

fn weights(disks: &[DiskWeight]) -> Vec<Value> {
    disks.iter().map(|disk| json!({ "Path": disk.path, "Weight": disk.weight })).collect()
}

fn rates(disks: &[DiskRate]) -> Vec<Value> {
    disks.iter().map(|disk| json!({ "Path": disk.path, "Rate": disk.rate })).collect()
}

fn device(device: &DeviceRequest) -> Value {
    json!({ "PathOnHost": device.host, "PathInContainer": device.inside, "CgroupPermissions": device.access })
}

/// A mount in Docker's shape.
pub fn mount_document(point: &MountPoint) -> Value {
    let (kind, name) = match &point.kind {
        MountKind::Bind => ("bind", None),
        MountKind::Volume { name, .. } => ("volume", Some(name)),
        MountKind::Tmpfs { .. } => ("tmpfs", None),
    };
    let mut mount = json!({
        "Type": kind,
        "Source": point.source,
        "Destination": point.target,
        "Mode": "",
        "RW": !point.read_only,
        "Propagation": if kind == "bind" { point.propagation.as_deref().unwrap_or("rprivate") } else { "" },
    });
    if let Some(name) = name {
        mount["Name"] = json!(name);
        mount["Driver"] = json!(point.driver.as_deref().unwrap_or("local"));
    }
    mount
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
fn ports(mappings: &[PortMapping]) -> Value {
    let mut ports: Map<String, Value> = Map::new();
    for mapping in mappings {
        let target = format!("{}/{}", mapping.container_port, mapping.protocol);
        let binding = json!({ "HostIp": mapping.host_ip, "HostPort": mapping.host_port.to_string() });
        match ports.entry(target).or_insert_with(|| json!([])) {
            Value::Array(bindings) => bindings.push(binding),
            _ => unreachable!("only arrays are inserted"),
        }
    }
    Value::Object(ports)
}

fn network(engine: &Engine, container: &Container, life: &Life) -> Value {
    let mut published = ports(&life.ports);
    if let (true, Some(ports)) = (life.status.is_live(), published.as_object_mut()) {
        for port in &container.record().settings.exposed_ports {
            ports.entry(port.clone()).or_insert(Value::Null);
        }
    }
    let first = life.endpoints.first();
    let six = first.and_then(|endpoint| endpoint.ipv6);
    json!({
        "Ports": published,
        "IPAddress": first.map(|endpoint| endpoint.address.to_string()).unwrap_or_default(),
        "IPPrefixLen": first.map_or(0, |endpoint| endpoint.prefix_length),
        "Gateway": first.and_then(|endpoint| endpoint.gateway).map(|gateway| gateway.to_string()).unwrap_or_default(),
        "MacAddress": first.map(|endpoint| json!(endpoint.mac)).unwrap_or(json!("")),
        "GlobalIPv6Address": six.map(|six| six.address.to_string()).unwrap_or_default(),
        "GlobalIPv6PrefixLen": six.map_or(0, |six| six.prefix_length),
        "IPv6Gateway": six.and_then(|six| six.gateway).map(|gateway| gateway.to_string()).unwrap_or_default(),
        "SandboxKey": life.pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        "Networks": engine.endpoint_documents(container, life),
    })
}
