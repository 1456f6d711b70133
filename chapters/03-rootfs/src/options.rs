//! Mount options as people and runtime specs write them, sorted into what each of them is.

use process::CallError;
use rustix::mount::MountAttrFlags;

use crate::mount::{Propagation, Recursion};

/// A list of options, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// A bind mount, and how deep.
    pub bind: Option<Recursion>,
    /// Whether owners are mapped, and how deep (`idmap`, `ridmap`).
    pub id_map: Option<Recursion>,
    /// Attributes of the mount.
    pub attributes: MountAttrFlags,
    /// Whether the attributes hold for submounts too (`rro` and its like).
    pub reach: Recursion,
    /// Propagation, and how far down.
    pub propagation: Option<(Propagation, Recursion)>,
    /// Change the mount that is there already.
    pub remount: bool,
    /// A tmpfs that begins with what the image has in its place.
    pub copy_up: bool,
    /// What is left: options of the file system itself.
    pub data: Vec<(String, Option<String>)>,
}

/// Every option that is understood, whatever file system it stands beside. What is in no list is the file system's own.
#[rustfmt::skip]
pub const NAMES: [&str; 61] = [
    "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "idmap", "iversion", "lazytime", "loud",
    "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime",
    "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount", "rexec", "ridmap",
    "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro",
    "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow", "runbindable",
    "rw", "shared", "silent", "slave", "strictatime", "suid", "symfollow", "sync", "tmpcopyup", "unbindable",
];

/// Of these, what a superblock has: for a bind mount, which shares one, they mean nothing, as to mount(8).
pub const OF_SUPERBLOCKS: [&str; 4] = ["dirsync", "lazytime", "mand", "sync"];

/// `MOUNT_ATTR_NOSYMFOLLOW`, Linux 5.14: no link of this mount is followed.
const NOSYMFOLLOW: MountAttrFlags = MountAttrFlags::from_bits_retain(0x0020_0000);

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            bind: None,
            id_map: None,
            attributes: MountAttrFlags::empty(),
            reach: Recursion::One,
            propagation: None,
            remount: false,
            copy_up: false,
            data: Vec::new(),
        }
    }
}

impl MountOptions {
    /// Sorts options. Later ones win over earlier ones, as with mount(8).
    ///
    /// # Errors
    /// An option that this engine knows and cannot do yet is refused by name. An unknown one is taken for the
    /// file system's own, which the kernel will refuse if it is not.
    ///
    /// # References
    /// mount(8); OCI runtime spec, "Linux mount options"
    pub fn parse<T: AsRef<str>>(options: &[T]) -> Result<Self, CallError> {
        let mut parsed = Self::default();
        for option in options {
            parsed.take(option.as_ref())?;
        }
        Ok(parsed)
    }

    fn take(&mut self, option: &str) -> Result<(), CallError> {
        use Propagation::{Private, Shared, Slave, Unbindable};
        use Recursion::{All, One};
        match option {
            "" | "defaults" => {}
            // How much the kernel logs; what it counts by itself wherever a file system can (Linux 6.1).
            "silent" | "loud" | "iversion" | "noiversion" => {}
            // What a superblock has unless it is asked for something else.
            "async" => self.data.retain(|(key, _)| key != "sync"),
            "nolazytime" => self.data.retain(|(key, _)| key != "lazytime"),
            "nomand" => self.data.retain(|(key, _)| key != "mand"),
            "remount" => self.remount = true,
            "rw" | "suid" | "dev" | "exec" | "atime" | "diratime" | "symfollow" | "norelatime" | "nostrictatime" => {
                self.clear(option);
            }
            // Their recursive forms take back what is asked for; what a submount has of itself stays.
            "rrw" | "rsuid" | "rdev" | "rexec" | "ratime" | "rdiratime" | "rsymfollow" | "rnorelatime"
            | "rnostrictatime" => self.clear(&option[1..]),
            "bind" => self.bind = Some(One),
            "rbind" => self.bind = Some(All),
            "private" => self.propagation = Some((Private, One)),
            "rprivate" => self.propagation = Some((Private, All)),
            "slave" => self.propagation = Some((Slave, One)),
            "rslave" => self.propagation = Some((Slave, All)),
            "shared" => self.propagation = Some((Shared, One)),
            "rshared" => self.propagation = Some((Shared, All)),
            "unbindable" => self.propagation = Some((Unbindable, One)),
            "runbindable" => self.propagation = Some((Unbindable, All)),
            "idmap" => self.id_map = Some(One),
            "ridmap" => self.id_map = Some(All),
            "tmpcopyup" => self.copy_up = true,
            "copy-symlink" | "src-nofollow" | "dest-nofollow" => {
                return Err(CallError::refused("read mount option", option, "not supported"));
            }
            _ => match attribute(option) {
                Some((flag, reach)) => {
                    self.attributes |= flag;
                    if reach == All {
                        self.reach = All;
                    }
                }
                None => {
                    let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
                    self.data.push((key.to_owned(), value.map(str::to_owned)));
                }
            },
        }
        Ok(())
    }

    /// Takes back the attribute whose opposite is named.
    fn clear(&mut self, option: &str) {
        let opposite = match option {
            "rw" => MountAttrFlags::MOUNT_ATTR_RDONLY,
            "suid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
            "dev" => MountAttrFlags::MOUNT_ATTR_NODEV,
            "exec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "atime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
            "diratime" => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "symfollow" => NOSYMFOLLOW,
            "nostrictatime" => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            _ => MountAttrFlags::empty(),
        };
        self.attributes.remove(opposite);
    }
}

fn attribute(option: &str) -> Option<(MountAttrFlags, Recursion)> {
    let one = |flag| Some((flag, Recursion::One));
    let all = |flag| Some((flag, Recursion::All));
    match option {
        "ro" => one(MountAttrFlags::MOUNT_ATTR_RDONLY),
        "rro" => all(MountAttrFlags::MOUNT_ATTR_RDONLY),
        "nosuid" => one(MountAttrFlags::MOUNT_ATTR_NOSUID),
        "rnosuid" => all(MountAttrFlags::MOUNT_ATTR_NOSUID),
        "nodev" => one(MountAttrFlags::MOUNT_ATTR_NODEV),
        "rnodev" => all(MountAttrFlags::MOUNT_ATTR_NODEV),
        "noexec" => one(MountAttrFlags::MOUNT_ATTR_NOEXEC),
        "rnoexec" => all(MountAttrFlags::MOUNT_ATTR_NOEXEC),
        "noatime" => one(MountAttrFlags::MOUNT_ATTR_NOATIME),
        "strictatime" => one(MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        "rnoatime" => all(MountAttrFlags::MOUNT_ATTR_NOATIME),
        "rstrictatime" => all(MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        // What a mount has when nothing is said.
        "relatime" => one(MountAttrFlags::MOUNT_ATTR_RELATIME),
        "rrelatime" => all(MountAttrFlags::MOUNT_ATTR_RELATIME),
        "nodiratime" => one(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        "rnodiratime" => all(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => one(NOSYMFOLLOW),
        "rnosymfollow" => all(NOSYMFOLLOW),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted_into_what_they_are() {
        let parsed = MountOptions::parse(&["rbind", "ro", "rprivate", "nosuid", "mode=755", "newinstance"]).unwrap();
        assert_eq!(parsed.bind, Some(Recursion::All));
        assert_eq!(parsed.attributes, MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID);
        assert_eq!(parsed.propagation, Some((Propagation::Private, Recursion::All)));
        assert_eq!(parsed.data, [("mode".into(), Some("755".into())), ("newinstance".into(), None)]);
    }

    #[test]
    fn the_later_of_two_opposites_wins() {
        assert!(MountOptions::parse(&["ro", "rw"]).unwrap().attributes.is_empty());
    }

    #[test]
    fn recursive_forms_reach_below_and_have_opposites_too() {
        let parsed = MountOptions::parse(&["rbind", "rro", "rnosymfollow"]).unwrap();
        assert_eq!(parsed.reach, Recursion::All);
        assert_eq!(parsed.attributes, MountAttrFlags::MOUNT_ATTR_RDONLY | NOSYMFOLLOW);
        assert!(MountOptions::parse(&["rro", "rrw", "nosuid", "rsuid"]).unwrap().attributes.is_empty());
        assert_eq!(MountOptions::parse(&["bind", "ridmap"]).unwrap().id_map, Some(Recursion::All));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        assert!(MountOptions::parse(&["copy-symlink"]).unwrap_err().to_string().contains("copy-symlink"));
    }

    #[test]
    fn whatever_is_claimed_to_be_understood_is_not_taken_for_a_file_system_s_own() {
        for name in NAMES {
            let parsed = MountOptions::parse(&[name]).unwrap();
            let own = parsed.data.iter().all(|(key, _)| OF_SUPERBLOCKS.contains(&key.as_str()));
            assert!(own, "{name}: {:?}", parsed.data);
        }
    }
}
