//! `/dev`: the few nodes that programs cannot do without.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use process::{CallError, During, step};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;

use crate::mount::{DetachedMount, Recursion};
use crate::root::Root;
use crate::sys;

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, as a path inside the root.
    pub path: PathBuf,
    /// Character or block device, or FIFO.
    pub kind: FileType,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner and group inside.
    pub owner: (u32, u32),
}

/// How nodes come into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSupply {
    /// `mknod`: needs CAP_MKNOD in the machine's own user namespace.
    Make,
    /// Bind mounts of the machine's nodes at the same path: what a user namespace can do.
    BindFromHost,
}

/// The devices that every container has.
///
/// # References
/// OCI runtime spec, config-linux, "Default Devices"
pub fn default_devices() -> Vec<Device> {
    let nodes = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    nodes
        .into_iter()
        .map(|(name, major, minor)| Device {
            path: Path::new("/dev").join(name),
            kind: FileType::CharacterDevice,
            number: (major, minor),
            mode: 0o666,
            owner: (0, 0),
        })
        .collect()
}

/// Links that programs expect in `/dev`: name and target.
const LINKS: [(&str, &str); 5] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/ptmx", "pts/ptmx"),
];

/// Puts devices and links into the root's `/dev`.
///
/// # Errors
/// The failing call, with the device's path.
// hole: supply-devices
pub fn supply(root: &Root, devices: &[Device], supply: DeviceSupply) -> Result<(), CallError> {
    for device in devices {
        let (major, minor) = device.number;
        step!(3, "mknod", "mknod(2)", "a device that programs need", "{} {major}:{minor}", device.path.display());
        // `/dev/cpu/0/msr`, when all of the machine's devices are asked for.
        if let Some(directory) = device.path.parent().filter(|directory| *directory != Path::new("/dev")) {
            drop(root.mkdir_all(directory, Mode::from_raw_mode(0o755))?);
        }
        match supply {
            DeviceSupply::Make => make(root, device)?,
            DeviceSupply::BindFromHost => bind(root, device)?,
        }
    }
    for (name, target) in LINKS {
        let (directory, link) = root.parent(Path::new(name))?;
        match rustix::fs::symlinkat(target, &directory, link.as_os_str()) {
            // An image that brings its own keeps it: it lies in a /dev that the image asked for.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during("symlink", name),
        }
    }
    Ok(())
}

fn make(root: &Root, device: &Device) -> Result<(), CallError> {
    let path = device.path.display();
    let (directory, name) = root.parent(&device.path)?;
    let number = makedev(device.number.0, device.number.1);
    // The mode is what was asked for, whatever umask we were started with.
    let before = rustix::process::umask(Mode::empty());
    let made = rustix::fs::mknodat(&directory, &*name, device.kind, Mode::from_raw_mode(device.mode), number);
    rustix::process::umask(before);
    match made {
        Ok(()) => {}
        Err(Errno::EXIST) => return check(root, device),
        Err(errno) => return Err(errno).during("mknod", path),
    }
    // By name, and a link would not be followed: the directory is a tmpfs of our own in which nobody else can exchange names yet.
    let (uid, gid) = (Uid::from_raw(device.owner.0), Gid::from_raw(device.owner.1));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&directory, &*name, Some(uid), Some(gid), flags).during("chown", path)
}

/// A node that is there already must be what it claims to be.
fn check(root: &Root, device: &Device) -> Result<(), CallError> {
    let node = root.open_in(&device.path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&node).during("fstat", device.path.display())?;
    let same = FileType::from_raw_mode(stat.st_mode) == device.kind
        && stat.st_rdev == makedev(device.number.0, device.number.1);
    if same {
        Ok(())
    } else {
        Err(CallError::refused("mknod", device.path.display(), "something else is in its place"))
    }
}

fn bind(root: &Root, device: &Device) -> Result<(), CallError> {
    let mount = DetachedMount::bind(&device.path, Recursion::One)?;
    match root.create_file(&device.path, Mode::from_raw_mode(0o666)) {
        Ok(file) => drop(file),
        Err(error) if error.errno() == nix::errno::Errno::EEXIST => {}
        Err(error) => return Err(error),
    }
    let stat = rustix::fs::fstat(&mount).during("fstat", device.path.display())?;
    let (major, minor) = device.number;
    if FileType::from_raw_mode(stat.st_mode) != device.kind || stat.st_rdev != makedev(major, minor) {
        let reason = format!("the machine has another node there than {major}:{minor}, and none can be made");
        return Err(CallError::refused("bind device", device.path.display(), reason));
    }
    let target = root.open_in(&device.path, OFlags::PATH | OFlags::NOFOLLOW)?;
    mount.attach(target.as_fd())
}

/// Shows the terminal on standard input as `/dev/console` of the current root.
///
/// The terminal is cloned from its descriptor: a path could be exchanged on the way (CVE-2025-52565).
///
/// # Errors
/// The failing call.
pub fn console() -> Result<(), CallError> {
    step!(3, "open_tree", "open_tree(2)", "the terminal is the console too", "/dev/console");
    let root = Root::open(Path::new("/"))?;
    let path = Path::new("/dev/console");
    match root.create_file(path, Mode::from_raw_mode(0o600)) {
        Ok(file) => drop(file),
        Err(error) if error.errno() == nix::errno::Errno::EEXIST => {}
        Err(error) => return Err(error),
    }
    let target = root.open_in(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&target).during("fstat", "/dev/console")?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(CallError::refused("mount on", "/dev/console", "a symbolic link is in its place"));
    }
    DetachedMount::bind_fd(sys::standard_input(), Recursion::One)?.attach(target.as_fd())
}
