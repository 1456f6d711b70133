//! What a container is given of the machine: devices, disks, a place among the control groups, room for its log.
#![allow(clippy::unwrap_used)]

mod sandbox;

use containers::{
    Container, CreateOptions, DiskRate, Engine, LogConfig, LogOptions, Network, Resources, Security, Share, Sharing,
};
use sandbox::{Sandbox, command, sh};

fn log(driver: &str, options: &[(&str, &str)]) -> LogConfig {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    LogConfig { driver: driver.parse().unwrap(), options }
}

/// Whether the kernel's log can be opened for reading, and for writing.
const OPENS: &str = "(exec 3< /dev/log) 2>/dev/null && echo r; (exec 3> /dev/log) 2>/dev/null && echo w; true";

#[test]
fn a_device_can_be_used_as_far_as_it_was_given() {
    let Some(sandbox) = Sandbox::new() else { return };
    let with = |device: &str| {
        let security = Security { cap_add: vec!["SYSLOG".into()], ..Security::default() };
        let options = CreateOptions { devices: vec![device.parse().unwrap()], security, ..sh(OPENS) };
        sandbox.run(options).unwrap().stdout
    };
    assert_eq!(with("/dev/kmsg:/dev/log"), "r\nw\n");
    assert_eq!(with("/dev/kmsg:/dev/log:r"), "r\n");
    assert_eq!(with("/dev/kmsg:/dev/log:w"), "w\n");
    let missing = CreateOptions { devices: vec!["/dev/no-such-device".parse().unwrap()], ..sh("true") };
    let error = sandbox.run(missing).unwrap_err().to_string();
    assert!(error.contains("/dev/no-such-device") && error.contains("no such device"), "{error}");
    let none = CreateOptions { devices: vec!["/etc/passwd".parse().unwrap()], ..sh("true") };
    assert!(sandbox.run(none).unwrap_err().to_string().contains("it is no device"));
    sandbox.engine.prune().unwrap();
}

#[test]
fn a_rule_lets_nodes_be_used_that_the_container_makes_itself() {
    let Some(sandbox) = Sandbox::new() else { return };
    let with = |rules: &[&str]| {
        let security = Security { cap_add: vec!["SYSLOG".into(), "MKNOD".into()], ..Security::default() };
        let device_rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let script = format!("/bin/busybox mknod /dev/log c 1 11; {OPENS}");
        sandbox.run(CreateOptions { device_rules, security, ..sh(&script) }).unwrap().stdout
    };
    assert_eq!(with(&[]), "");
    assert_eq!(with(&["c 1:11 rm"]), "r\n");
    assert_eq!(with(&["c 1:* rwm"]), "r\nw\n");
    sandbox.engine.prune().unwrap();
}

#[test]
fn privileged_means_the_machine_s_devices_too() {
    let Some(sandbox) = Sandbox::new() else { return };
    let security = Security { privileged: true, ..Security::default() };
    let script = "stat -c '%t:%T' /dev/kmsg; (exec 3< /dev/kmsg) && echo open";
    let outcome = sandbox.run(CreateOptions { security, ..sh(script) }).unwrap();
    assert_eq!(outcome.stdout, "1:b\nopen\n", "{outcome:?}");
    assert_eq!(sandbox.sh("test -e /dev/kmsg || echo none"), "none\n");
    sandbox.engine.prune().unwrap();
}

/// A line of one of the files of a running container's control group, whichever version has it.
fn group_file(engine: &Engine, container: &Container, names: &[&str]) -> String {
    let path = engine.cgroup_path(container.id()).unwrap();
    let directories = cgroups::Cgroup::open(&path).unwrap().directories();
    let files = directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

#[test]
fn a_disk_is_read_no_faster_than_was_said() {
    let Some(sandbox) = Sandbox::new() else { return };
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten();
    let disk = disks.map(|disk| std::path::Path::new("/dev").join(disk.file_name())).find(|disk| disk.exists());
    let Some(disk) = disk else { return eprintln!("skipped: this machine has no disk") };
    let rate = |rate| vec![DiskRate { path: disk.clone(), rate }];
    let resources = Resources {
        device_read_bps: rate(1 << 20),
        device_write_iops: rate(77),
        cpu_shares: Some(512),
        ..Resources::default()
    };
    let container = sandbox.run_detached(CreateOptions { resources, ..sh("sleep 1000") });
    let read = group_file(&sandbox.engine, &container, &["blkio.throttle.read_bps_device", "io.max"]);
    let write = group_file(&sandbox.engine, &container, &["blkio.throttle.write_iops_device", "io.max"]);
    assert!(read.contains("1048576") && write.contains("77"), "{read:?} {write:?}");
    sandbox.engine.stop(container.id(), Some(std::time::Duration::ZERO)).unwrap();
    let none =
        Resources { device_read_bps: vec![DiskRate { path: "/dev/null".into(), rate: 1 }], ..Resources::default() };
    let error = sandbox.run(CreateOptions { resources: none, ..sh("true") }).unwrap_err().to_string();
    assert!(error.contains("--device-read-bps") && error.contains("no block device"), "{error}");
    sandbox.engine.prune().unwrap();
}

#[test]
fn a_group_is_made_where_one_wants_it_and_goes_with_the_container() {
    let Some(sandbox) = Sandbox::new() else { return };
    let parent = format!("/cooper-test-{}/below", std::process::id());
    let options = CreateOptions { cgroup_parent: Some(parent.clone()), ..sh("sleep 1000") };
    let container = sandbox.run_detached(options);
    let pid = container.life().unwrap().pid.unwrap();
    let seen = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(seen.contains(&format!("{parent}/{}", container.id())), "{seen}");
    sandbox.engine.pause(container.id()).unwrap();
    sandbox.engine.unpause(container.id()).unwrap();
    let path = sandbox.engine.cgroup_path(container.id()).unwrap();
    let directories = cgroups::Cgroup::open(&path).unwrap().directories();
    assert!(directories.iter().any(|directory| directory.exists()));
    sandbox.engine.stop(container.id(), Some(std::time::Duration::ZERO)).unwrap();
    let above = directories.iter().map(|directory| directory.parent().unwrap().parent().unwrap());
    assert!(above.clone().all(|directory| !directory.exists()), "{:?}", above.collect::<Vec<_>>());
    let climbing = CreateOptions { cgroup_parent: Some("/../x".into()), ..sh("true") };
    assert!(sandbox.create(climbing).unwrap_err().to_string().contains("--cgroup-parent"));
    sandbox.engine.prune().unwrap();
}

#[test]
fn the_machine_s_groups_are_seen_on_request() {
    let Some(sandbox) = Sandbox::new() else { return };
    let seen = |share| {
        let sharing = Sharing { cgroup: share, ..Sharing::default() };
        let options = CreateOptions {
            sharing,
            domainname: Some("casks.example".into()),
            ..sh("cat /proc/self/cgroup; cat /proc/sys/kernel/domainname")
        };
        let outcome = sandbox.run(options).unwrap();
        assert!(outcome.stdout.ends_with("casks.example\n"), "{outcome:?}");
        outcome.stdout
    };
    assert!(!seen(Share::Own).contains("cooper"));
    assert!(seen(Share::Host).contains("cooper"));
    sandbox.engine.prune().unwrap();
}

#[test]
fn a_log_is_kept_as_far_as_was_said() {
    let Some(sandbox) = Sandbox::new() else { return };
    let small = CreateOptions { log: log("local", &[("max-size", "1k"), ("max-file", "2")]), ..sh("seq 1 1000") };
    let container = sandbox.create(small).unwrap();
    assert_eq!(sandbox.run_again(&container, b"").unwrap().stdout.lines().count(), 1000);
    let files = std::fs::read_dir(container.directory()).unwrap().flatten();
    let files: Vec<_> = files.filter(|file| file.file_name().to_string_lossy().starts_with("log.json")).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 1024));
    let lines: Vec<_> = sandbox.engine.logs(container.id(), &LogOptions::default()).unwrap().collect();
    assert_eq!(lines.last().unwrap().as_ref().unwrap().log, "1000\n");

    let nothing = sandbox.create(CreateOptions { log: log("none", &[]), ..command(&["/bin/echo", "seen"]) }).unwrap();
    assert_eq!(sandbox.run_again(&nothing, b"").unwrap().stdout, "seen\n");
    assert!(!nothing.log_file().exists());
    let error = sandbox.engine.logs(nothing.id(), &LogOptions::default()).unwrap_err().to_string();
    assert!(error.contains("--log-driver"), "{error}");
    assert!(sandbox.create(CreateOptions { log: log("json-file", &[("labels", "x")]), ..sh("true") }).is_err());
    sandbox.engine.prune().unwrap();
}

#[test]
fn every_exposed_port_is_published_when_all_are_wanted() {
    let Some(sandbox) = Sandbox::new() else { return };
    let network = Network {
        expose: vec!["9000-9001".into(), "53/udp".into()],
        publish: network::port::parse("127.0.0.1::9001").unwrap(),
        publish_all: true,
        ..Network::default()
    };
    let container = sandbox.run_detached(CreateOptions { network, ..sh("sleep 1000") });
    let mut ports = container.life().unwrap().ports;
    ports.sort_by_key(|port| port.container_port);
    let seen: Vec<_> =
        ports.iter().map(|port| (port.container_port, port.protocol, port.host_ip.to_string())).collect();
    let (tcp, udp) = (network::Protocol::Tcp, network::Protocol::Udp);
    let (any, this) = ("0.0.0.0".to_owned(), "127.0.0.1".to_owned());
    assert_eq!(seen, [(53, udp, any.clone()), (9000, tcp, any), (9001, tcp, this)]);
    assert!(ports.iter().all(|port| port.host_port != 0));
    sandbox.engine.stop(container.id(), Some(std::time::Duration::ZERO)).unwrap();
    let wrong = Network { expose: vec!["1:2".into()], ..Network::default() };
    assert!(sandbox.create(CreateOptions { network: wrong, ..sh("true") }).is_err());
    sandbox.engine.prune().unwrap();
}
