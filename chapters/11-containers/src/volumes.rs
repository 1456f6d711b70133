//! Volumes: directories of the engine that outlive containers.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use process::During as _;
use process::state::{self, Lock};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{check_name, random_hex};
use crate::owners::Owners;
use crate::paths::{Paths, private_directory};

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
    pub labels: std::collections::BTreeMap<String, String>,
}

/// The volumes of an engine.
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
}

impl Volumes {
    pub(crate) fn of(paths: &Paths) -> Self {
        Self { directory: paths.volumes() }
    }

    /// Makes a volume, or finds the one that has the name. `true` if it is new and so without content.
    ///
    /// # Errors
    /// A name that is none, and those of the file system.
    pub fn ensure(&self, name: Option<&str>) -> Result<(Volume, bool)> {
        let (name, anonymous) = match name {
            Some(name) => (name.to_owned(), false),
            None => (random_hex()?, true),
        };
        check_name("volume", &name)?;
        let _lock = Lock::exclusive(&self.directory.join(".lock"))?;
        let file = self.directory.join(&name).join("volume.json");
        if let Some(volume) = state::read_json_if_there(&file)? {
            return Ok((volume, false));
        }
        private_directory(&self.directory.join(&name))?;
        // Whoever the container's user is must be able to reach it; the engine's root above is closed to everybody else.
        let data = self.data(&name);
        std::fs::create_dir_all(&data).during("mkdir", data.display())?;
        std::fs::set_permissions(&data, Permissions::from_mode(0o755)).during("chmod", data.display())?;
        let volume = Volume { name, created: Timestamp::now(), anonymous, labels: Default::default() };
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

    /// Where a volume's files are.
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
        let volumes = Volumes { directory: directory.path().to_path_buf() };
        volumes.ensure(Some("whole")).unwrap();
        std::fs::create_dir_all(directory.path().join("half/_data/sub")).unwrap();
        volumes.sweep().unwrap();
        assert!(!directory.path().join("half").exists());
        assert!(volumes.data("whole").is_dir());
        volumes.remove("whole").unwrap();
        assert!(volumes.list().unwrap().is_empty() && !directory.path().join("whole").exists());
    }
}
