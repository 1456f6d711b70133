#![allow(clippy::unwrap_used)]
use super::*;

/// What docker 28.2.2 sends for `docker run --rm --net none bb:1 sh -c 'echo hi'`, word for word.
const REAL: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["sh","-c","echo hi"],"Image":"bb:1","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"none","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[24,80],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{}}}"#;

fn options(json: &str) -> Result<CreateOptions, ApiError> {
    Body::parse(json.as_bytes())?.options(Some("web"))
}

#[test]
fn what_the_real_client_sends_is_understood_whole() {
    let options = options(REAL).unwrap();
    assert_eq!(options.name.as_deref(), Some("web"));
    assert_eq!(options.command, ["sh", "-c", "echo hi"]);
    assert_eq!(options.network.mode, containers::NetworkMode::None);
    assert!(options.auto_remove);
    assert_eq!(options.entrypoint, None);
    assert_eq!(options.resources, containers::Resources::default());
}

#[test]
fn a_field_that_cannot_be_honoured_is_refused_by_its_name() {
    let json = r#"{"Image":"x","HostConfig":{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}}"#;
    let error = options(json).unwrap_err();
    assert_eq!(error.status, axum::http::StatusCode::NOT_IMPLEMENTED);
    assert_eq!(error.message, "HostConfig.DeviceRequests is not supported");
    let error = options(r#"{"Image":"x","OnBuild":["RUN x"]}"#).unwrap_err();
    assert_eq!(error.message, "OnBuild is not supported");
}

#[test]
fn devices_disks_logs_and_exposed_ports_arrive() {
    let options = options(
        r#"{"Image":"x","ExposedPorts":{"80/tcp":{}},"AttachStdout":true,"Domainname":"example.com","HostConfig":{
            "Devices":[{"PathOnHost":"/dev/fuse","PathInContainer":"/dev/f","CgroupPermissions":"rw"}],
            "DeviceCgroupRules":["c 42:* rmw"],"BlkioWeight":300,"MemorySwappiness":-1,
            "BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1024}],"BlkioDeviceWriteIOps":[{"Path":"/dev/sda","Rate":7}],
            "LogConfig":{"Type":"local","Config":{"max-size":"1m"}},"CgroupParent":"/mine","CgroupnsMode":"host",
            "PublishAllPorts":true}}"#,
    )
    .unwrap();
    assert_eq!(options.devices, ["/dev/fuse:/dev/f:rw".parse().unwrap()]);
    assert_eq!(options.device_rules, ["c 42:* rmw".parse().unwrap()]);
    let resources = &options.resources;
    assert_eq!((resources.blkio_weight, resources.memory_swappiness), (Some(300), None));
    assert_eq!((resources.device_read_bps[0].rate, resources.device_write_iops[0].rate), (1024, 7));
    assert_eq!((options.log.driver, options.log.options["max-size"].as_str()), (containers::LogDriver::Local, "1m"));
    assert_eq!((options.cgroup_parent.as_deref(), options.domainname.as_deref()), (Some("/mine"), Some("example.com")));
    assert_eq!(options.sharing.cgroup, containers::Share::Host);
    assert!(options.network.publish_all && options.network.expose == ["80/tcp"]);
    assert_eq!(options.attached, [containers::AttachedStream::Stdout]);
}

#[test]
fn ports_limits_and_binds_arrive() {
    let options = options(
        r#"{"Image":"x","ExposedPorts":{"80/tcp":{}},"HostConfig":{
            "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}]},
            "Memory":268435456,"NanoCpus":500000000,"Binds":["/srv:/data:ro"],
            "SecurityOpt":["no-new-privileges","seccomp=unconfined"]}}"#,
    )
    .unwrap();
    let ports: Vec<_> = options.network.publish.iter().map(|p| (p.host_port, crate::summary::target_of(p))).collect();
    assert_eq!(ports, [(0, "53/udp".to_owned()), (8080, "80/tcp".to_owned())]);
    assert_eq!(options.resources.memory, Some(256 << 20));
    assert_eq!(options.resources.nano_cpus, Some(500_000_000));
    assert!(options.mounts[0].read_only);
    assert!(options.security.no_new_privileges);
    assert_eq!(options.security.seccomp, containers::Seccomp::Unconfined);
}

#[test]
fn a_body_that_is_no_json_says_where() {
    let error = options(r#"{"Image":}"#).unwrap_err();
    assert!(error.message.contains("line 1 column 10"), "{}", error.message);
}

#[test]
fn restart_policies_and_health_checks_arrive() {
    let body = r#"{"Image":"x","Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Retries":2},
                   "HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}"#;
    let options = options(body).unwrap();
    assert_eq!(options.restart.to_string(), "on-failure:3");
    let health = options.health.unwrap();
    assert_eq!((health.test.len(), health.interval, health.retries), (2, 1_000_000_000, 2));
}
