//! The specification's mounts and devices, turned into chapter 3's.

use std::path::{Path, PathBuf};

use namespaces::IdMap;
use oci_spec::runtime::{LinuxDeviceType, Mount, Spec};
use privileges::{Label, SecurityModule};
use rootfs::options::OF_SUPERBLOCKS;
use rootfs::{Device, MountAttrFlags, MountEntry, MountOptions, Recursion, Source};
use rustix::fs::FileType;

use crate::cgroup_mount;
use crate::error::Error;
use crate::prepared::Prepared;
use crate::spec::{config, refuse};

/// The mounts of a specification, in its order.
///
/// `id` is the container's; `bundle` is where relative sources of bind mounts begin; `groups` is the group map of the container's user
/// namespace, for file systems that name a group; `prepared` is what the parent has mounted already.
///
/// # Errors
/// A mount that is malformed or not supported, by its place in the list.
pub fn entries(
    spec: &Spec,
    id: &str,
    bundle: &Path,
    groups: &[IdMap],
    prepared: &Prepared,
) -> Result<Vec<MountEntry>, Error> {
    let mut entries = Vec::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let refused = |reason: String| config(&bundle.join("config.json"), &format!("mounts[{index}]"), reason);
        let empty = Vec::new();
        let options = MountOptions::parse(mount.options().as_ref().unwrap_or(&empty));
        let mut options = options.map_err(|error| refused(error.to_string()))?;
        match mount.typ().as_deref() {
            _ if options.remount => entries.push(remount(mount, &options)),
            Some(kind) if options.copy_up && kind != "tmpfs" => {
                return Err(refused(format!("option \"tmpcopyup\" is none of a {kind}")));
            }
            Some("cgroup") => entries.extend(cgroup_mount::entries(spec, id, &target(mount), options.attributes)?),
            _ if options.bind.is_some() || mount.typ().as_deref() == Some("bind") => {
                let known = |name: &String| OF_SUPERBLOCKS.contains(&name.as_str());
                if let Some((name, _)) = options.data.iter().find(|(name, _)| !known(name)) {
                    return Err(refused(format!("option {name:?} is none of a bind mount")));
                }
                let entry = bind(mount, &options, bundle).ok_or_else(|| refused("no source".to_owned()))?;
                entries.push(prepared.instead_of(entry, index));
            }
            Some(kind) => {
                drop_unmapped_group(&mut options, groups);
                options.data.extend(label(spec, kind)?);
                entries.push(filesystem(kind, mount, options));
            }
            None => return Err(refused("neither a type nor a bind mount".to_owned())),
        }
    }
    Ok(entries)
}

/// Where: old configurations write paths that begin at the root, and leave the slash out.
fn target(mount: &Mount) -> PathBuf {
    Path::new("/").join(mount.destination())
}

fn remount(mount: &Mount, options: &MountOptions) -> MountEntry {
    MountEntry {
        source: Source::Mounted,
        target: target(mount),
        attributes: options.attributes,
        reach: options.reach,
        propagation: None,
        copy_up: false,
    }
}

/// The label that SELinux gives a new file system's files. One that nobody would enforce is refused; file systems of the
/// kernel's own take none.
fn label(spec: &Spec, kind: &str) -> Result<Option<(String, Option<String>)>, Error> {
    let wanted = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    let label = Label::wanted(SecurityModule::SELinux, wanted.unwrap_or_default(), SecurityModule::is_active);
    let label = label.map_err(|error| refuse("linux.mountLabel", error.to_string()))?;
    let takes_none = ["proc", "sysfs", "cgroup", "cgroup2", "devpts"].contains(&kind);
    Ok(label.filter(|_| !takes_none).map(|label| ("context".to_owned(), Some(label.text))))
}

fn bind(mount: &Mount, options: &MountOptions, bundle: &Path) -> Option<MountEntry> {
    let source = mount.source().as_ref()?;
    Some(MountEntry {
        source: Source::Bind(bundle.join(source), options.bind.unwrap_or(Recursion::All)),
        target: target(mount),
        attributes: options.attributes,
        reach: if is_kernel_s(mount, options) { Recursion::All } else { options.reach },
        propagation: options.propagation,
        copy_up: false,
    })
}

/// The machine's `/sys`, shown read-only as rootless configurations do, has the machine's control groups mounted in it. Those
/// shall not stay writable (CVE-2023-25809), whatever `ro` means elsewhere.
fn is_kernel_s(mount: &Mount, options: &MountOptions) -> bool {
    target(mount).starts_with("/sys") && options.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn filesystem(kind: &str, mount: &Mount, options: MountOptions) -> MountEntry {
    let source = mount.source().as_ref().map_or(kind.to_owned(), |source| source.display().to_string());
    MountEntry {
        source: Source::Filesystem { kind: kind.to_owned(), source, options: options.data },
        target: target(mount),
        attributes: options.attributes,
        reach: Recursion::One,
        propagation: options.propagation,
        copy_up: options.copy_up,
    }
}

/// `gid=5`, the terminal group, has no meaning in a user namespace that maps only one group, and is EINVAL there.
fn drop_unmapped_group(options: &mut MountOptions, groups: &[IdMap]) {
    options.data.retain(|(key, value)| {
        let group = value.as_deref().and_then(|value| value.parse().ok());
        key != "gid" || group.is_none_or(|group| groups.iter().any(|map| map.outside_of(group).is_some()))
    });
}

/// Mounts that were made writable so that others could be mounted in them, and must be read-only afterwards.
pub fn read_only_afterwards(spec: &Spec) -> Vec<PathBuf> {
    let wanted = |mount: &&Mount| {
        mount.typ().as_deref() == Some("cgroup")
            && mount.options().iter().flatten().any(|option| option == "ro" || option == "rro")
    };
    spec.mounts().iter().flatten().filter(wanted).map(target).collect()
}

/// The default devices and those of the specification; the latter win.
///
/// # Errors
/// A kind of node that is none; a number that does not fit.
pub fn devices(spec: &Spec) -> Result<Vec<Device>, Error> {
    let mut devices = rootfs::default_devices();
    for wanted in spec.linux().iter().filter_map(|linux| linux.devices().as_ref()).flatten() {
        devices.retain(|device| device.path != *wanted.path());
        let number = |number: i64| {
            u32::try_from(number).map_err(|_| refuse("linux.devices", format!("{number} is no number of a device")))
        };
        devices.push(Device {
            path: wanted.path().clone(),
            kind: match wanted.typ() {
                LinuxDeviceType::B => FileType::BlockDevice,
                LinuxDeviceType::P => FileType::Fifo,
                LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
                LinuxDeviceType::A => return Err(refuse("linux.devices", "\"a\" is no type of a node")),
            },
            number: if wanted.typ() == LinuxDeviceType::P {
                (0, 0)
            } else {
                (number(wanted.major())?, number(wanted.minor())?)
            },
            mode: wanted.file_mode().unwrap_or(0o666) & 0o777,
            owner: (wanted.uid().unwrap_or(0), wanted.gid().unwrap_or(0)),
        });
    }
    Ok(devices)
}
