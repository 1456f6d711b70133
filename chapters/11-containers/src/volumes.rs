//! Volumes: directories of the engine that outlive containers.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use process::During as _;
use process::state::{self, Lock};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{check_name, random_hex};
use crate::lending::check_options;
use crate::owners::Owners;
use crate::paths::{Paths, private_directory};
use crate::plugins::Plugin;

/// A mount of a container with its source found or made: `Mounts` of `docker inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What is mounted.
    pub kind: MountKind,
    /// The host's path; empty for a tmpfs.
    pub source: PathBuf,
    /// Where, in the container.
    pub target: PathBuf,
    /// Whether the container may not write.
    pub read_only: bool,
    /// `rprivate` and its kin.
    pub propagation: Option<String>,
    /// Whose files are whose, where that differs.
    #[serde(default)]
    pub owners: Option<Owners>,
    /// Only this part of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
    /// Whether the volume stays without the image's content.
    #[serde(default)]
    pub no_copy: bool,
    /// Whether the volume has to be mounted for the container, by a plugin or with mount options.
    #[serde(default)]
    pub lent: bool,
    /// The volume's driver; absent for `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// Whether nobody gave it that name: it goes with the container under `--rm` and `rm -v`.
        anonymous: bool,
    },
    /// Memory.
    Tmpfs {
        /// Mount options.
        options: String,
    },
}

/// A volume: `volumes/NAME/volume.json` and `volumes/NAME/_data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether nobody gave it its name.
    pub anonymous: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who provides its files: `local`, or a plugin.
    #[serde(default = "local")]
    pub driver: String,
    /// What the driver was told: `type`, `device` and `o` of a mount for `local`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// The driver that needs nobody.
pub const LOCAL: &str = "local";

fn local() -> String {
    LOCAL.to_owned()
}

impl Volume {
    /// Whether its files are there only while it is mounted.
    pub(crate) fn is_lent(&self) -> bool {
        self.driver != LOCAL || !self.options.is_empty()
    }

    /// Whether what is written to it is gone when nobody has it mounted.
    pub(crate) fn is_memory(&self) -> bool {
        self.options.get("type").is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
    }
}

/// What is asked of a new volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeRequest {
    /// Its name; a random one, and the volume anonymous, if absent.
    pub name: Option<String>,
    /// `--driver`; `local` if absent.
    pub driver: Option<String>,
    /// `-o`.
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

/// The volumes of an engine.
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
    plugins: PathBuf,
}

impl Volumes {
    pub(crate) fn of(paths: &Paths) -> Self {
        Self { directory: paths.volumes(), plugins: paths.data.join("plugins") }
    }

    /// Makes a volume, or finds the one that has the name. `true` if it is new and so without content.
    ///
    /// # Errors
    /// A name that is none, and those of the file system.
    pub fn ensure(&self, name: Option<&str>) -> Result<(Volume, bool)> {
        self.make(&VolumeRequest { name: name.map(str::to_owned), ..VolumeRequest::default() })
    }

    /// The same with a driver, options and labels, which count only for a new one.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a driver that is not here, options that it does not know, and a volume of that name that has
    /// another driver; those of [`ensure`](Self::ensure).
    pub fn make(&self, request: &VolumeRequest) -> Result<(Volume, bool)> {
        let (name, anonymous) = match &request.name {
            Some(name) => (name.clone(), false),
            None => (random_hex()?, true),
        };
        check_name("volume", &name)?;
        let driver = request.driver.clone().filter(|driver| !driver.is_empty()).unwrap_or_else(local);
        if driver == LOCAL {
            check_options(&request.options)?;
        }
        let _lock = Lock::exclusive(&self.directory.join(".lock"))?;
        let file = self.directory.join(&name).join("volume.json");
        if let Some(volume) = state::read_json_if_there::<Volume>(&file)? {
            let same = request.driver.is_none() || volume.driver == driver;
            let reason = || format!("there is a volume of that name already, with the driver {}", volume.driver);
            return if same { Ok((volume, false)) } else { Err(Error::bad("volume", &name, reason())) };
        }
        let (labels, options) = (request.labels.clone(), request.options.clone());
        let volume = Volume { name: name.clone(), created: Timestamp::now(), anonymous, labels, driver, options };
        if let Some(plugin) = self.plugin(&volume)? {
            plugin.create(&volume.name, &volume.options)?;
        }
        private_directory(&self.directory.join(&name))?;
        // Whoever the container's user is must be able to reach it; the engine's root above is closed to everybody else.
        let data = self.data(&name);
        std::fs::create_dir_all(&data).during("mkdir", data.display())?;
        std::fs::set_permissions(&data, Permissions::from_mode(0o755)).during("chmod", data.display())?;
        state::write_json(&file, &volume)?;
        Ok((volume, true))
    }

    /// Held while a container is made, from the moment at which its volumes are found until its record says that it uses them.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn in_use(&self) -> Result<Lock> {
        Ok(Lock::shared(&self.directory.join(".in-use"))?)
    }

    /// Held while a volume that nobody uses is removed: nobody can begin to use it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn unused(&self) -> Result<Lock> {
        Ok(Lock::exclusive(&self.directory.join(".in-use"))?)
    }

    /// Who provides a volume's files, if that is another program.
    pub(crate) fn plugin(&self, volume: &Volume) -> Result<Option<Plugin>> {
        match volume.driver.as_str() {
            LOCAL => Ok(None),
            name => Plugin::find(name, &self.plugins).map(Some),
        }
    }

    /// Where a volume's files are, or would be if it were mounted: for people to read. Empty where its plugin does not say.
    pub fn mount_point(&self, volume: &Volume) -> PathBuf {
        match self.plugin(volume) {
            Ok(None) => self.data(&volume.name),
            Ok(Some(plugin)) => plugin.path(&volume.name).unwrap_or_default(),
            Err(_) => PathBuf::new(),
        }
    }

    /// The directory of a volume of the driver `local`.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.join(name).join("_data")
    }

    /// Every volume, by name.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut volumes: Vec<Volume> = Vec::new();
        for entry in std::fs::read_dir(&self.directory).during("read", self.directory.display())? {
            let path = entry.during("read", self.directory.display())?.path().join("volume.json");
            volumes.extend(state::read_json_if_there::<Volume>(&path).ok().flatten());
        }
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(volumes)
    }

    /// Finds a volume by its whole name.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`].
    pub fn find(&self, name: &str) -> Result<Volume> {
        check_name("volume", name).map_err(|_| Error::NoSuchVolume(name.to_owned()))?;
        let file = self.directory.join(name).join("volume.json");
        state::read_json_if_there(&file)?.ok_or_else(|| Error::NoSuchVolume(name.to_owned()))
    }

    /// Removes a volume and everything in it. Whether a container uses it is for the engine to know.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let volume = self.find(name)?;
        let _lock = Lock::exclusive(&self.directory.join(".lock"))?;
        if let Some(plugin) = self.plugin(&volume)? {
            plugin.remove(&volume.name)?;
        }
        let directory = self.directory.join(&volume.name);
        // Its description first: a crash in between leaves nothing that looks like a volume, and sweep the rest to do.
        let description = directory.join("volume.json");
        std::fs::remove_file(&description).during("unlink", description.display())?;
        std::fs::remove_dir_all(&directory).during("remove", directory.display())?;
        Ok(())
    }

    /// Removes what crashes left: volumes that were never described, or whose removal had begun.
    pub(crate) fn sweep(&self) -> Result<()> {
        let _lock = Lock::exclusive(&self.directory.join(".lock"))?;
        for entry in std::fs::read_dir(&self.directory).during("read", self.directory.display())? {
            let path = entry.during("read", self.directory.display())?.path();
            if path.is_dir() && !path.join("volume.json").exists() {
                std::fs::remove_dir_all(&path).during("remove", path.display())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_crash_left_of_a_volume_is_swept_and_whole_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes { directory: directory.path().to_path_buf(), plugins: directory.path().join("plugins") };
        volumes.ensure(Some("whole")).unwrap();
        std::fs::create_dir_all(directory.path().join("half/_data/sub")).unwrap();
        volumes.sweep().unwrap();
        assert!(!directory.path().join("half").exists());
        assert!(volumes.data("whole").is_dir());
        volumes.remove("whole").unwrap();
        assert!(volumes.list().unwrap().is_empty() && !directory.path().join("whole").exists());
    }
}
