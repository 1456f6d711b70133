//! Bind mounts whose files have the right owner, from `config.json` to the disk.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use process::needs;
use serde_json::{Value, json};

/// A bundle with busybox in it and a directory that belongs to user 1000 and group 100.
fn bundle() -> Option<tempfile::TempDir> {
    if !needs::root() || !needs::program("busybox") {
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    let bin = home.path().join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    needs::copy_program(needs::find_program("busybox").unwrap(), bin.join("sh"));
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("old"), "").unwrap();
    [data.clone(), data.join("old")].iter().for_each(|path| chown(path, Some(1000), Some(100)).unwrap());
    Some(home)
}

/// Runs a script in the bundle with one more mount; everything that was printed.
fn run(bundle: &Path, mount: &Value, script: &str, change: impl FnOnce(&mut Value)) -> String {
    let runtime = || {
        let mut command = Command::new(cargo_bin("cooper-runtime"));
        command.current_dir(bundle).stdin(Stdio::null()).arg("--root").arg(bundle.join("state"));
        command
    };
    let file = bundle.join("config.json");
    if !file.exists() {
        assert!(runtime().arg("spec").status().unwrap().success());
    }
    let original = std::fs::read(&file).unwrap();
    let mut config: Value = serde_json::from_slice(&original).unwrap();
    config["process"]["args"] = json!(["sh", "-c", script]);
    config["mounts"].as_array_mut().unwrap().push(mount.clone());
    change(&mut config);
    std::fs::write(&file, config.to_string()).unwrap();
    let id = format!("idmap-{}", bundle.file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let output = runtime().args(["run", &id]).output().unwrap();
    std::fs::write(&file, original).unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn one(disk: u32, inside: u32) -> Value {
    json!([{ "containerID": disk, "hostID": inside, "size": 1 }])
}

#[test]
fn files_belong_to_the_container_inside_and_to_their_owner_on_disk() {
    let Some(bundle) = bundle() else { return };
    let mount = json!({ "destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "rw", "idmap"],
                        "uidMappings": one(1000, 0), "gidMappings": one(100, 0) });
    let script = "stat -c '%u %g' /data/old; : > /data/new; chown 7 /data/new || :";
    let seen = run(bundle.path(), &mount, script, |_| {});
    assert!(seen.starts_with("0 0\n"), "{seen}");
    // User 7 has no place on this disk.
    assert!(seen.contains("/data/new"), "{seen}");
    let new = bundle.path().join("data/new").metadata().unwrap();
    assert_eq!((new.uid(), new.gid()), (1000, 100));
}

#[test]
fn without_ids_of_its_own_the_mount_takes_the_containers_user_namespace() {
    let Some(bundle) = bundle() else { return };
    chown(bundle.path().join("data/old"), Some(3), Some(4)).unwrap();
    std::fs::set_permissions(bundle.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // Mount points that are missing are made by the container's own root.
    chown(bundle.path().join("rootfs"), Some(200_000), Some(200_000)).unwrap();
    let mount = json!({ "destination": "/data", "type": "bind", "source": "data", "options": ["bind", "idmap"] });
    let own = |config: &mut Value| {
        let range = json!([{ "containerID": 0, "hostID": 200_000, "size": 1000 }]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = range.clone();
        config["linux"]["gidMappings"] = range;
    };
    // On disk 3 and 4, and so inside: the map of the mount undoes the one of the namespace.
    assert_eq!(run(bundle.path(), &mount, "stat -c '%u %g' /data/old", own), "3 4\n");
    let refused = run(bundle.path(), &mount, "true", |_| {});
    assert!(refused.contains("mounts[7]: idmap: neither uidMappings and gidMappings"), "{refused}");
}

#[test]
fn a_map_that_is_none_and_a_file_system_that_takes_none_are_named() {
    let Some(bundle) = bundle() else { return };
    let with = |source: &str, users: Value| {
        json!({ "destination": "/data", "type": "bind", "source": source, "options": ["bind"],
                "uidMappings": users, "gidMappings": one(0, 0) })
    };
    let twice = json!([{ "containerID": 0, "hostID": 0, "size": 2 }, { "containerID": 1, "hostID": 9, "size": 1 }]);
    let seen = run(bundle.path(), &with("data", twice), "true", |_| {});
    assert!(seen.contains(r#"read id map "1 9 1": overlaps with "0 0 2""#), "{seen}");
    let seen = run(bundle.path(), &with("/proc", one(0, 0)), "true", |_| {});
    assert!(seen.contains("its file system (type 0x9fa0)"), "{seen}");
    let mut fields = with("data", one(0, 0));
    fields.as_object_mut().unwrap().remove("gidMappings");
    let seen = run(bundle.path(), &fields, "true", |_| {});
    assert!(seen.contains("uidMappings and gidMappings belong together"), "{seen}");
}
