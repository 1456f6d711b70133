//! Layers stacked, changed, and turned into an archive again.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Overlay, apply, changes, diff};
use rootfs::Root;
use rustix::fs::XattrFlags;

struct Stack {
    dir: tempfile::TempDir,
}

impl Stack {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one/etc", "one/old", "two"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("one/etc/passwd"), b"root").unwrap();
        fs::write(dir.path().join("one/etc/group"), b"root").unwrap();
        fs::write(dir.path().join("one/old/file"), b"old").unwrap();
        fs::write(dir.path().join("two/top"), b"top").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn lower(&self) -> Vec<PathBuf> {
        vec![self.path("two"), self.path("one")]
    }

    fn overlay(&self) -> Overlay {
        Overlay { lower: self.lower(), upper_work: Some((self.path("upper"), self.path("work"))), ..Overlay::default() }
    }

    /// The archive of what was changed.
    fn diff(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        diff(&Root::open(&self.path("upper")).unwrap(), &self.lower(), &mut bytes).unwrap();
        bytes
    }
}

/// Where a detached mount can be reached by path: through its descriptor.
fn inside(mount: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd()))
}

/// Everything below a directory in a form that can be compared.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = match (meta.is_file(), meta.is_symlink()) {
                (true, _) => fs::read_to_string(&path).unwrap(),
                (_, true) => fs::read_link(&path).unwrap().display().to_string(),
                _ => String::new(),
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let (mode, links) = (meta.mode(), if meta.is_file() { meta.nlink() } else { 0 });
            lines.push(format!("{name} {mode:o} {}:{} {links} {content}", meta.uid(), meta.gid()));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    lines.sort();
    lines
}

fn change_everything(root: &Path) {
    fs::write(root.join("etc/passwd"), b"root and me").unwrap();
    fs::remove_file(root.join("etc/group")).unwrap();
    fs::remove_dir_all(root.join("old")).unwrap();
    fs::create_dir(root.join("old")).unwrap();
    fs::write(root.join("old/new"), b"new").unwrap();
    fs::create_dir(root.join("fresh")).unwrap();
    symlink("../etc/passwd", root.join("fresh/link")).unwrap();
    fs::write(root.join("fresh/a"), b"twice").unwrap();
    fs::hard_link(root.join("fresh/a"), root.join("fresh/b")).unwrap();
    fs::set_permissions(root.join("fresh/a"), PermissionsExt::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(root.join("fresh/link"), None, None).unwrap();
    let long = root.join("x".repeat(200));
    fs::write(&long, b"long").unwrap();
    // cap_net_raw+ep, version 2.
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::setxattr(&long, "security.capability", capability, XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(&long, "user.note", b"a=b\nc", XattrFlags::empty()).unwrap();
}

#[test]
fn the_topmost_layer_wins_and_changes_stay_in_the_upper_directory() {
    if !process::needs::root() {
        return;
    }
    let stack = Stack::new();
    stack.overlay().prepare().unwrap();
    let mount = stack.overlay().mount().unwrap();
    let root = inside(&mount);
    assert_eq!(fs::read(root.join("top")).unwrap(), b"top");
    fs::write(root.join("etc/passwd"), b"changed").unwrap();
    assert_eq!(fs::read(stack.path("one/etc/passwd")).unwrap(), b"root");
    assert_eq!(fs::read(stack.path("upper/etc/passwd")).unwrap(), b"changed");
    // Detached: no mount table knows it.
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mountinfo.contains(&stack.path("upper").display().to_string()));
}

#[test]
fn apply_of_diff_gives_the_same_tree_again() {
    if !process::needs::root() {
        return;
    }
    let stack = Stack::new();
    stack.overlay().prepare().unwrap();
    let changed = stack.overlay().mount().unwrap();
    change_everything(&inside(&changed));
    let expected = listing(&inside(&changed));
    let archive = stack.diff();
    assert_eq!(archive, stack.diff(), "the same changes are the same archive");

    fs::create_dir(stack.path("three")).unwrap();
    let three = Root::open(&stack.path("three")).unwrap();
    let applied = apply(&archive[..], &three, &ApplyOptions::default()).unwrap();
    assert_eq!(applied.xattrs_skipped, 0);
    let lower = [vec![stack.path("three")], stack.lower()].concat();
    let again = Overlay { lower, ..Overlay::default() }.mount().unwrap();
    assert_eq!(listing(&inside(&again)), expected);

    let long = inside(&again).join("x".repeat(200));
    let mut value = [0; 20];
    assert_eq!(rustix::fs::getxattr(&long, "security.capability", &mut value[..]).unwrap(), 20);
    assert_eq!(rustix::fs::getxattr(&long, "user.note", &mut value[..]).unwrap(), 5);
    assert_eq!(&value[..5], b"a=b\nc");
}

#[test]
fn changes_are_told_as_docker_diff_tells_them() {
    if !process::needs::root() {
        return;
    }
    let stack = Stack::new();
    stack.overlay().prepare().unwrap();
    let mount = stack.overlay().mount().unwrap();
    let root = inside(&mount);
    fs::write(root.join("etc/passwd"), b"x").unwrap();
    fs::remove_file(root.join("etc/group")).unwrap();
    fs::create_dir(root.join("fresh")).unwrap();
    // Made and removed again: no change, whatever the kernel notes.
    fs::write(root.join("etc/gone"), b"x").unwrap();
    fs::remove_file(root.join("etc/gone")).unwrap();
    let changes = changes(&Root::open(&stack.path("upper")).unwrap(), &stack.lower()).unwrap();
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["C /etc", "D /etc/group", "C /etc/passwd", "A /fresh"]);
}

#[test]
fn gnu_tar_reads_what_we_write() {
    if !process::needs::root() || !process::needs::program("tar") {
        return;
    }
    let stack = Stack::new();
    stack.overlay().prepare().unwrap();
    let mount = stack.overlay().mount().unwrap();
    change_everything(&inside(&mount));
    fs::write(stack.path("archive"), stack.diff()).unwrap();
    let output = std::process::Command::new("tar").arg("-tf").arg(stack.path("archive")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap().replace(&"x".repeat(200), "[200 X]");
    insta::assert_snapshot!(names);
}

#[test]
fn a_path_longer_than_one_option_is_mounted_all_the_same() {
    if !process::needs::root() {
        return;
    }
    let stack = Stack::new();
    let long = stack.path(&format!("{}/{}", "l".repeat(200), "m".repeat(200)));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("file"), b"deep").unwrap();
    let mount = Overlay { lower: vec![long, stack.path("one")], ..Overlay::default() }.mount().unwrap();
    assert_eq!(fs::read(inside(&mount).join("file")).unwrap(), b"deep");
}

#[test]
fn an_overlay_that_cannot_be_says_why_in_the_kernels_words() {
    if !process::needs::root() {
        return;
    }
    let missing = Overlay { lower: vec!["/nonexistent".into(), "/also".into()], ..Overlay::default() };
    let error = missing.mount().unwrap_err().to_string();
    assert!(error.contains("lowerdir+=/nonexistent") && error.contains("ENOENT"), "{error}");
}

#[test]
fn up_to_five_hundred_layers_are_stacked_and_more_are_refused_in_words() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lower: Vec<PathBuf> = (0..501).map(|n| dir.path().join(n.to_string())).collect();
    for (n, layer) in lower.iter().enumerate() {
        fs::create_dir(layer).unwrap();
        fs::write(layer.join(format!("from-{n}")), b"x").unwrap();
        fs::write(layer.join("all"), n.to_string()).unwrap();
    }
    for count in [1, 2, 100, 500] {
        let upper_work = Some((dir.path().join(format!("u{count}")), dir.path().join(format!("w{count}"))));
        let overlay = Overlay { lower: lower[..count].to_vec(), upper_work, ..Overlay::default() };
        overlay.prepare().unwrap();
        let mount = overlay.mount().unwrap();
        assert_eq!(fs::read_dir(inside(&mount)).unwrap().count(), count + 1);
        assert_eq!(fs::read(inside(&mount).join("all")).unwrap(), b"0", "the first one is the topmost");
    }
    let error = Overlay { lower, ..Overlay::default() }.mount().unwrap_err().to_string();
    assert!(error.contains("501 lower layers; the kernel stacks 500"), "{error}");
}
