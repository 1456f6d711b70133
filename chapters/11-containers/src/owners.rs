//! Whose files are whose: `-v SOURCE:TARGET:idmap`.
//!
//! A bind mount shows files with the owners that they have on disk. What people mostly mean is another thing: the
//! files of whoever owns the directory shall be the container user's, and what that user writes there shall be
//! the owner's on disk. That is an id map of the mount, which chapter 3 makes; here it is decided which.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;

use namespaces::{IdMap, IdMaps};
use process::During as _;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnersRequest {
    /// `idmap`: the source's owner on disk is the container's user inside.
    User,
    /// `idmap=uids=DISK-INSIDE-COUNT#...;gids=...`.
    Given(IdMaps),
}

/// What was found: the ids on disk that are somebody else inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// This user and group on disk are the container's user and group inside.
    Of {
        /// User id on disk.
        uid: u32,
        /// Group id on disk.
        gid: u32,
    },
    /// These maps: `inside` is the id on disk, `outside` the one that the container sees.
    Given(IdMaps),
}

impl OwnersRequest {
    /// Looks at the source, which exists by now.
    ///
    /// # Errors
    /// Rootless: the kernel lets only the file system's owner map its ids.
    pub(crate) fn find(&self, source: &Path) -> Result<Owners> {
        if namespaces::rootless::is_rootless() {
            let reason = "idmap needs root: only the owner of the file system may map its ids. \
                          Without root, files of yours are root's in the container already";
            return Err(Error::bad("--volume", source.display().to_string(), reason));
        }
        match self {
            Self::Given(maps) => Ok(Owners::Given(maps.clone())),
            Self::User => {
                let found = std::fs::metadata(source).during("stat", source.display())?;
                Ok(Owners::Of { uid: found.uid(), gid: found.gid() })
            }
        }
    }
}

impl Owners {
    /// The id maps of the mount, for a container that runs as this user and group.
    pub(crate) fn maps(&self, uid: u32, gid: u32) -> IdMaps {
        match self {
            Self::Of { uid: owner, gid: group } => {
                IdMaps { users: IdMap::renaming(uid, *owner), groups: IdMap::renaming(gid, *group) }
            }
            Self::Given(maps) => maps.clone(),
        }
    }
}

impl FromStr for OwnersRequest {
    type Err = String;

    /// Reads `uids=DISK-INSIDE-COUNT#...;gids=...`, as podman writes it.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut maps = IdMaps::default();
        for part in text.split(';') {
            match part.split_once('=') {
                Some(("uids", list)) => maps.users = ranges(list)?,
                Some(("gids", list)) => maps.groups = ranges(list)?,
                _ => return Err(format!("{part:?} is neither uids=... nor gids=...")),
            }
        }
        maps.check().map_err(|error| error.to_string())?;
        Ok(Self::Given(maps))
    }
}

fn ranges(list: &str) -> std::result::Result<Vec<IdMap>, String> {
    let range = |text: &str| {
        let numbers: Vec<Option<u32>> = text.split('-').map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [Some(inside), Some(outside), Some(count)] => Ok(IdMap { inside, outside, count }),
            _ => Err(format!("{text:?} is not DISK-INSIDE-COUNT")),
        }
    };
    list.split('#').map(range).collect()
}
