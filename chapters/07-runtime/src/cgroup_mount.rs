//! The mount of type `cgroup`: what a container sees of the machine's control groups.
//!
//! It shall see its own and no other. In a cgroup namespace of its own a fresh mount shows just that. Without one, a fresh
//! mount would show the whole machine's tree, and inside a user namespace there would be none at all; so the directory
//! of its own group is shown a second time.

use std::path::{Path, PathBuf};

use cgroups::CgroupPath;
use namespaces::NamespaceKind;
use oci_spec::runtime::Spec;
use process::{During as _, kernel_file};
use rootfs::{MountAttrFlags, MountEntry, MountInfo, Recursion, Source};

use crate::cgroup::cgroup_path;
use crate::error::Error;
use crate::plan::has_own;

/// The one tree of v2, or a tmpfs with every v1 hierarchy of this machine in it.
pub(crate) fn entries(
    spec: &Spec,
    id: &str,
    target: &Path,
    attributes: MountAttrFlags,
) -> Result<Vec<MountEntry>, Error> {
    let own_namespace = has_own(spec, NamespaceKind::Cgroup);
    let group = cgroup_path(spec, id)?;
    let mounts = MountInfo::read_of(Path::new("/proc/self/mountinfo"), &["cgroup", "cgroup2"])?;
    let place = kernel_file::read_text("/proc/self/cgroup").during("read", "/proc/self/cgroup")?;
    let hierarchies: Vec<&MountInfo> = mounts.iter().filter(|mount| mount.kind == "cgroup").collect();
    if hierarchies.is_empty() {
        let tree = mounts.iter().find(|mount| mount.kind == "cgroup2");
        let source = match tree {
            Some(tree) if !own_namespace && has_own(spec, NamespaceKind::User) => shown(tree, "", &group, &place),
            _ => fresh("cgroup2", Vec::new()),
        };
        return Ok(vec![entry(source, target.to_owned(), attributes)]);
    }
    let mode = vec![("mode".to_owned(), Some("755".to_owned()))];
    // The tmpfs stays writable until its directories are there; the whole of it is read-only in the end through
    // `mounts::read_only_afterwards`.
    let mut entries =
        vec![entry(fresh("tmpfs", mode), target.to_owned(), attributes - MountAttrFlags::MOUNT_ATTR_RDONLY)];
    let mut seen = Vec::new();
    for hierarchy in hierarchies {
        let Some(name) = hierarchy.target.file_name() else { continue };
        let which: Vec<&str> = hierarchy.super_options.iter().map(String::as_str).filter(is_hierarchy).collect();
        if seen.contains(&which) {
            continue;
        }
        let source = match own_namespace {
            true => fresh("cgroup", options(&which)),
            false => shown(hierarchy, &which.join(","), &group, &place),
        };
        entries.push(entry(source, target.join(name), attributes));
        seen.push(which);
    }
    Ok(entries)
}

fn entry(source: Source, target: PathBuf, attributes: MountAttrFlags) -> MountEntry {
    MountEntry { source, target, attributes, reach: Recursion::One, propagation: None, copy_up: false }
}

fn fresh(kind: &str, options: Vec<(String, Option<String>)>) -> Source {
    Source::Filesystem { kind: kind.to_owned(), source: kind.to_owned(), options }
}

/// The container's group in this tree, as a directory of the machine. In a tree where it has none it is, like this
/// process, wherever `place` says: the text of `/proc/self/cgroup`.
fn shown(tree: &MountInfo, which: &str, group: &CgroupPath, place: &str) -> Source {
    let of_container = group.below(&tree.target);
    if of_container.is_dir() {
        return Source::Bind(of_container, Recursion::One);
    }
    let lines = place.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = lines.into_iter().find_map(|(controllers, path)| (controllers == which).then_some(path));
    // A tree may be mounted from further down than its top.
    let own = Path::new(own.unwrap_or("/"));
    let below = own.strip_prefix(&tree.root).unwrap_or(Path::new(""));
    Source::Bind(tree.target.join(below), Recursion::One)
}

/// The options that mount a v1 hierarchy.
fn options(which: &[&str]) -> Vec<(String, Option<String>)> {
    let named = which.iter().any(|option| option.starts_with("name="));
    // A named hierarchy has no controller, which must be said.
    let none = named.then_some("none");
    let all = which.iter().copied().chain(none);
    all.map(|option| match option.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (option.to_owned(), None),
    })
    .collect()
}

/// Whether a mount option of a v1 hierarchy says which hierarchy it is.
fn is_hierarchy(option: &&str) -> bool {
    !matches!(*option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children") && !option.starts_with("release_agent=")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn where_the_container_has_no_group_its_maker_s_is_shown() {
        let tree = MountInfo {
            id: 1,
            parent: 0,
            root: "/machine".into(),
            target: "/nowhere/memory".into(),
            options: Vec::new(),
            tags: Vec::new(),
            kind: "cgroup".to_owned(),
            source: "cgroup".to_owned(),
            super_options: vec!["rw".to_owned(), "memory".to_owned()],
        };
        let place = "5:memory:/machine/user\n2:cpu,cpuacct:/x\n0::/\n";
        let group: CgroupPath = "/cooper/none".parse().unwrap();
        let source = |which| shown(&tree, which, &group, place);
        assert_eq!(source("memory"), Source::Bind("/nowhere/memory/user".into(), Recursion::One));
        assert_eq!(source("cpu"), Source::Bind("/nowhere/memory".into(), Recursion::One), "no such hierarchy");
    }

    #[test]
    fn a_named_hierarchy_is_mounted_without_controllers() {
        let options = options(&["name=systemd"]);
        assert_eq!(options, [("name".to_owned(), Some("systemd".to_owned())), ("none".to_owned(), None)]);
    }
}
