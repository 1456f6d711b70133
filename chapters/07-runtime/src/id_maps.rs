//! Who is who in a container's user namespace.

use namespaces::{IdMap, IdMaps};
use oci_spec::runtime::{LinuxIdMapping, Spec};
use process::kernel_file;

/// The id maps of a container's own user namespace; the identity where it has none.
pub fn of(spec: &Spec) -> IdMaps {
    let users = spec.linux().as_ref().and_then(|linux| linux.uid_mappings().as_ref());
    IdMaps { users: map(users, "/proc/self/uid_map"), groups: of_groups(spec) }
}

/// Its groups alone.
pub fn of_groups(spec: &Spec) -> Vec<IdMap> {
    let groups = spec.linux().as_ref().and_then(|linux| linux.gid_mappings().as_ref());
    map(groups, "/proc/self/gid_map")
}

/// A map of the configuration's, else that of this process, from `file`.
fn map(list: Option<&Vec<LinuxIdMapping>>, file: &str) -> Vec<IdMap> {
    match list {
        Some(list) if !list.is_empty() => list
            .iter()
            .map(|map| IdMap { inside: map.container_id(), outside: map.host_id(), count: map.size() })
            .collect(),
        _ => kernel_file::read_text(file).ok().and_then(|text| IdMap::parse(&text).ok()).unwrap_or_default(),
    }
}
