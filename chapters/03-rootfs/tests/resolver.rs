//! Paths that try to leave a root, and what they find there instead.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use rootfs::{Resolver, Root};
use rustix::fs::{Mode, OFlags};

/// Every behaviour is that of both: the kernel's resolver, and the walk that stands in for it.
const BOTH: [Resolver; 2] = [Resolver::Openat2, Resolver::Walk];

/// A directory with a root in it, and a secret beside the root.
fn tree(resolver: Resolver) -> (tempfile::TempDir, Root) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("secret"), "outside").unwrap();
    let root = home.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/name"), "inside").unwrap();
    let root = Root::open(&root).unwrap().resolved_by(resolver);
    (home, root)
}

#[test]
fn dots_stop_at_the_root() {
    for resolver in BOTH {
        let (_home, root) = tree(resolver);
        assert_eq!(root.read(Path::new("../../../../etc/name"), 64).unwrap(), b"inside");
        assert_eq!(root.read(Path::new("../secret"), 64).unwrap_err().errno(), Errno::ENOENT);
    }
}

#[test]
fn absolute_links_begin_at_the_root() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        symlink("/etc", home.path().join("root/there")).unwrap();
        symlink(home.path(), home.path().join("root/home")).unwrap();
        assert_eq!(root.read(Path::new("there/name"), 64).unwrap(), b"inside");
        assert_eq!(root.read(Path::new("home/secret"), 64).unwrap_err().errno(), Errno::ENOENT);
    }
}

#[test]
fn links_in_a_circle_end() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        symlink("b", home.path().join("root/a")).unwrap();
        symlink("a", home.path().join("root/b")).unwrap();
        assert_eq!(root.open_in(Path::new("a"), OFlags::PATH).unwrap_err().errno(), Errno::ELOOP);
    }
}

#[test]
fn directories_are_made_through_dangling_links_and_stay_inside() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        symlink("/run/deep", home.path().join("root/var")).unwrap();
        drop(root.mkdir_all(Path::new("var/lib/x"), Mode::from_raw_mode(0o755)).unwrap());
        assert!(home.path().join("root/run/deep/lib/x").is_dir());
    }
}

#[test]
fn a_new_file_replaces_nothing_and_follows_nothing() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        symlink("../secret", home.path().join("root/trap")).unwrap();
        let error = root.create_file(Path::new("trap"), Mode::from_raw_mode(0o600)).unwrap_err();
        assert_eq!(error.errno(), Errno::EEXIST);
        assert_eq!(std::fs::read(home.path().join("secret")).unwrap(), b"outside");
    }
}

#[test]
fn the_parent_of_nothing_and_of_dots_is_refused() {
    for resolver in BOTH {
        let (_home, root) = tree(resolver);
        for path in ["", "/", "..", "etc/.."] {
            assert!(root.parent(Path::new(path)).is_err(), "{path:?}");
        }
        let (_, name) = root.parent(Path::new("/etc/name")).unwrap();
        assert_eq!(name, "name");
    }
}

#[test]
fn a_file_without_end_is_not_read() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        rustix::fs::mkfifoat(rustix::fs::CWD, home.path().join("root/fifo"), Mode::from_raw_mode(0o600)).unwrap();
        assert!(root.read(Path::new("fifo"), 64).unwrap_err().to_string().contains("not a regular file"));
        assert!(root.read(Path::new("etc/name"), 3).unwrap_err().to_string().contains("longer than 3 bytes"));
    }
}

#[test]
fn magic_links_are_refused_and_plain_links_of_procfs_are_not() {
    for resolver in BOTH {
        let root = Root::open(Path::new("/")).unwrap().resolved_by(resolver);
        let refused = |path: &str| root.open_in(Path::new(path), OFlags::PATH).unwrap_err().errno();
        for path in ["proc/self/exe", "proc/self/cwd/x", "proc/self/root", "proc/self/fd/0", "proc/self/ns/mnt"] {
            assert_eq!(refused(path), Errno::ELOOP, "{path} by {resolver:?}");
        }
        assert!(root.open_in(Path::new("proc/self/status"), OFlags::RDONLY).is_ok());
        assert!(root.open_in(Path::new("proc/mounts"), OFlags::PATH).is_ok());
    }
}

#[test]
fn where_no_link_or_no_mount_is_wanted_none_is_passed() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        symlink("etc", home.path().join("root/there")).unwrap();
        let plain = |path: &str| root.open_plain(Path::new(path), OFlags::PATH);
        assert!(plain("etc/name").is_ok());
        assert_eq!(plain("there/name").unwrap_err().errno(), Errno::ELOOP, "{resolver:?}");
        let machine = Root::open(Path::new("/")).unwrap().resolved_by(resolver);
        let same = |path: &str| machine.open_same_mount(Path::new(path), OFlags::PATH);
        assert_eq!(same("proc/version").unwrap_err().errno(), Errno::EXDEV, "{resolver:?}");
        assert!(same("etc").is_ok());
    }
}

#[test]
fn opening_never_makes_a_file() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        let error = root.open_in(Path::new("new"), OFlags::CREATE | OFlags::WRONLY).unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
        assert!(!home.path().join("root/new").exists());
    }
}

#[test]
fn a_path_as_long_as_links_can_make_it_has_an_end() {
    for resolver in BOTH {
        let (home, root) = tree(resolver);
        // Each link doubles the one before: 2^30 components, if nobody counted.
        symlink("etc", home.path().join("root/l0")).unwrap();
        for level in 1..=30 {
            let target = format!("l{0}/../l{0}", level - 1);
            symlink(target, home.path().join(format!("root/l{level}"))).unwrap();
        }
        assert_eq!(root.open_in(Path::new("l30"), OFlags::PATH).unwrap_err().errno(), Errno::ELOOP, "{resolver:?}");
    }
}
