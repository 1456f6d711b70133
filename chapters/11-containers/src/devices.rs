//! Devices of the machine that a container is given, and what it may take of the machine's disks.
//!
//! A device is a number; a node in `/dev` only names it. So two things are decided here: which nodes the container
//! sees, and which numbers its control group lets it open. One without the other is of no use.
//!
//! # References
//! mknod(2); kernel documentation, admin-guide/cgroup-v1/devices.rst

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use process::During as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::mounts::clean;
use crate::options::Resources;

/// `--device HOST[:CONTAINER][:rwm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// The node on the machine, or a directory with several.
    pub host: PathBuf,
    /// Where it is to be in the container.
    pub inside: PathBuf,
    /// Read, write, mknod: some of `rwm`.
    pub access: String,
}

impl DeviceRequest {
    /// A request from its three parts.
    ///
    /// # Errors
    /// [`Error::BadValue`]: a path that is not absolute, an access that is none.
    pub fn new(host: &str, inside: &str, access: &str) -> Result<Self> {
        let whole = || format!("{host}:{inside}:{access}");
        if !is_access(access) {
            return Err(Error::bad(DEVICE, whole(), "the access is some of r, w and m"));
        }
        // A name of the Container Device Interface is `vendor.com/class=name`.
        if !host.starts_with('/') && host.contains('=') {
            return Err(Error::bad(DEVICE, host, "not supported: devices by a CDI name; give the node's path"));
        }
        if !(host.starts_with('/') && inside.starts_with('/')) {
            return Err(Error::bad(DEVICE, whole(), "both paths must be absolute"));
        }
        Ok(Self { host: host.into(), inside: clean(Path::new(inside)), access: access.to_owned() })
    }

    /// The nodes that are meant, as they are on the machine now.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a path where no device is.
    pub(crate) fn find(&self) -> Result<Vec<Device>> {
        let shown = || self.host.display().to_string();
        let metadata = std::fs::metadata(&self.host)
            .map_err(|error| Error::bad(DEVICE, shown(), format!("no such device: {error}")))?;
        let mut found = Vec::new();
        if metadata.is_dir() {
            gather(&self.host, &self.inside, &mut found)?;
        } else {
            found.extend(Device::of(&self.host, &self.inside, &metadata));
        }
        if found.is_empty() {
            return Err(Error::bad(DEVICE, shown(), "it is no device"));
        }
        found.iter_mut().for_each(|device| device.access.clone_from(&self.access));
        Ok(found)
    }
}

const DEVICE: &str = "--device";

impl FromStr for DeviceRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split(':').collect::<Vec<_>>()[..] {
            [host] => Self::new(host, host, "rwm"),
            [host, access] if is_access(access) => Self::new(host, host, access),
            [host, inside] => Self::new(host, inside, "rwm"),
            [host, inside, access] => Self::new(host, inside, access),
            _ => Err(Error::bad(DEVICE, text, "expected HOST[:CONTAINER][:rwm]")),
        }
    }
}

/// Some of `rwm`, each once.
fn is_access(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().enumerate().all(|(at, byte)| b"rwm".contains(&byte) && !text.as_bytes()[..at].contains(&byte))
}

/// `--device-cgroup-rule`: `c 42:* rmw`, as v1's own `devices.allow` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// Absent for any.
    pub major: Option<u32>,
    /// Absent for any.
    pub minor: Option<u32>,
    /// Some of `rwm`.
    pub access: String,
}

impl FromStr for DeviceRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::bad(
                "--device-cgroup-rule",
                text,
                "expected KIND MAJOR:MINOR ACCESS, as \"c 1:3 mr\" or \"a *:* rwm\"",
            )
        };
        let number = |text: &str| match text {
            "*" => Some(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
            _ => None,
        };
        let words: Vec<&str> = text.split(' ').collect();
        let &[kind @ ("a" | "b" | "c"), numbers, access] = &words[..] else { return Err(bad()) };
        let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
        let (Some(major), Some(minor), true) = (number(major), number(minor), is_access(access)) else {
            return Err(bad());
        };
        let kind = kind.chars().next().unwrap_or('a');
        Ok(Self { kind, major, minor, access: access.to_owned() })
    }
}

/// As v1's `devices.allow` takes it.
impl std::fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl DeviceRule {
    /// In the OCI's form.
    pub(crate) fn document(&self) -> Value {
        rule(self.kind, self.major, self.minor, &self.access)
    }

    /// Everything: what `--privileged` gives.
    pub(crate) fn any() -> Self {
        Self { kind: 'a', major: None, minor: None, access: "rwm".to_owned() }
    }
}

fn rule(kind: char, major: Option<u32>, minor: Option<u32>, access: &str) -> Value {
    json!({ "allow": true, "type": kind.to_string(), "major": major, "minor": minor, "access": access })
}

/// A device node of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path there.
    pub host: PathBuf,
    /// Its path in the container.
    pub inside: PathBuf,
    /// `b` or `c`.
    pub kind: char,
    /// Major and minor.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// What the container may do with it.
    pub access: String,
}

impl Device {
    fn of(host: &Path, inside: &Path, metadata: &std::fs::Metadata) -> Option<Self> {
        let kind = match metadata.file_type() {
            kind if kind.is_block_device() => 'b',
            kind if kind.is_char_device() => 'c',
            _ => return None,
        };
        Some(Self {
            host: host.to_path_buf(),
            inside: inside.to_path_buf(),
            kind,
            number: number(metadata),
            mode: metadata.mode() & 0o777,
            owner: (metadata.uid(), metadata.gid()),
            access: "rwm".to_owned(),
        })
    }

    /// Every device of the machine: what `--privileged` gives.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut found = Vec::new();
        gather(Path::new("/dev"), Path::new("/dev"), &mut found)?;
        // What every container has of its own stays its own.
        found.retain(|device| !OWN.iter().any(|own| device.inside == Path::new(own)));
        Ok(found)
    }

    /// The node in the OCI's form.
    pub(crate) fn document(&self) -> Value {
        let (major, minor) = self.number;
        let (uid, gid) = self.owner;
        json!({ "path": self.inside, "type": self.kind.to_string(), "major": major, "minor": minor,
                "fileMode": self.mode, "uid": uid, "gid": gid })
    }

    /// What its control group is told about it.
    pub(crate) fn rule(&self) -> Value {
        rule(self.kind, Some(self.number.0), Some(self.number.1), &self.access)
    }
}

/// Nodes that a container's own `/dev` has in any case.
const OWN: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx"];

/// Directories of `/dev` whose nodes mean something only where they are.
const ELSEWHERE: [&str; 4] = ["pts", "shm", "fd", "mqueue"];

/// The nodes below a directory; links are not followed, and a node that goes away meanwhile is no error.
fn gather(host: &Path, inside: &Path, found: &mut Vec<Device>) -> Result<()> {
    for entry in std::fs::read_dir(host).during("read", host.display())? {
        let entry = entry.during("read", host.display())?;
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_dir() {
            found.extend(Device::of(&path, &inside.join(&name), &metadata));
        } else if !ELSEWHERE.iter().any(|other| name == *other) {
            gather(&path, &inside.join(&name), found)?;
        }
    }
    found.sort_by(|one, other| one.inside.cmp(&other.inside));
    Ok(())
}

fn number(metadata: &std::fs::Metadata) -> (u32, u32) {
    (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()))
}

/// `--device-read-bps PATH:RATE` and its three kin: bytes or operations a second of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRate {
    /// The disk's node on the machine.
    pub path: PathBuf,
    /// At most so many a second.
    pub rate: u64,
}

/// `--blkio-weight-device PATH:WEIGHT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWeight {
    /// The disk's node on the machine.
    pub path: PathBuf,
    /// 10 to 1000, or 0 for none.
    pub weight: u16,
}

/// The numbers of the disks that limits are about.
pub type Disks = BTreeMap<PathBuf, (u32, u32)>;

/// Looks up the disks that limits name.
///
/// # Errors
/// [`Error::BadValue`] for a path where no block device is.
pub(crate) fn disks(resources: &Resources) -> Result<Disks> {
    let mut disks = Disks::new();
    let weights = resources.blkio_weight_devices.iter().map(|disk| ("--blkio-weight-device", &disk.path));
    let rates = resources.disk_rates().into_iter();
    let rates = rates.flat_map(|(option, _, list)| list.iter().map(move |disk| (option, &disk.path)));
    for (option, path) in weights.chain(rates) {
        let bad = |reason: String| Error::bad(option, path.display().to_string(), reason);
        let metadata = std::fs::metadata(path).map_err(|error| bad(format!("no such disk: {error}")))?;
        if !metadata.file_type().is_block_device() {
            return Err(bad("it is no block device".into()));
        }
        disks.insert(path.clone(), number(&metadata));
    }
    Ok(disks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_is_written_in_one_to_three_parts() {
        let read = |text: &str| text.parse::<DeviceRequest>().map(|it| (it.host, it.inside, it.access));
        let parts = |host: &str, inside: &str, access: &str| (host.into(), inside.into(), access.to_owned());
        assert_eq!(read("/dev/fuse").unwrap(), parts("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(read("/dev/fuse:r").unwrap(), parts("/dev/fuse", "/dev/fuse", "r"));
        assert_eq!(read("/dev/fuse:/dev/x").unwrap(), parts("/dev/fuse", "/dev/x", "rwm"));
        assert_eq!(read("/dev/fuse:/dev/x:mw").unwrap(), parts("/dev/fuse", "/dev/x", "mw"));
        for wrong in
            ["", "fuse", "/dev/fuse:x", "/dev/fuse:/dev/x:rr", "/dev/fuse:/dev/x:q", "/a:/b:r:w", "v.com/gpu=0"]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_rule_is_v1_s() {
        let any = "c 42:* rmw".parse::<DeviceRule>().unwrap();
        assert_eq!((any.kind, any.major, any.minor, any.access.as_str()), ('c', Some(42), None, "rmw"));
        for wrong in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:+3 r", "c 1:3 rr", "c -1:3 r", "c 1:3  r"] {
            assert!(wrong.parse::<DeviceRule>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_device_is_named() {
        let find = |path: &str| path.parse::<DeviceRequest>().unwrap().find();
        assert_eq!(find("/dev/null").unwrap()[0].number, (1, 3));
        assert!(find("/no/such").unwrap_err().to_string().contains("no such device"));
        assert!(find("/etc/passwd").unwrap_err().to_string().contains("it is no device"));
        assert!(find("/dev").unwrap().iter().any(|device| device.inside == Path::new("/dev/null")));
        let rate = DiskRate { path: "/dev/null".into(), rate: 1 };
        let resources = Resources { device_read_bps: vec![rate], ..Resources::default() };
        assert!(disks(&resources).unwrap_err().to_string().contains("no block device"));
    }
}
