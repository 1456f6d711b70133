//! A tree in a form that can be compared: everything about it that a layer has to carry.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A line for each thing below `root`: kind and mode, owner, time, attributes, content, and which names are one file.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut names = HashMap::new();
    visit(root, root, &mut names, &mut lines);
    lines
}

fn visit(root: &Path, directory: &Path, names: &mut HashMap<u64, String>, lines: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let meta = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let content = match (meta.is_file(), meta.is_symlink()) {
            (true, _) => layers::Digest::of(&fs::read(&path).unwrap()).short(),
            (_, true) => fs::read_link(&path).unwrap().display().to_string(),
            _ => String::new(),
        };
        let same_as = if meta.is_dir() { &name } else { &*names.entry(meta.ino()).or_insert_with(|| name.clone()) };
        let same_as = if *same_as == name { String::new() } else { format!("= {same_as} ") };
        let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
        let owner = format!("{}:{} {}", meta.uid(), meta.gid(), meta.rdev());
        lines.push(format!("{name} {:o} {owner} {time} {:?} {same_as}{content}", meta.mode(), xattrs(&path)));
        if meta.is_dir() {
            visit(root, &path, names, lines);
        }
    }
}

/// Attributes that layers carry: not what overlayfs or the machine's policy note on the side.
fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap();
    let names = buffer[..length].split(|&b| b == 0).map(|name| String::from_utf8_lossy(name).into_owned());
    let own = |name: &String| {
        let foreign = ["trusted.", "user.overlay.", "security.selinux", "user.containers.", "user.fuseoverlayfs."];
        !name.is_empty() && !foreign.iter().any(|foreign| name.starts_with(foreign))
    };
    let mut xattrs: Vec<_> = names
        .filter(own)
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect();
    xattrs.sort();
    xattrs
}
