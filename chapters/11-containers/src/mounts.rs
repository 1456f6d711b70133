//! Mounts that a user asks for, as `-v`, `--mount` and `--tmpfs` write them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::check_name;
use crate::owners::OwnersRequest;

/// One mount that was asked for, or that the image declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// What is mounted.
    pub source: Source,
    /// Where, absolute in the container.
    pub target: PathBuf,
    /// `ro`.
    #[serde(default)]
    pub read_only: bool,
    /// `rshared`, `rslave`, `shared`, `slave`, `private`; `rprivate` if absent. Only of bind mounts.
    #[serde(default)]
    pub propagation: Option<String>,
    /// `idmap`: whose files are whose in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<OwnersRequest>,
    /// What is asked of the volume, if it is one.
    #[serde(default, skip_serializing_if = "VolumeWishes::is_nothing")]
    pub volume: VolumeWishes,
}

/// What is asked of a volume beside its name: `--mount volume-...`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeWishes {
    /// `volume-subpath`: only this part of it, which must be there when the container starts.
    pub subpath: Option<PathBuf>,
    /// `volume-nocopy`: it does not begin with the image's content.
    pub no_copy: bool,
    /// `volume-driver`, `--volume-driver`: who provides a new one.
    pub driver: Option<String>,
    /// `volume-opt`: what the driver of a new one is told.
    pub options: BTreeMap<String, String>,
    /// `volume-label`.
    pub labels: BTreeMap<String, String>,
}

impl VolumeWishes {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Takes one field of `--mount`; `None` if it is none of a volume.
    fn take(&mut self, field: &str, value: &str) -> Option<Result<(), String>> {
        let pair = |map: &mut BTreeMap<String, String>| {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            map.insert(name.to_owned(), value.to_owned());
        };
        match (field, value) {
            ("volume-subpath", path) => match subpath(path) {
                Ok(path) => self.subpath = Some(path),
                Err(reason) => return Some(Err(reason)),
            },
            ("volume-nocopy", "" | "true" | "1") => self.no_copy = true,
            ("volume-nocopy", "false" | "0") => self.no_copy = false,
            ("volume-driver", name) => self.driver = Some(name.to_owned()),
            ("volume-opt", _) => pair(&mut self.options),
            ("volume-label", _) => pair(&mut self.labels),
            _ => return None,
        }
        Some(Ok(()))
    }
}

/// A path inside a volume.
///
/// # Errors
/// Absolute ones, and such as climb; a sentence.
pub(crate) fn subpath(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let local = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match local && !text.is_empty() && !text.contains('\0') {
        true => Ok(path.to_path_buf()),
        false => Err(format!("{text:?} is no path inside the volume")),
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A file or directory of the host.
    Bind {
        /// Its absolute path.
        path: PathBuf,
        /// Whether a missing one becomes an empty directory: `-v` does, `--mount` does not.
        create: bool,
    },
    /// A volume: named, or anonymous and gone with its container under `rm -v` and `--rm`.
    Volume {
        /// The volume's name; none makes an anonymous one.
        name: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Mount options as mount(8) takes them: `size=64m,mode=1777`.
        options: String,
    },
}

impl MountRequest {
    /// A mount of which nothing special is asked.
    pub fn new(source: Source, target: impl Into<PathBuf>) -> Self {
        let (target, volume) = (target.into(), VolumeWishes::default());
        Self { source, target, read_only: false, propagation: None, owners: None, volume }
    }

    /// Reads one `-v`: `[SOURCE:]TARGET[:OPTIONS]`. A source with a slash in front is a host path, any other a volume.
    ///
    /// # Errors
    /// [`Error::BadValue`] with the whole value.
    pub fn volume(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::bad("--volume", text, reason);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err(bad("expected [SOURCE:]TARGET[:OPTIONS]")),
        };
        let source = match source {
            None => Source::Volume { name: None },
            Some("") => return Err(bad("the source is empty")),
            Some(path) if path.starts_with('/') => {
                Source::Bind { path: host_path("--volume", text, path)?, create: true }
            }
            Some(name) => {
                check_name("--volume", name)?;
                Source::Volume { name: Some(name.to_owned()) }
            }
        };
        let mut mount = Self::new(source, container_path("--volume", text, target)?);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => mount.read_only = true,
                "rw" => mount.read_only = false,
                "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                    mount.propagation = Some(option.to_owned());
                }
                // SELinux labels: no-ops where SELinux is not, as for docker.
                "z" | "Z" => {}
                "nocopy" if matches!(mount.source, Source::Volume { .. }) => mount.volume.no_copy = true,
                "idmap" => mount.owners = Some(OwnersRequest::User),
                _ if option.starts_with("idmap=") => {
                    mount.owners = Some(option["idmap=".len()..].parse().map_err(|reason: String| bad(&reason))?);
                }
                _ => return Err(bad(&format!("unknown option {option:?}"))),
            }
        }
        Ok(mount)
    }

    /// Reads one `--tmpfs`: `TARGET[:OPTIONS]`.
    ///
    /// # Errors
    /// [`Error::BadValue`] with the whole value.
    pub fn tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = container_path("--tmpfs", text, target)?;
        let source = Source::Tmpfs { options: options.to_owned() };
        Ok(Self::new(source, target))
    }

    /// Reads one `--mount`: `type=bind|volume|tmpfs,source=...,target=...,readonly`.
    ///
    /// # Errors
    /// [`Error::BadValue`] with the whole value.
    pub fn mount(text: &str) -> Result<Self> {
        let bad = |reason: String| Error::bad("--mount", text, reason);
        let (mut kind, mut source, mut target, mut read_only, mut propagation) = ("volume", None, None, false, None);
        let (mut owners, mut volume) = (None, VolumeWishes::default());
        let mut tmpfs = Vec::new();
        for field in text.split(',') {
            match field.split_once('=').unwrap_or((field, "")) {
                ("type", value) => kind = value,
                ("source" | "src", value) => source = Some(value),
                ("target" | "dst" | "destination", value) => target = Some(value),
                ("readonly" | "ro", "" | "true" | "1") => read_only = true,
                ("readonly" | "ro", "false" | "0") => read_only = false,
                ("bind-propagation", value) => propagation = Some(value.to_owned()),
                ("idmap", "" | "true" | "1") => owners = Some(OwnersRequest::User),
                ("idmap", value) => owners = Some(value.parse().map_err(bad)?),
                ("tmpfs-size", value) => tmpfs.push(format!("size={value}")),
                ("tmpfs-mode", value) => tmpfs.push(format!("mode={value}")),
                (key, value) => match volume.take(key, value) {
                    Some(taken) => taken.map_err(bad)?,
                    None => return Err(bad(format!("unknown field {key:?}"))),
                },
            }
        }
        let target = target.ok_or_else(|| bad("the field target is missing".into()))?;
        let target = container_path("--mount", text, target)?;
        let source = match (kind, source) {
            ("bind", Some(path)) => Source::Bind { path: host_path("--mount", text, path)?, create: false },
            ("bind", None) => return Err(bad("a bind mount needs a source".into())),
            ("volume", name) => {
                name.map_or(Ok(()), |name| check_name("--mount", name))?;
                Source::Volume { name: name.map(str::to_owned) }
            }
            ("tmpfs", None) => Source::Tmpfs { options: tmpfs.join(",") },
            ("tmpfs", Some(_)) => return Err(bad("a tmpfs has no source".into())),
            (kind, _) => return Err(bad(format!("unknown type {kind:?}: bind, volume or tmpfs"))),
        };
        if owners.is_some() && matches!(source, Source::Tmpfs { .. }) {
            return Err(bad("a tmpfs has no owners to map".into()));
        }
        if volume != VolumeWishes::default() && !matches!(source, Source::Volume { .. }) {
            return Err(bad("fields of volumes do not go with another type".into()));
        }
        Ok(Self { source, target, read_only, propagation, owners, volume })
    }
}

/// The absolute, lexically clean form of a path inside the container.
///
/// `..` is folded here only so that two spellings of one target are seen as one. Nothing is opened with the
/// result but through chapter 3's resolver, which holds whatever it is inside the root.
pub(crate) fn container_path(option: &'static str, whole: &str, path: &str) -> Result<PathBuf> {
    if !path.starts_with('/') {
        return Err(Error::bad(option, whole, "the path in the container must be absolute"));
    }
    let clean = clean(Path::new(path));
    if clean == Path::new("/") {
        return Err(Error::bad(option, whole, "the container's root itself cannot be a mount's target"));
    }
    Ok(clean)
}

fn host_path(option: &'static str, whole: &str, path: &str) -> Result<PathBuf> {
    if !path.starts_with('/') {
        return Err(Error::bad(option, whole, "the host's path must be absolute"));
    }
    if path.contains('\0') {
        return Err(Error::bad(option, whole, "a path has no NUL byte"));
    }
    Ok(PathBuf::from(path))
}

/// Folds `.` and `..` of an absolute path.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_slash_tells_a_host_path_from_a_volume() {
        let bind = MountRequest::volume("/srv/www:/data:ro").unwrap();
        assert_eq!(bind.source, Source::Bind { path: "/srv/www".into(), create: true });
        assert!(bind.read_only);
        let named = MountRequest::volume("www:/data").unwrap();
        assert_eq!(named.source, Source::Volume { name: Some("www".into()) });
        let anonymous = MountRequest::volume("/data/./x/..").unwrap();
        assert_eq!((anonymous.source, anonymous.target), (Source::Volume { name: None }, "/data".into()));
    }

    #[test]
    fn a_mount_is_written_field_by_field() {
        let mount = MountRequest::mount("type=bind,src=/a,dst=/b,readonly").unwrap();
        assert_eq!(mount.source, Source::Bind { path: "/a".into(), create: false });
        let tmpfs = MountRequest::mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert_eq!(tmpfs.source, Source::Tmpfs { options: "size=1m".into() });
    }

    #[test]
    fn a_volume_s_wishes_are_read_and_go_with_volumes_alone() {
        let text = "type=volume,src=vol,dst=/d,volume-subpath=a/b,volume-nocopy,volume-driver=x,volume-opt=o=size=1m,volume-label=k";
        let wishes = MountRequest::mount(text).unwrap().volume;
        assert_eq!((wishes.subpath, wishes.no_copy), (Some("a/b".into()), true));
        assert_eq!((wishes.driver.as_deref(), wishes.options["o"].as_str()), (Some("x"), "size=1m"));
        assert!(wishes.labels.contains_key("k") && MountRequest::volume("vol:/d:nocopy").unwrap().volume.no_copy);
        for wrong in ["type=volume,src=vol,dst=/d,volume-subpath=/a", "type=volume,src=vol,dst=/d,volume-subpath=../a"]
        {
            assert!(MountRequest::mount(wrong).is_err(), "{wrong}");
        }
        assert!(MountRequest::mount("type=bind,src=/a,dst=/d,volume-nocopy").is_err());
        assert!(MountRequest::volume("/a:/d:nocopy").is_err());
    }

    #[test]
    fn owners_are_mapped_when_asked_and_a_map_that_is_none_is_refused() {
        let owners = |text: &str| MountRequest::volume(text).map(|mount| mount.owners);
        assert_eq!(owners("/a:/b").unwrap(), None);
        assert_eq!(owners("/a:/b:ro,idmap").unwrap(), Some(OwnersRequest::User));
        let map = |inside, outside, count| namespaces::IdMap { inside, outside, count };
        let given = OwnersRequest::Given(namespaces::IdMaps {
            users: vec![map(1000, 0, 1), map(2000, 1, 9)],
            groups: vec![map(100, 0, 1)],
        });
        assert_eq!(owners("/a:/b:idmap=uids=1000-0-1#2000-1-9;gids=100-0-1").unwrap(), Some(given.clone()));
        let mount = MountRequest::mount("type=bind,src=/a,dst=/b,idmap=uids=1000-0-1#2000-1-9;gids=100-0-1").unwrap();
        assert_eq!(mount.owners, Some(given));
        for wrong in ["", "uids=1-2", "uids=a-b-c;gids=0-0-1", "uids=0-0-1", "uids=0-0-2#1-5-1;gids=0-0-1", "x=0-0-1"] {
            assert!(owners(&format!("/a:/b:idmap={wrong}")).is_err(), "{wrong:?}");
        }
        assert!(MountRequest::mount("type=tmpfs,target=/t,idmap").is_err());
    }

    #[test]
    fn what_climbs_or_lacks_a_target_is_refused() {
        for text in ["", "a:b", ":/x", "www:/", "/x:/../", "../x:/y", "www:/x:rx", "a:b:c:d"] {
            assert!(MountRequest::volume(text).is_err(), "{text:?}");
        }
        for text in ["type=bind,target=/x", "target=x", "type=npipe,target=/x", "type=tmpfs,src=a,target=/x"] {
            assert!(MountRequest::mount(text).is_err(), "{text:?}");
        }
    }
}
