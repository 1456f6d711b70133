//! What programs expect to find mounted, as a list of data.

use std::path::Path;

use rustix::mount::MountAttrFlags;

use crate::mount::{MountEntry, Recursion, Source};

/// The mounts that every container gets unless its configuration says otherwise, in mounting order.
///
/// `/dev` is a small tmpfs, so that no device of the image counts; `/proc` shows the container's own
/// processes, because it is mounted from inside its pid namespace; `/sys` is read-only.
///
/// # References
/// OCI runtime spec, config-linux, "Default Filesystems"
pub fn standard_mounts() -> Vec<MountEntry> {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let nodev = safe | MountAttrFlags::MOUNT_ATTR_NODEV;
    vec![
        entry("proc", "/proc", &[], nodev),
        entry("tmpfs", "/dev", &[("mode", "755"), ("size", "65536k")], safe),
        entry("devpts", "/dev/pts", &[("mode", "0620"), ("ptmxmode", "0666")], safe),
        entry("tmpfs", "/dev/shm", &[("mode", "1777"), ("size", "65536k")], nodev),
        entry("mqueue", "/dev/mqueue", &[], nodev),
        entry("sysfs", "/sys", &[], nodev | MountAttrFlags::MOUNT_ATTR_RDONLY),
    ]
}

fn entry(kind: &str, target: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> MountEntry {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
    MountEntry {
        source: Source::Filesystem { kind: kind.to_owned(), source: kind.to_owned(), options },
        target: Path::new(target).to_owned(),
        attributes,
        reach: Recursion::One,
        propagation: None,
        copy_up: false,
    }
}

/// A directory of the machine, shown read-only at the same place inside.
pub fn borrowed(path: &Path) -> MountEntry {
    MountEntry {
        source: Source::Bind(path.to_owned(), Recursion::All),
        target: path.to_owned(),
        attributes: MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID,
        reach: Recursion::All,
        propagation: None,
        copy_up: false,
    }
}
