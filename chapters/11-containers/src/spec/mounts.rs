//! What is mounted in a container, in order.

use std::path::Path;

use serde_json::{Value, json};

use super::Plan;
use crate::error::Result;
use crate::networking::NetworkMode;
use crate::sharing::Ipc;
use crate::volumes::{MountKind, MountPoint};

/// `--shm-size` when it is not given, bytes.
const SHM: u64 = 64 << 20;

/// Where `--init` puts the tiny init: docker's place for it.
pub(crate) const INIT: &str = "/sbin/docker-init";

/// The default mounts, then the engine's files, then what was asked for, parents before children.
///
/// What was asked for comes last and may so cover any of the others: a user who mounts a file of their own on
/// `/etc/hosts` means it.
pub(super) fn mounts(plan: &Plan<'_>) -> Result<Vec<Value>> {
    let mut mounts = kernel_file_systems(plan);
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = Path::new("/etc").join(name);
        if !plan.mounts.iter().any(|mount| mount.target == target) {
            // Writable, as with docker: programs edit them, and they are this container's own.
            mounts.push(with_our_ids(bind(&plan.files.join(name), &target, &["bind", "rprivate"]), plan));
        }
    }
    if plan.options.init {
        let file = plan.files.join(crate::paths::INIT_FILE);
        mounts.push(bind(&file, Path::new(INIT), &["bind", "rprivate", "ro", "nosuid", "nodev"]));
    }
    if plan.rootless || plan.options.id_maps.is_some() {
        // No node can be made without the machine's root: the machine's own is mounted.
        mounts.extend(plan.devices.iter().map(|device| bind(&device.host, &device.inside, &["bind", "rprivate"])));
    }
    let mut asked: Vec<&MountPoint> = plan.mounts.iter().collect();
    asked.sort_by_key(|mount| mount.target.components().count());
    mounts.extend(asked.into_iter().map(|mount| owned(mount, requested(mount), plan)));
    Ok(mounts)
}

fn requested(mount: &MountPoint) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    match &mount.kind {
        MountKind::Bind => {
            let propagation = mount.propagation.as_deref().unwrap_or("rprivate");
            bind(&mount.source, &mount.target, &["rbind", propagation, access])
        }
        // Its owners are mapped below, where the container has ids of its own.
        MountKind::Volume { .. } => bind(&mount.source, &mount.target, &["rbind", "rprivate", access]),
        MountKind::Tmpfs { options } => {
            let mut all = vec!["noexec", "nosuid", "nodev", access];
            // Later options win, so an `exec` that is asked for is had.
            all.extend(options.split(',').filter(|option| !option.is_empty()));
            json!({ "destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": all })
        }
    }
}

/// The same mount with the owners of its files mapped, where that was asked for.
fn owned(mount: &MountPoint, mut value: Value, plan: &Plan<'_>) -> Value {
    let (user, _) = &plan.user;
    if matches!(mount.kind, MountKind::Volume { .. }) {
        value = with_our_ids(value, plan);
    }
    let Some(maps) = mount.owners.as_ref().map(|owners| owners.maps(user.uid, user.gid)) else { return value };
    let list = |maps: &[namespaces::IdMap]| -> Value {
        let map =
            |map: &namespaces::IdMap| json!({ "containerID": map.inside, "hostID": map.outside, "size": map.count });
        maps.iter().map(map).collect()
    };
    value["uidMappings"] = list(&maps.users);
    value["gidMappings"] = list(&maps.groups);
    if let Some(options) = value["options"].as_array_mut() {
        options.push("ridmap".into());
    }
    value
}

/// What is the container's own has its ids on disk: they are mapped as the layers' are, where it has ids of its own.
fn with_our_ids(mut mount: Value, plan: &Plan<'_>) -> Value {
    if let (Some(_), Some(options)) = (&plan.options.id_maps, mount["options"].as_array_mut()) {
        // Without maps of its own: those of the container's user namespace.
        options.push("ridmap".into());
    }
    mount
}

fn bind(source: &Path, target: &Path, options: &[&str]) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

fn kernel_file_systems(plan: &Plan<'_>) -> Vec<Value> {
    let privileged = plan.options.security.privileged;
    let access = if privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        // gid 5 is the group `tty` wherever there is one: its terminals can be written to with write(1).
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
    ];
    mounts.extend(shared_memory(plan));
    mounts.push(json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                        "options": ["nosuid", "noexec", "nodev"] }));
    // A sysfs shows a network namespace, and the kernel gives one only to who owns that. Rootless on
    // the host's network we do not, and take the host's mount as it is.
    if plan.rootless && plan.options.network.mode == NetworkMode::Host {
        mounts.push(json!({ "destination": "/sys", "type": "bind", "source": "/sys",
                            "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"] }));
    } else {
        mounts.push(json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                            "options": ["nosuid", "noexec", "nodev", access] }));
        mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                            "options": ["nosuid", "noexec", "nodev", access] }));
    }
    mounts
}

/// `/dev/shm`: the container's own, or that of whom it shares with, or none.
fn shared_memory(plan: &Plan<'_>) -> Option<Value> {
    let attributes = ["bind", "rprivate", "nosuid", "noexec", "nodev"];
    match (&plan.options.sharing.ipc, plan.places.shared_memory()) {
        (Ipc::NoSharedMemory, _) => None,
        (_, Some(source)) => Some(bind(&source, Path::new("/dev/shm"), &attributes)),
        (_, None) => {
            let size = format!("size={}", plan.options.shm_size.unwrap_or(SHM));
            Some(json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                         "options": ["nosuid", "noexec", "nodev", "mode=1777", size] }))
        }
    }
}
