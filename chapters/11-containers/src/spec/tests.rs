#![allow(clippy::unwrap_used)]

use super::*;
use crate::networking::Network;
use crate::options::{Resources, Ulimit};
use crate::security::Security;
use crate::settings::Defaults;
use crate::volumes::MountKind;

/// The spec of an image that runs `sh`, for what is asked.
fn spec(options: &CreateOptions, mounts: &[MountPoint]) -> Result<Value> {
    let id: ContainerId = "c0".repeat(32).parse().unwrap();
    let image = Defaults { cmd: vec!["sh".into()], ..Defaults::default() };
    let settings = Settings::merge(&image, options, &id)?;
    let plan = Plan {
        id: &id,
        settings: &settings,
        options,
        user: (Identity::default(), Some("/root".into())),
        mounts,
        files: "/C".into(),
        network: None,
        rootless: false,
        can_limit: true,
        obtainable: CapSet::all(),
        places: Places::default(),
        devices: &[],
        disks: Disks::default(),
        kernel: (6, 18),
    };
    let mut spec = serde_json::to_value(plan.spec()?).unwrap();
    if let Some(seccomp) = spec["linux"].get_mut("seccomp") {
        *seccomp = "[PROFILE]".into();
    }
    // The library keeps sets of capabilities in no order.
    for set in spec["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
        set.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    }
    Ok(spec)
}

fn said(options: &CreateOptions) -> String {
    spec(options, &[]).unwrap_err().to_string()
}

#[test]
fn the_default_posture() {
    insta::assert_json_snapshot!(spec(&CreateOptions::default(), &[]).unwrap());
}

#[test]
fn limits_are_docker_s() {
    let resources = |resources: Resources| {
        spec(&CreateOptions { resources, ..CreateOptions::default() }, &[]).unwrap()["linux"]["resources"].to_string()
    };
    let none = Resources::default();
    let lines = [
        resources(Resources { memory: Some(256 << 20), ..none.clone() }),
        resources(Resources { memory: Some(256 << 20), memory_swap: Some(-1), ..none.clone() }),
        resources(Resources { nano_cpus: Some(500_000_000), pids_limit: Some(-1), ..none.clone() }),
        resources(Resources { cpu_shares: Some(512), cpuset_cpus: Some("0-1".into()), pids_limit: Some(10), ..none }),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn limits_that_make_no_sense_are_named() {
    let with = |resources| said(&CreateOptions { resources, ..CreateOptions::default() });
    let lines = [
        with(Resources { memory: Some(1 << 20), ..Resources::default() }),
        with(Resources { memory: Some(64 << 20), memory_swap: Some(1 << 20), ..Resources::default() }),
        with(Resources { memory_swap: Some(1 << 20), ..Resources::default() }),
        with(Resources { nano_cpus: Some(1), ..Resources::default() }),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn privileged_means_all_capabilities_no_filter_nothing_hidden() {
    let security = Security { privileged: true, ..Security::default() };
    let spec = spec(&CreateOptions { security, ..CreateOptions::default() }, &[]).unwrap();
    assert!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len() > 40);
    assert!(spec["linux"].get("seccomp").is_none_or(Value::is_null), "{}", spec["linux"]["seccomp"]);
    assert!(spec["linux"]["maskedPaths"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn capabilities_are_dropped_and_added() {
    let caps = |add: &[&str], drop: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security { cap_add: owned(add), cap_drop: owned(drop), ..Security::default() };
        spec(&CreateOptions { security, ..CreateOptions::default() }, &[])
            .map(|spec| spec["process"]["capabilities"]["bounding"].as_array().unwrap().len())
    };
    assert_eq!(caps(&[], &[]).unwrap(), 11);
    assert_eq!(caps(&[], &["ALL"]).unwrap(), 0);
    assert_eq!(caps(&["NET_ADMIN"], &["ALL"]).unwrap(), 1);
    assert_eq!(caps(&["cap_net_raw"], &[]).unwrap(), 12);
    assert!(caps(&["FLY"], &[]).unwrap_err().to_string().contains("FLY"));
}

#[test]
fn what_was_asked_for_is_mounted_last_and_parents_first() {
    let mount = |kind, source: &str, target: &str| MountPoint {
        kind,
        source: source.into(),
        target: target.into(),
        read_only: source == "/ro",
        propagation: None,
        owners: None,
        subpath: None,
        no_copy: false,
        lent: false,
        driver: None,
    };
    let mounts = [
        mount(MountKind::Bind, "/ro", "/data/deep"),
        mount(MountKind::Volume { name: "v".into(), anonymous: false }, "/vol", "/data"),
        mount(MountKind::Tmpfs { options: "size=1m,exec".into() }, "", "/t"),
        mount(MountKind::Bind, "/mine", "/etc/hosts"),
    ];
    let spec = spec(&CreateOptions::default(), &mounts).unwrap();
    let line = |mount: &Value| format!("{} {} {}", mount["destination"], mount["source"], mount["options"]);
    let lines: Vec<String> = spec["mounts"].as_array().unwrap().iter().skip(7).map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn owners_on_disk_become_the_container_s_user() {
    let mount = MountPoint {
        kind: MountKind::Bind,
        source: "/mine".into(),
        target: "/data".into(),
        read_only: false,
        propagation: None,
        owners: Some(crate::owners::Owners::Of { uid: 1000, gid: 100 }),
        subpath: None,
        no_copy: false,
        lent: false,
        driver: None,
    };
    let spec = spec(&CreateOptions::default(), &[mount]).unwrap();
    let mount = spec["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/data").unwrap();
    assert_eq!(mount["options"], json!(["rbind", "rprivate", "rw", "ridmap"]));
    let first = |field: &str| mount[field][0].clone();
    assert_eq!(first("uidMappings"), json!({"containerID": 1000, "hostID": 0, "size": 1}));
    assert_eq!(first("gidMappings"), json!({"containerID": 100, "hostID": 0, "size": 1}));
}

#[test]
fn the_host_s_network_is_shared_only_on_request() {
    let kinds = |mode| {
        let network = Network { mode, ..Network::default() };
        let spec = spec(&CreateOptions { network, ..CreateOptions::default() }, &[]).unwrap();
        let kinds = spec["linux"]["namespaces"].as_array().unwrap().clone();
        kinds.iter().filter(|kind| kind["type"] == "network").count()
    };
    assert_eq!((kinds(NetworkMode::Bridge), kinds(NetworkMode::None), kinds(NetworkMode::Host)), (1, 1, 0));
}

#[test]
fn process_options_reach_the_process() {
    let options = CreateOptions {
        env: vec!["A=b".into()],
        workdir: Some("/w/../x".into()),
        terminal: true,
        ulimits: vec!["nofile=10:20".parse::<Ulimit>().unwrap()],
        security: Security { no_new_privileges: true, ..Security::default() },
        ..CreateOptions::default()
    };
    let mut process = spec(&options, &[]).unwrap()["process"].clone();
    process.as_object_mut().unwrap().remove("capabilities");
    insta::assert_json_snapshot!(process);
}

#[test]
fn an_init_is_mounted_read_only_and_comes_first() {
    let document = spec(&CreateOptions { init: true, ..CreateOptions::default() }, &[]).unwrap();
    assert_eq!(document["process"]["args"], serde_json::json!(["/sbin/docker-init", "--", "sh"]));
    let mounts = document["mounts"].as_array().unwrap();
    let init: Vec<&Value> = mounts.iter().filter(|mount| mount["destination"] == "/sbin/docker-init").collect();
    assert_eq!(init.len(), 1);
    assert_eq!(init[0]["source"], "/C/pid1");
    assert!(init[0]["options"].as_array().unwrap().contains(&"ro".into()));
}

#[test]
fn a_path_that_is_unmasked_is_neither_hidden_nor_read_only_and_the_others_stay() {
    let security = Security { unmasked: vec!["/proc/sys".into(), "/proc/kcore".into()], ..Security::default() };
    let linux = spec(&CreateOptions { security, ..CreateOptions::default() }, &[]).unwrap()["linux"].take();
    let has = |list: &str, path: &str| linux[list].as_array().unwrap().contains(&path.into());
    assert!(!has("maskedPaths", "/proc/kcore") && has("maskedPaths", "/proc/keys"));
    assert!(!has("readonlyPaths", "/proc/sys") && has("readonlyPaths", "/proc/bus"));
    let security = Security { system_paths_open: true, ..Security::default() };
    let linux = spec(&CreateOptions { security, ..CreateOptions::default() }, &[]).unwrap()["linux"].take();
    assert_eq!((&linux["maskedPaths"], &linux["readonlyPaths"]), (&json!([]), &json!([])));
}
