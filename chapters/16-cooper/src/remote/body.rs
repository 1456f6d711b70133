//! From `containers::CreateOptions` to the body of `POST /containers/create`: the way back from what chapter 14 reads.
//!
//! What the API has no word for is refused, never left out.

use std::collections::BTreeMap;

use anyhow::bail;
use containers::{
    AttachedStream, CreateOptions, DeviceRequest, DiskRate, HostAddress, MountRequest, Network, Resources,
};
use containers::{Seccomp, Security, Share, Source, Ulimit};
use serde_json::{Value, json};

use super::client::Client;

/// The body that asks for a container like this; its name goes in the query.
///
/// # Errors
/// What the API, or this daemon's version of it, has no word for.
///
/// # References
/// Docker Engine API v1.47, `ContainerCreate`
pub(super) fn body(far: &Client, options: CreateOptions) -> anyhow::Result<Value> {
    all_are_known(&options);
    let mut host = host_config(far, &options)?;
    let (exposed, endpoints, mac) = networks(far, &mut host, options.network)?;
    limits(&mut host, &options.resources);
    confinement(&mut host, options.security)?;
    let anonymous = places(far, &mut host, options.mounts)?;
    Ok(json!({
        "Image": options.image,
        "Cmd": options.command,
        // Docker's way to say that there is none, though the image has one.
        "Entrypoint": options.entrypoint.map(|words| if words.is_empty() { vec![String::new()] } else { words }),
        "Env": options.env,
        "WorkingDir": options.workdir.unwrap_or_default(),
        "User": options.user.unwrap_or_default(),
        "Hostname": options.hostname.unwrap_or_default(),
        "Domainname": options.domainname.unwrap_or_default(),
        "Labels": options.labels,
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "StdinOnce": options.stdin_once,
        "AttachStdin": options.attached.contains(&AttachedStream::Stdin),
        "AttachStdout": options.attached.contains(&AttachedStream::Stdout),
        "AttachStderr": options.attached.contains(&AttachedStream::Stderr),
        "MacAddress": mac,
        "ExposedPorts": exposed,
        "Volumes": anonymous,
        "Healthcheck": options.health,
        "StopSignal": options.stop_signal.unwrap_or_default(),
        "StopTimeout": options.stop_timeout,
        "HostConfig": host,
        "NetworkingConfig": { "EndpointsConfig": endpoints },
    }))
}

/// What it has of the machine, but for networks, limits, confinement and mounts.
fn host_config(far: &Client, options: &CreateOptions) -> anyhow::Result<Value> {
    if options.id_maps.is_some() {
        bail!("--uidmap and --gidmap cannot be sent to a daemon: its API has no word for them");
    }
    if !options.annotations.is_empty() {
        far.needs(43, "--annotation")?;
    }
    let limit = |value: u64| i64::try_from(value).unwrap_or(-1);
    let ulimit = |it: &Ulimit| json!({ "Name": it.name, "Soft": limit(it.soft), "Hard": limit(it.hard) });
    let device = |it: &DeviceRequest| json!({ "PathOnHost": it.host, "PathInContainer": it.inside, "CgroupPermissions": it.access });
    let (sharing, restart) = (&options.sharing, options.restart);
    Ok(json!({
        "AutoRemove": options.auto_remove,
        "GroupAdd": options.groups,
        "Init": options.init.then_some(true),
        "ReadonlyRootfs": options.read_only,
        "ShmSize": options.shm_size.unwrap_or(0),
        "Sysctls": options.sysctls,
        "Ulimits": options.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
        "Devices": options.devices.iter().map(device).collect::<Vec<_>>(),
        "DeviceCgroupRules": options.device_rules.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "CgroupParent": options.cgroup_parent.as_deref().unwrap_or_default(),
        "LogConfig": { "Type": options.log.driver.as_str(), "Config": options.log.options },
        "PidMode": sharing.pid.to_string(),
        "IpcMode": sharing.ipc.to_string(),
        "UTSMode": sharing.uts.to_string(),
        "CgroupnsMode": if sharing.cgroup == Share::Own { "private".to_owned() } else { sharing.cgroup.to_string() },
        "OomScoreAdj": options.oom_score_adj.unwrap_or(0),
        "Annotations": if options.annotations.is_empty() { Value::Null } else { json!(options.annotations) },
        "VolumesFrom": options.volumes_from,
        "RestartPolicy": { "Name": restart.name(), "MaximumRetryCount": restart.most() },
    }))
}

/// Does nothing, and compiles only while every field is named here: whoever adds one to the options comes by, and says above
/// what the API calls it, or that it has no word for it.
fn all_are_known(options: &CreateOptions) {
    let CreateOptions {
        // In the query.
        name: _,
        // Told when the terminal is there.
        console_size: _,
        image: _,
        command: _,
        entrypoint: _,
        env: _,
        workdir: _,
        user: _,
        groups: _,
        hostname: _,
        labels: _,
        terminal: _,
        interactive: _,
        stdin_once: _,
        auto_remove: _,
        mounts: _,
        init: _,
        read_only: _,
        shm_size: _,
        security: _,
        resources: _,
        ulimits: _,
        devices: _,
        device_rules: _,
        cgroup_parent: _,
        log: _,
        attached: _,
        domainname: _,
        sysctls: _,
        sharing: _,
        id_maps: _,
        oom_score_adj: _,
        annotations: _,
        volumes_from: _,
        network: _,
        restart: _,
        health: _,
        stop_signal: _,
        stop_timeout: _,
    } = options;
}

type Map = BTreeMap<String, Value>;

/// Its networks: what is exposed, its place in each of them, and the hardware address where it is not said there.
fn networks(far: &Client, host: &mut Value, network: Network) -> anyhow::Result<(Map, Map, String)> {
    let connections = network.connections();
    let Network { mode, publish, expose, publish_all, extra_hosts, dns, dns_search, dns_options, mac, more, .. } =
        network;
    if !more.is_empty() {
        far.needs(44, "--network given twice")?;
    }
    // Older daemons have one hardware address for a container, newer ones one for each network.
    let old = mac.is_some() && far.needs(44, "").is_err();
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut exposed = Map::new();
    for port in &publish {
        let target = format!("{}/{}", port.container_port, port.protocol);
        let there = if port.host_port == 0 { String::new() } else { port.host_port.to_string() };
        ports.entry(target.clone()).or_default().push(json!({ "HostIp": port.host_ip.to_string(), "HostPort": there }));
        exposed.insert(target, json!({}));
    }
    for text in &expose {
        for port in containers::exposed_port(text)? {
            exposed.insert(format!("{}/{}", port.container_port, port.protocol), json!({}));
        }
    }
    let line = |(name, address): (String, HostAddress)| format!("{name}:{}", String::from(address));
    host["NetworkMode"] = mode.to_string().into();
    host["PortBindings"] = json!(ports);
    host["PublishAllPorts"] = publish_all.into();
    host["ExtraHosts"] = extra_hosts.into_iter().map(line).collect();
    host["Dns"] = json!(dns);
    host["DnsSearch"] = json!(dns_search);
    host["DnsOptions"] = json!(dns_options);
    let mut endpoints = Map::new();
    for at in connections {
        let asked = !at.aliases.is_empty() || at.ip.is_some() || at.ip6.is_some() || (at.mac.is_some() && !old);
        if asked || !more.is_empty() {
            let text = |address: Option<String>| address.unwrap_or_default();
            let (four, six) = (text(at.ip.map(|ip| ip.to_string())), text(at.ip6.map(|ip| ip.to_string())));
            let mut endpoint =
                json!({ "Aliases": at.aliases, "IPAMConfig": { "IPv4Address": four, "IPv6Address": six } });
            if let Some(mac) = at.mac.filter(|_| !old) {
                endpoint["MacAddress"] = mac.into();
            }
            endpoints.insert(at.network, endpoint);
        }
    }
    Ok((exposed, endpoints, mac.filter(|_| old).unwrap_or_default()))
}

/// Limits, where 0 and nothing are Docker's words for none.
pub(super) fn limits(host: &mut Value, resources: &Resources) {
    let Resources {
        memory,
        memory_swap,
        memory_reservation,
        nano_cpus,
        cpu_quota,
        cpu_period,
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        pids_limit,
        cpu_rt_period,
        cpu_rt_runtime,
        memory_swappiness,
        oom_kill_disable,
        blkio_weight,
        blkio_weight_devices,
        device_read_bps,
        device_write_bps,
        device_read_iops,
        device_write_iops,
    } = resources;
    let rates =
        |list: &[DiskRate]| -> Value { list.iter().map(|it| json!({ "Path": it.path, "Rate": it.rate })).collect() };
    let weights = blkio_weight_devices.iter().map(|it| json!({ "Path": it.path, "Weight": it.weight }));
    let fields = [
        ("Memory", json!(memory.unwrap_or(0))),
        ("MemorySwap", json!(memory_swap.unwrap_or(0))),
        ("MemoryReservation", json!(memory_reservation.unwrap_or(0))),
        ("NanoCpus", json!(nano_cpus.unwrap_or(0))),
        ("CpuQuota", json!(cpu_quota.unwrap_or(0))),
        ("CpuPeriod", json!(cpu_period.unwrap_or(0))),
        ("CpuShares", json!(cpu_shares.unwrap_or(0))),
        ("CpusetCpus", json!(cpuset_cpus.clone().unwrap_or_default())),
        ("CpusetMems", json!(cpuset_mems.clone().unwrap_or_default())),
        ("PidsLimit", json!(pids_limit)),
        ("CpuRealtimePeriod", json!(cpu_rt_period.unwrap_or(0))),
        ("CpuRealtimeRuntime", json!(cpu_rt_runtime.unwrap_or(0))),
        ("MemorySwappiness", json!(memory_swappiness)),
        ("OomKillDisable", json!(oom_kill_disable)),
        ("BlkioWeight", json!(blkio_weight.unwrap_or(0))),
        ("BlkioWeightDevice", weights.collect()),
        ("BlkioDeviceReadBps", rates(device_read_bps)),
        ("BlkioDeviceWriteBps", rates(device_write_bps)),
        ("BlkioDeviceReadIOps", rates(device_read_iops)),
        ("BlkioDeviceWriteIOps", rates(device_write_iops)),
    ];
    for (name, value) in fields {
        host[name] = value;
    }
}

fn confinement(host: &mut Value, security: Security) -> anyhow::Result<()> {
    let Security {
        privileged,
        cap_add,
        cap_drop,
        no_new_privileges,
        seccomp,
        apparmor,
        selinux,
        system_paths_open,
        unmasked,
    } = security;
    if !unmasked.is_empty() {
        bail!("--security-opt unmask={} cannot be sent to a daemon: its API has no word for it", unmasked.join(":"));
    }
    let mut options: Vec<String> = no_new_privileges.then(|| "no-new-privileges".to_owned()).into_iter().collect();
    match seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        // The daemon cannot read our file: it is sent what is in it.
        Seccomp::Profile(profile) => options.push(format!("seccomp={profile}")),
    }
    options.extend(apparmor.map(|profile| format!("apparmor={profile}")));
    let parts = [("user", selinux.user), ("role", selinux.role), ("type", selinux.kind), ("level", selinux.level)];
    options.extend(parts.into_iter().filter_map(|(part, value)| Some(format!("label={part}:{}", value?))));
    host["Privileged"] = privileged.into();
    host["CapAdd"] = json!(cap_add);
    host["CapDrop"] = json!(cap_drop);
    host["SecurityOpt"] = json!(options);
    if system_paths_open {
        // No list is the default one, and an empty list is that nothing is hidden.
        host["MaskedPaths"] = json!([]);
        host["ReadonlyPaths"] = json!([]);
    }
    Ok(())
}

/// Its mounts; anonymous volumes of which nothing is asked come back, for they stand elsewhere.
fn places(far: &Client, host: &mut Value, mounts: Vec<MountRequest>) -> anyhow::Result<Map> {
    let (mut binds, mut others, mut tmpfs, mut anonymous) = (Vec::new(), Vec::new(), Map::new(), Map::new());
    for mount in mounts {
        let MountRequest { source, target, read_only, propagation, owners, volume } = mount;
        let target = target.display().to_string();
        if owners.is_some() {
            bail!("idmap on {target} cannot be sent to a daemon: its API has no word for it");
        }
        let access = if read_only { "ro" } else { "rw" };
        match source {
            Source::Bind { path, create: true } => {
                let how = propagation.map_or(access.to_owned(), |propagation| format!("{access},{propagation}"));
                binds.push(format!("{}:{target}:{how}", path.display()));
            }
            Source::Bind { path, create: false } => others.push(json!({
                "Type": "bind", "Source": path, "Target": target, "ReadOnly": read_only,
                "BindOptions": propagation.map(|propagation| json!({ "Propagation": propagation })),
            })),
            Source::Tmpfs { options } => {
                let access = read_only.then(|| "ro".to_owned());
                let all: Vec<String> = access.into_iter().chain(Some(options).filter(|it| !it.is_empty())).collect();
                tmpfs.insert(target, all.join(",").into());
            }
            Source::Volume { name: None } if !read_only && volume == Default::default() => {
                anonymous.insert(target, json!({}));
            }
            Source::Volume { name } => {
                let mut wishes = json!({
                    "NoCopy": volume.no_copy,
                    "Labels": volume.labels,
                    "DriverConfig": { "Name": volume.driver.unwrap_or_default(), "Options": volume.options },
                });
                if let Some(subpath) = volume.subpath {
                    far.needs(45, "volume-subpath")?;
                    wishes["Subpath"] = json!(subpath);
                }
                others.push(json!({
                    "Type": "volume", "Source": name.unwrap_or_default(), "Target": target, "ReadOnly": read_only,
                    "VolumeOptions": wishes,
                }));
            }
        }
    }
    host["Binds"] = json!(binds);
    host["Mounts"] = json!(others);
    host["Tmpfs"] = json!(tmpfs);
    Ok(anonymous)
}
