//! Containers whose users are not the machine's.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::os::unix::fs::MetadataExt as _;

use containers::{CreateOptions, Ipc, MountRequest, Network, NetworkMode, Security, Sharing};
use namespaces::{IdMap, IdMaps};
use sandbox::{Sandbox, eventually, sh};

/// Root and 65,535 others, from 200,000 on.
fn maps() -> Option<IdMaps> {
    let all = IdMap { inside: 0, outside: 200_000, count: 65536 };
    Some(IdMaps { users: vec![all], groups: vec![IdMap { outside: 300_000, ..all }] })
}

#[test]
fn root_inside_is_nobody_outside_and_files_keep_the_container_s_numbers_on_disk() {
    let Some(sandbox) = Sandbox::new() else { return };
    let script = "id -u; stat -c '%u %g' /bin /etc/hosts /kept; echo new > /mine; stat -c '%u %g' /mine; echo one > /kept/file; \
                  echo 127.0.0.9 other >> /etc/hosts && echo mine; touch /ready; exec sleep 1000";
    let options =
        CreateOptions { id_maps: maps(), mounts: vec![MountRequest::volume("kept:/kept").unwrap()], ..sh(script) };
    let container = sandbox.run_detached(options);
    let upper = container.directory().join("upper");
    let said = || format!("{:?} {:?}", sandbox.command(&["logs", container.name()]), container.life());
    assert!(eventually(|| upper.join("ready").exists().then_some(())).is_some(), "{}", said());
    let log = sandbox.command(&["logs", container.name()]);
    assert_eq!(String::from_utf8_lossy(&log.stdout), "0\n0 0\n0 0\n0 0\n0 0\nmine\n", "{log:?}");

    // What the kernel knows it as, and what the disk does.
    let pid = container.life().unwrap().pid.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
    assert_eq!((line("Uid:"), line("Gid:")), (Some("200000"), Some("300000")));
    let owner = |path: &std::path::Path| std::fs::metadata(path).map(|it| (it.uid(), it.gid())).unwrap();
    assert_eq!(owner(&upper.join("mine")), (0, 0));
    assert_eq!(owner(&sandbox.engine.volumes().data("kept").join("file")), (0, 0));

    // A second process is let in with the same users; files are not copied past the map.
    let exec = sandbox.command(&["exec", container.name(), "sh", "-c", "id -u; cat /proc/self/uid_map"]);
    let said = String::from_utf8_lossy(&exec.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said, "0 0 200000 65536", "{exec:?}");
    let refused = sandbox.engine.look_at(container.id(), std::path::Path::new("/mine")).unwrap_err().to_string();
    assert!(refused.contains("stop it first"), "{refused}");
    sandbox.engine.stop(container.id(), Some(std::time::Duration::ZERO)).unwrap();
    sandbox.engine.look_at(container.id(), std::path::Path::new("/mine")).unwrap();

    // Its layers are everybody's: a container without maps sees the same files.
    let plain =
        CreateOptions { mounts: vec![MountRequest::volume("kept:/kept").unwrap()], ..sh("stat -c '%u %g' /kept/file") };
    assert_eq!(sandbox.run(plain).unwrap().stdout, "0 0\n");
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("kept").unwrap();
}

#[test]
fn what_ids_of_its_own_cannot_go_with_is_said_before_anything_is_made() {
    let Some(sandbox) = Sandbox::new() else { return };
    let refusal = |options: CreateOptions| {
        let options = CreateOptions { id_maps: options.id_maps.clone().or_else(maps), ..options };
        sandbox.create(options).map(|_| "created".to_owned()).unwrap_or_else(|error| error.to_string())
    };
    let only = |inside, outside, count| {
        let map = vec![IdMap { inside, outside, count }];
        Some(IdMaps { users: map.clone(), groups: map })
    };
    let told = [
        refusal(CreateOptions { id_maps: only(1, 200_000, 10), ..sh("true") }),
        refusal(CreateOptions { id_maps: only(0, 200_000, 0), ..sh("true") }),
        refusal(CreateOptions { security: Security { privileged: true, ..Security::default() }, ..sh("true") }),
        refusal(CreateOptions { sharing: Sharing { ipc: Ipc::Host, ..Sharing::default() }, ..sh("true") }),
        refusal(CreateOptions { network: Network { mode: NetworkMode::Host, ..Network::default() }, ..sh("true") }),
        refusal(CreateOptions { mounts: vec![MountRequest::volume("/tmp:/t:idmap").unwrap()], ..sh("true") }),
    ];
    insta::assert_snapshot!(told.join("\n"));
    let outsider = CreateOptions { id_maps: only(0, 200_000, 10), user: Some("12:99".into()), ..sh("true") };
    let refused = sandbox.run(outsider).unwrap_err().to_string();
    assert!(refused.contains("it is not among the users of --uidmap"), "{refused}");
    sandbox.engine.prune().unwrap();
}
