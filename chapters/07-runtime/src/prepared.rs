//! Mounts that the parent makes and the child only attaches: id-mapped ones, which need power over the machine's disks, and those
//! whose sources a child with users of its own could not reach.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use namespaces::{IdMap, IdMaps, NamespaceKind};
use nix::errno::Errno;
use oci_spec::runtime::{LinuxIdMapping, Mount, Spec};
use rootfs::{DetachedMount, MountEntry, MountOptions, Recursion, Source, id_mapped};

use crate::error::Error;
use crate::id_maps;
use crate::plan::has_own;
use crate::spec::config;

/// Detached mounts by their places in the specification's list. They are gone when this is dropped.
#[derive(Debug, Default)]
pub struct Prepared(Vec<(usize, DetachedMount)>);

impl Prepared {
    /// Makes what a specification asks for.
    ///
    /// `ridmap` maps what is mounted below too; `idmap` and bare mappings the mount alone. Which ids: those of the mount's own `uidMappings` and `gidMappings`, else (`idmap`, `ridmap`) those of the
    /// container's user namespace.
    ///
    /// # Errors
    /// A mount that asks for an id map and names none, by its place in the list; what chapter 3 answers.
    ///
    /// # References
    /// OCI runtime spec, config.md, "Mounts": `uidMappings`, `idmap`, `ridmap`
    pub fn of(spec: &Spec, bundle: &Path) -> Result<Self, Error> {
        let mut prepared = Vec::new();
        for (index, mount) in spec.mounts().iter().flatten().enumerate() {
            let refused =
                |reason: &str| config(&bundle.join("config.json"), &format!("mounts[{index}]"), reason.to_owned());
            let empty = Vec::new();
            let options = MountOptions::parse(mount.options().as_ref().unwrap_or(&empty))
                .map_err(|error| refused(&error.to_string()))?;
            let mapped = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
            if options.id_map.is_none() && !mapped {
                // Whoever is somebody else inside may not reach what the caller names.
                if has_own(spec, NamespaceKind::User) && !options.remount && is_bind(mount, &options) {
                    let source = mount.source().as_ref().ok_or_else(|| refused("no source"))?;
                    let depth = options.bind.unwrap_or(Recursion::All);
                    match DetachedMount::bind(&bundle.join(source), depth) {
                        // Who may not mount is no more than the child is outside: what we reach, it reaches.
                        Err(error) if error.errno() == Errno::EPERM => {}
                        mount => prepared.push((index, mount?)),
                    }
                }
                continue;
            }
            let depth = match (options.bind, mount.typ().as_deref()) {
                (Some(depth), _) => depth,
                (None, Some("bind")) => Recursion::All,
                _ => return Err(refused("only bind mounts can be id-mapped")),
            };
            let reach = options.id_map.unwrap_or(Recursion::One);
            let source = mount.source().as_ref().ok_or_else(|| refused("no source"))?;
            let maps = maps_of(mount, spec).map_err(refused)?;
            prepared.push((index, id_mapped::bind(&bundle.join(source), depth, reach, &maps)?));
        }
        Ok(Self(prepared))
    }

    /// The same and mounts that the caller made, each in the place of the last bind mount on its destination: that is the one
    /// that is seen.
    ///
    /// # Errors
    /// The configuration has no bind mount on such a destination.
    pub fn with(mut self, spec: &Spec, bundle: &Path, made: Vec<(PathBuf, DetachedMount)>) -> Result<Self, Error> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        for (target, mount) in made {
            let index = mounts.iter().rposition(|entry| *entry.destination() == target).ok_or_else(|| {
                config(&bundle.join("config.json"), "mounts", format!("none on {}", target.display()))
            })?;
            self.0.push((index, mount));
        }
        Ok(self)
    }

    /// The same entry with the mount that was made for this place in the list as its source, if one was.
    pub(crate) fn instead_of(&self, entry: MountEntry, index: usize) -> MountEntry {
        let found = self.0.iter().find(|(place, _)| *place == index);
        match (found, &entry.source) {
            (Some((_, mount)), Source::Bind(shown, _)) => {
                let source = Source::Prepared { mount: mount.as_fd().as_raw_fd(), shown: shown.clone() };
                MountEntry { source, ..entry }
            }
            _ => entry,
        }
    }
}

fn is_bind(mount: &Mount, options: &MountOptions) -> bool {
    options.bind.is_some() || mount.typ().as_deref() == Some("bind")
}

fn maps_of(mount: &Mount, spec: &Spec) -> Result<IdMaps, &'static str> {
    let read = |list: &Vec<LinuxIdMapping>| {
        let map =
            |map: &LinuxIdMapping| IdMap { inside: map.container_id(), outside: map.host_id(), count: map.size() };
        list.iter().map(map).collect()
    };
    match (mount.uid_mappings(), mount.gid_mappings()) {
        (Some(users), Some(groups)) => Ok(IdMaps { users: read(users), groups: read(groups) }),
        (None, None) if has_own(spec, NamespaceKind::User) => Ok(id_maps::of(spec)),
        (None, None) => Err("idmap: neither uidMappings and gidMappings, nor a user namespace of the container's own"),
        _ => Err("uidMappings and gidMappings belong together"),
    }
}
