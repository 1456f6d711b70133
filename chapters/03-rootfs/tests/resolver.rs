//! Paths that try to leave a root, and what they find there instead.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use rootfs::Root;
use rustix::fs::{Mode, OFlags};

/// A directory with a root in it, and a secret beside the root.
fn tree() -> (tempfile::TempDir, Root) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("secret"), "outside").unwrap();
    let root = home.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/name"), "inside").unwrap();
    let root = Root::open(&root).unwrap();
    (home, root)
}

#[test]
fn dots_stop_at_the_root() {
    let (_home, root) = tree();
    assert_eq!(root.read(Path::new("../../../../etc/name"), 64).unwrap(), b"inside");
    assert_eq!(root.read(Path::new("../secret"), 64).unwrap_err().errno(), Errno::ENOENT);
}

#[test]
fn absolute_links_begin_at_the_root() {
    let (home, root) = tree();
    symlink("/etc", home.path().join("root/there")).unwrap();
    symlink(home.path(), home.path().join("root/home")).unwrap();
    assert_eq!(root.read(Path::new("there/name"), 64).unwrap(), b"inside");
    assert_eq!(root.read(Path::new("home/secret"), 64).unwrap_err().errno(), Errno::ENOENT);
}

#[test]
fn links_in_a_circle_end() {
    let (home, root) = tree();
    symlink("b", home.path().join("root/a")).unwrap();
    symlink("a", home.path().join("root/b")).unwrap();
    assert_eq!(root.open_in(Path::new("a"), OFlags::PATH).unwrap_err().errno(), Errno::ELOOP);
}

#[test]
fn directories_are_made_through_dangling_links_and_stay_inside() {
    let (home, root) = tree();
    symlink("/run/deep", home.path().join("root/var")).unwrap();
    drop(root.mkdir_all(Path::new("var/lib/x"), Mode::from_raw_mode(0o755)).unwrap());
    assert!(home.path().join("root/run/deep/lib/x").is_dir());
}

#[test]
fn a_new_file_replaces_nothing_and_follows_nothing() {
    let (home, root) = tree();
    symlink("../secret", home.path().join("root/trap")).unwrap();
    let error = root.create_file(Path::new("trap"), Mode::from_raw_mode(0o600)).unwrap_err();
    assert_eq!(error.errno(), Errno::EEXIST);
    assert_eq!(std::fs::read(home.path().join("secret")).unwrap(), b"outside");
}

#[test]
fn the_parent_of_nothing_and_of_dots_is_refused() {
    let (_home, root) = tree();
    for path in ["", "/", "..", "etc/.."] {
        assert!(root.parent(Path::new(path)).is_err(), "{path:?}");
    }
    let (_, name) = root.parent(Path::new("/etc/name")).unwrap();
    assert_eq!(name, "name");
}

#[test]
fn a_file_without_end_is_not_read() {
    let (home, root) = tree();
    rustix::fs::mkfifoat(rustix::fs::CWD, home.path().join("root/fifo"), Mode::from_raw_mode(0o600)).unwrap();
    assert!(root.read(Path::new("fifo"), 64).unwrap_err().to_string().contains("not a regular file"));
    assert!(root.read(Path::new("etc/name"), 3).unwrap_err().to_string().contains("longer than 3 bytes"));
}
