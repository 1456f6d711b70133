//! What the program shows besides running a command: a path resolved three ways, and two views side by side.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::Context as _;
use process::Pid;
use rootfs::{MountInfo, Resolver, Root};
use rustix::fs::OFlags;

/// Prints where a path leads: as a string that is appended to the root's, and by both resolvers.
pub(crate) fn resolve(root: &Path, path: &Path) -> anyhow::Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let shown = |found: Result<String, String>| found.unwrap_or_else(|error| format!("nothing: {error}"));
    let joined = root.join(relative).canonicalize().map(|found| found.display().to_string());
    println!("{:<18} {}", "as a string", shown(joined.map_err(|error| error.to_string())));
    for (name, resolver) in [("by openat2", Resolver::Openat2), ("by walking", Resolver::Walk)] {
        let root = Root::open(root)?.resolved_by(resolver);
        let opened = root.open_in(path, OFlags::PATH).map_err(|error| error.to_string());
        let place = opened.and_then(|fd| {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            link.map(|place| place.display().to_string()).map_err(|error| error.to_string())
        });
        println!("{name:<18} {}", shown(place));
    }
    Ok(())
}

/// Prints what this process and the child find at `/`, side by side: the mounts are the difference.
pub(crate) fn side_by_side(child: Pid) -> anyhow::Result<()> {
    let (ours, theirs) = (View::of(Pid::this())?, View::of(child)?);
    eprintln!("{:<16} {:<40} inside", "", "outside");
    let rows = [
        ("mounts", ours.mounts.to_string(), theirs.mounts.to_string()),
        ("names in /", ours.names.clone(), theirs.names.clone()),
        ("/ is", ours.root, theirs.root),
        ("/.. is", ours.above, theirs.above),
    ];
    rows.iter().for_each(|(name, one, other)| eprintln!("{name:<16} {one:<40} {other}"));
    Ok(())
}

struct View {
    mounts: usize,
    names: String,
    root: String,
    above: String,
}

impl View {
    /// Read through `/proc/PID/root`, which leads to that process's own root.
    fn of(pid: Pid) -> anyhow::Result<Self> {
        let mounts = MountInfo::read(Path::new(&format!("/proc/{pid}/mountinfo")))?;
        let at_root = mounts.iter().rfind(|mount| mount.target == Path::new("/")).context("no mount at /")?;
        let root = format!("/proc/{pid}/root");
        let names = std::fs::read_dir(&root).with_context(|| format!("read {root:?}"))?.count();
        let same = inode(&format!("{root}/.."))? == inode(&format!("{root}/."))?;
        Ok(Self {
            mounts: mounts.len(),
            names: names.to_string(),
            root: format!("{} of a file system {}", at_root.root.display(), at_root.kind),
            above: if same { "the same as /" } else { "something else" }.to_owned(),
        })
    }
}

fn inode(path: &str) -> anyhow::Result<(u64, u64)> {
    let stat = rustix::fs::stat(path).with_context(|| format!("stat {path:?}"))?;
    Ok((stat.st_dev, stat.st_ino))
}
