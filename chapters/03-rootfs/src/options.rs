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
    /// What is left: options of the file system itself.
    pub data: Vec<(String, Option<String>)>,
}

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
            "" | "defaults" | "async" | "nomand" => {}
            "rw" | "suid" | "dev" | "exec" | "atime" | "diratime" | "symfollow" => self.clear(option),
            // Their recursive forms take back what is asked for; what a submount has of itself stays.
            "rrw" | "rsuid" | "rdev" | "rexec" | "ratime" | "rdiratime" | "rsymfollow" => self.clear(&option[1..]),
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
            "tmpcopyup" | "copy-symlink" => {
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
    fn what_cannot_be_done_yet_is_refused_by_name() {
        assert!(MountOptions::parse(&["tmpcopyup"]).unwrap_err().to_string().contains("tmpcopyup"));
    }
}
