//! Volumes that have to be mounted before a container can have them, and only as long as one does.
//!
//! A plain volume is a directory, and nothing has to be done. One with mount options (`-o type=nfs`), or one of a
//! plugin, is mounted for its first container and given back after its last. Who uses it stands in the run directory,
//! which a reboot empties together with the mounts:
//!
//! ```text
//!   run/volumes/NAME/ID        where its files are, for the container ID
//!   run/volumes/.parts/ID-N    a part of a volume, for as long as that container is being made
//! ```

use std::net::ToSocketAddrs as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use process::During as _;
use process::state::Lock;
use rootfs::{DetachedMount, MountAttrFlags, MountInfo, MountOptions, Recursion, Root};
use rustix::fs::{Mode, OFlags};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::paths::private_directory;
use crate::record::Container;
use crate::volumes::{MountKind, MountPoint, Volume};

impl Engine {
    /// The mounts of a container, with their sources where they are now: what has to be mounted for it is.
    ///
    /// # Errors
    /// A volume that is not here any more, and those of mounting it. What was mounted is for
    /// [`take_volumes_back`](Self::take_volumes_back) to release, in any case.
    pub(crate) fn lend_volumes(&self, container: &Container) -> Result<Vec<MountPoint>> {
        let mut mounts = container.record.mounts.clone();
        for point in &mut mounts {
            let MountKind::Volume { name, .. } = &point.kind else { continue };
            if point.lent {
                point.source = self.lend(&self.volumes().find(name)?, container.id())?;
            }
        }
        Ok(mounts)
    }

    fn lend(&self, volume: &Volume, id: &ContainerId) -> Result<PathBuf> {
        let directory = self.lent_directory().join(&volume.name);
        private_directory(&directory)?;
        let _lock = Lock::exclusive(&self.lent_directory().join(".lock"))?;
        let note = directory.join(id.as_str());
        match std::fs::read_to_string(&note) {
            // For another mount of the same container.
            Ok(path) if !path.is_empty() => return Ok(path.into()),
            _ => {}
        }
        // Before anything is mounted: what is noted will be released.
        std::fs::write(&note, "").during("write", note.display())?;
        let source = match self.volumes().plugin(volume)? {
            Some(plugin) => plugin.mount(&volume.name, id.as_str())?,
            None => {
                let data = self.volumes().data(&volume.name);
                if !is_mounted(&data)? {
                    mount(volume, &data)?;
                }
                data
            }
        };
        std::fs::write(&note, source.as_os_str().as_encoded_bytes()).during("write", note.display())?;
        Ok(source)
    }

    /// Gives back what was mounted for a container; fine if nothing was.
    ///
    /// # Errors
    /// The first refusal. What is noted still can be tried again.
    pub(crate) fn take_volumes_back(&self, id: &ContainerId) -> Result<()> {
        let Ok(volumes) = std::fs::read_dir(self.lent_directory()) else { return Ok(()) };
        let mut outcome = self.forget_parts(id);
        for directory in volumes.flatten().map(|entry| entry.path()).filter(|path| path.join(id.as_str()).exists()) {
            outcome = outcome.and(self.take_back(&directory, id));
        }
        outcome
    }

    fn take_back(&self, directory: &Path, id: &ContainerId) -> Result<()> {
        let _lock = Lock::exclusive(&self.lent_directory().join(".lock"))?;
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let users = std::fs::read_dir(directory).during("read", directory.display())?.count();
        if let Ok(volume) = self.volumes().find(&name) {
            let data = self.volumes().data(&name);
            match self.volumes().plugin(&volume)? {
                Some(plugin) => plugin.unmount(&name, id.as_str())?,
                None if users == 1 && is_mounted(&data)? => {
                    umount2(&data, MntFlags::MNT_DETACH).during("umount", data.display())?;
                }
                None => {}
            }
        }
        let note = directory.join(id.as_str());
        std::fs::remove_file(&note).during("unlink", note.display())?;
        // Not empty where others use it still.
        let _ = std::fs::remove_dir(directory);
        Ok(())
    }

    fn lent_directory(&self) -> PathBuf {
        self.paths().run.join("volumes")
    }
}

/// Parts of volumes (`volume-subpath`), mounted where nobody can lead them elsewhere before the container has them.
///
/// A path inside a volume is another container's to change. So it is resolved once, inside the volume whatever links say,
/// and what was found is mounted in a place of our own; init, which has mounts of its own, finds it there.
pub(crate) struct Parts {
    places: Vec<PathBuf>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        for place in &self.places {
            // What fails now is tried again when the container's volumes are taken back.
            let _ = forget_part(place);
        }
    }
}

impl Engine {
    /// Mounts the parts that a container wants, and makes them the sources of its mounts.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a part that is not there.
    pub(crate) fn mount_parts(&self, id: &ContainerId, mounts: &mut [MountPoint]) -> Result<Parts> {
        let (directory, mut parts) = (self.lent_directory().join(PARTS), Parts { places: Vec::new() });
        for (number, point) in mounts.iter_mut().enumerate() {
            let Some(part) = open_part(point)? else { continue };
            let mounted = DetachedMount::bind_fd(part.as_fd(), Recursion::All)?;
            private_directory(&directory)?;
            let place = directory.join(format!("{id}-{number}"));
            match mounted.is_directory()? {
                true => std::fs::create_dir(&place).during("mkdir", place.display())?,
                false => drop(std::fs::File::create_new(&place).during("create", place.display())?),
            }
            parts.places.push(place.clone());
            let target = rustix::fs::open(&place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
            mounted.attach(target.during("open", place.display())?.as_fd())?;
            point.source = place;
        }
        Ok(parts)
    }

    /// Takes away the parts that a crash left mounted.
    fn forget_parts(&self, id: &ContainerId) -> Result<()> {
        let Ok(places) = std::fs::read_dir(self.lent_directory().join(PARTS)) else { return Ok(()) };
        let ours =
            |place: &PathBuf| place.file_name().is_some_and(|name| name.to_string_lossy().starts_with(id.as_str()));
        places.flatten().map(|entry| entry.path()).filter(ours).try_for_each(|place| forget_part(&place))
    }
}

/// Where parts are mounted, among the lent volumes; no volume's name begins with a dot.
const PARTS: &str = ".parts";

fn forget_part(place: &Path) -> Result<()> {
    match umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // It was made and not yet mounted on.
        Err(nix::errno::Errno::EINVAL) => {}
        unmounted => unmounted.during("umount", place.display())?,
    }
    // Never with what is in it: if it were a mount still, that would be the volume's files.
    let removed = if place.is_dir() { std::fs::remove_dir(place) } else { std::fs::remove_file(place) };
    Ok(removed.during("remove", place.display())?)
}

/// Opens the part of its volume that a mount is of; `None` for a whole volume.
pub(crate) fn open_part(point: &MountPoint) -> Result<Option<OwnedFd>> {
    let Some(subpath) = &point.subpath else { return Ok(None) };
    let missing = |error| {
        let reason = format!("the volume has no such path: {error}");
        Error::bad("volume-subpath", subpath.display().to_string(), reason)
    };
    let opened = Root::open(&point.source)?.open_in(subpath, OFlags::PATH | OFlags::CLOEXEC);
    opened.map(Some).map_err(missing)
}

fn is_mounted(data: &Path) -> Result<bool> {
    let mounts = MountInfo::read(Path::new("/proc/self/mountinfo"))?;
    let data = std::fs::canonicalize(data).during("resolve", data.display())?;
    Ok(mounts.iter().any(|mount| mount.target == data))
}

/// What the driver `local` can be told.
const OPTIONS: [&str; 3] = ["type", "o", "device"];

/// Finds what is wrong with a volume's options before it is made.
///
/// # Errors
/// [`Error::BadValue`].
pub(crate) fn check_options(options: &std::collections::BTreeMap<String, String>) -> Result<()> {
    if let Some(name) = options.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
        return Err(Error::bad("--opt", name, "invalid option: the driver local knows type, device and o"));
    }
    if options.is_empty() || options.get("device").is_some_and(|device| !device.is_empty()) {
        return Ok(());
    }
    Err(Error::bad("--opt", "device", "missing device in volume options"))
}

/// Mounts a volume on its own directory, in the engine's mount namespace.
fn mount(volume: &Volume, data: &Path) -> Result<()> {
    let option = |name: &str| volume.options.get(name).map_or("", String::as_str);
    let words: Vec<&str> = option("o").split(',').filter(|word| !word.is_empty()).collect();
    let mut options = MountOptions::parse(&words)?;
    let (kind, device) = (option("type"), option("device"));
    let mounted = match options.bind {
        Some(recursion) => bind(device, recursion, &options)?,
        None if matches!(kind, "" | "none") => {
            return Err(Error::bad("--opt", "type", "which file system? (or o=bind for a directory of the machine)"));
        }
        None => {
            if kind.starts_with("nfs") || kind == "cifs" {
                resolve_address(&mut options.data)?;
            }
            DetachedMount::filesystem(kind, device, &options.data, options.attributes)?
        }
    };
    if let Some((propagation, reach)) = options.propagation {
        mounted.propagate(propagation, reach)?;
    }
    let target = rustix::fs::open(data, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    Ok(mounted.attach(target.during("open", data.display())?.as_fd())?)
}

fn bind(device: &str, recursion: Recursion, options: &MountOptions) -> Result<DetachedMount> {
    if !Path::new(device).is_absolute() {
        return Err(Error::bad("--opt", format!("device={device}"), "a directory's path is absolute"));
    }
    let mounted = DetachedMount::bind(Path::new(device), recursion)?;
    if options.attributes != MountAttrFlags::empty() {
        mounted.set(options.attributes, options.reach)?;
    }
    Ok(mounted)
}

/// The kernel wants a server's address where people write its name.
fn resolve_address(options: &mut [(String, Option<String>)]) -> Result<()> {
    for (name, value) in options.iter_mut().filter(|(name, _)| name == "addr") {
        let host = value.clone().unwrap_or_default();
        let bad = |reason: String| Error::bad("--opt", format!("o={name}={host}"), reason);
        let found = (host.as_str(), 0).to_socket_addrs().map_err(|error| bad(error.to_string()))?.next();
        *value = Some(found.ok_or_else(|| bad("no address".into()))?.ip().to_string());
    }
    Ok(())
}
