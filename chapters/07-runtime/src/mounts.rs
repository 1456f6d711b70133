//! The specification's mounts and devices, turned into chapter 3's.

use std::path::{Path, PathBuf};

use namespaces::IdMap;
use oci_spec::runtime::{LinuxDeviceType, Mount, Spec};
use rootfs::{Device, MountAttrFlags, MountEntry, MountInfo, MountOptions, Recursion, Source};
use rustix::fs::FileType;

use crate::error::Error;
use crate::prepared::Prepared;
use crate::spec::config;

/// The mounts of a specification, in its order.
///
/// `bundle` is where relative sources of bind mounts begin; `groups` is the group map of the container's user
/// namespace, for file systems that name a group; `prepared` is what the parent has mounted already.
///
/// # Errors
/// A mount that is malformed or not supported, by its place in the list.
pub fn entries(spec: &Spec, bundle: &Path, groups: &[IdMap], prepared: &Prepared) -> Result<Vec<MountEntry>, Error> {
    let mut entries = Vec::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let refused = |reason: String| config(&bundle.join("config.json"), &format!("mounts[{index}]"), reason);
        if !mount.destination().is_absolute() {
            return Err(refused(format!("destination {:?} is not absolute", mount.destination())));
        }
        let empty = Vec::new();
        let options = MountOptions::parse(mount.options().as_ref().unwrap_or(&empty));
        let mut options = options.map_err(|error| refused(error.to_string()))?;
        match mount.typ().as_deref() {
            Some("cgroup") => entries.extend(cgroup(mount, &options)?),
            _ if options.bind.is_some() || mount.typ().as_deref() == Some("bind") => {
                if let Some((name, _)) = options.data.first() {
                    return Err(refused(format!("option {name:?} is none of a bind mount")));
                }
                let entry = bind(mount, &options, bundle).ok_or_else(|| refused("no source".to_owned()))?;
                entries.push(prepared.instead_of(entry, index));
            }
            Some(kind) => {
                drop_unmapped_group(&mut options, groups);
                entries.push(filesystem(kind, mount, options));
            }
            None => return Err(refused("neither a type nor a bind mount".to_owned())),
        }
    }
    Ok(entries)
}

fn bind(mount: &Mount, options: &MountOptions, bundle: &Path) -> Option<MountEntry> {
    let source = mount.source().as_ref()?;
    Some(MountEntry {
        source: Source::Bind(bundle.join(source), options.bind.unwrap_or(Recursion::All)),
        target: mount.destination().clone(),
        attributes: options.attributes,
        reach: options.reach,
        propagation: options.propagation,
    })
}

fn filesystem(kind: &str, mount: &Mount, options: MountOptions) -> MountEntry {
    let source = mount.source().as_ref().map_or(kind.to_owned(), |source| source.display().to_string());
    MountEntry {
        source: Source::Filesystem { kind: kind.to_owned(), source, options: options.data },
        target: mount.destination().clone(),
        attributes: options.attributes,
        reach: Recursion::One,
        propagation: options.propagation,
    }
}

/// `gid=5`, the terminal group, has no meaning in a user namespace that maps only one group, and is EINVAL there.
fn drop_unmapped_group(options: &mut MountOptions, groups: &[IdMap]) {
    options.data.retain(|(key, value)| {
        let group = value.as_deref().and_then(|value| value.parse().ok());
        key != "gid" || group.is_none_or(|group| groups.iter().any(|map| map.outside_of(group).is_some()))
    });
}

/// The cgroup mount: the one tree of v2, or a tmpfs with every v1 hierarchy of this machine in it.
///
/// Each shows the container's own cgroup as its root, because it is mounted inside the cgroup namespace.
fn cgroup(mount: &Mount, options: &MountOptions) -> Result<Vec<MountEntry>, Error> {
    let target = mount.destination().clone();
    let entry = |kind: &str, data, target, attributes| MountEntry {
        source: Source::Filesystem { kind: kind.to_owned(), source: kind.to_owned(), options: data },
        target,
        attributes,
        reach: Recursion::One,
        propagation: None,
    };
    let own = MountInfo::read(Path::new("/proc/self/mountinfo"))?;
    let hierarchies: Vec<&MountInfo> = own.iter().filter(|mount| mount.kind == "cgroup").collect();
    if hierarchies.is_empty() {
        return Ok(vec![entry("cgroup2", Vec::new(), target, options.attributes)]);
    }
    let mode = vec![("mode".to_owned(), Some("755".to_owned()))];
    // The tmpfs stays writable until its directories are there; the whole of it is read-only in the end through
    // `read_only_afterwards`.
    let mut entries =
        vec![entry("tmpfs", mode, target.clone(), options.attributes - MountAttrFlags::MOUNT_ATTR_RDONLY)];
    let mut seen = Vec::new();
    for hierarchy in hierarchies {
        let Some(name) = hierarchy.target.file_name() else { continue };
        let data: Vec<_> = hierarchy.super_options.iter().filter(|option| is_hierarchy(option)).collect();
        if seen.contains(&data) {
            continue;
        }
        let options_of = data.iter().map(|option| match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => ((*option).clone(), None),
        });
        let data_of = if data.iter().any(|option| option.starts_with("name=")) {
            // A named hierarchy has no controller, which must be said.
            options_of.chain([("none".to_owned(), None)]).collect()
        } else {
            options_of.collect()
        };
        entries.push(entry("cgroup", data_of, target.join(name), options.attributes));
        seen.push(data);
    }
    Ok(entries)
}

/// Whether a mount option of a v1 hierarchy says which hierarchy it is.
fn is_hierarchy(option: &str) -> bool {
    !matches!(option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children") && !option.starts_with("release_agent=")
}

/// Mounts that were made writable so that others could be mounted in them, and must be read-only afterwards.
pub fn read_only_afterwards(spec: &Spec) -> Vec<PathBuf> {
    let wanted = |mount: &&Mount| {
        mount.typ().as_deref() == Some("cgroup")
            && mount.options().iter().flatten().any(|option| option == "ro" || option == "rro")
    };
    spec.mounts().iter().flatten().filter(wanted).map(|mount| mount.destination().clone()).collect()
}

/// The default devices and those of the specification; the latter win.
pub fn devices(spec: &Spec) -> Vec<Device> {
    let mut devices = rootfs::default_devices();
    for wanted in spec.linux().iter().filter_map(|linux| linux.devices().as_ref()).flatten() {
        devices.retain(|device| device.path != *wanted.path());
        let number = |number: i64| u32::try_from(number).unwrap_or_default();
        devices.push(Device {
            path: wanted.path().clone(),
            kind: match wanted.typ() {
                LinuxDeviceType::B => FileType::BlockDevice,
                LinuxDeviceType::P => FileType::Fifo,
                _ => FileType::CharacterDevice,
            },
            number: (number(wanted.major()), number(wanted.minor())),
            mode: wanted.file_mode().unwrap_or(0o666) & 0o777,
            owner: (wanted.uid().unwrap_or(0), wanted.gid().unwrap_or(0)),
        });
    }
    devices
}
