//! Paths that are exchanged while they are resolved: 10,000 tries each, and naive resolvers that lose.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rootfs::{Resolver, Root};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

const TRIES: usize = 10_000;
/// A naive resolver must lose within so many: it does within a few dozen.
const PATIENCE: usize = 1_000_000;

/// ```text
/// home/secret            "outside"
/// home/outside/secret    "outside"      home/outside/deep/
/// home/root/secret       "inside"
/// home/root/a/secret     "inside"       home/root/a/deep/
/// home/root/trap         -> ../outside
/// ```
struct Tree {
    home: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let tree = Self { home };
        for directory in ["root/a/deep", "outside/deep"] {
            std::fs::create_dir_all(tree.path(directory)).unwrap();
        }
        for (file, text) in [
            ("secret", "outside"),
            ("outside/secret", "outside"),
            ("root/secret", "inside"),
            ("root/a/secret", "inside"),
        ] {
            std::fs::write(tree.path(file), text).unwrap();
        }
        std::os::unix::fs::symlink("../outside", tree.path("root/trap")).unwrap();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// Tries `work` while another thread exchanges two names without end; how often it came back with the secret.
    fn escapes(
        &self,
        (one, other): (&str, &str),
        tries: usize,
        enough: usize,
        work: impl Fn() -> Option<OwnedFd>,
    ) -> usize {
        let (one, other, over) = (self.path(one), self.path(other), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let is_outside = |fd: OwnedFd| {
                let mut text = String::new();
                std::fs::File::from(fd).read_to_string(&mut text).unwrap();
                text == "outside"
            };
            let escapes = (0..tries).filter(|_| work().is_some_and(is_outside)).take(enough).count();
            over.store(true, Ordering::Relaxed);
            escapes
        })
    }
}

/// Looks first and opens afterwards.
fn naive_check_then_open(path: &Path) -> Option<OwnedFd> {
    if path.parent()?.symlink_metadata().ok()?.is_symlink() {
        return None;
    }
    std::thread::yield_now();
    std::fs::File::open(path).ok().map(Into::into)
}

/// Walks component by component and never through a link, but asks the file system what `..` is.
fn naive_walk(root: &Path, path: &[&str]) -> Option<OwnedFd> {
    let mut here = rustix::fs::open(root, OFlags::PATH, Mode::empty()).ok()?;
    let mut depth = 0_usize;
    for name in path {
        depth = if *name == ".." { depth.checked_sub(1)? } else { depth + 1 };
        let flags = if *name == "secret" { OFlags::RDONLY } else { OFlags::PATH } | OFlags::NOFOLLOW;
        here = rustix::fs::openat(&here, *name, flags, Mode::empty()).ok()?;
    }
    Some(here)
}

#[test]
fn a_directory_exchanged_for_a_link_leads_nowhere_else() {
    let tree = Tree::new();
    let exchanged = ("root/a", "root/trap");
    for resolver in [Resolver::Openat2, Resolver::Walk] {
        let root = Root::open(&tree.path("root")).unwrap().resolved_by(resolver);
        let work = || root.open_in(Path::new("a/secret"), OFlags::RDONLY).ok();
        assert_eq!(tree.escapes(exchanged, TRIES, TRIES, work), 0, "{resolver:?}");
    }
    let naive = || naive_check_then_open(&tree.path("root/a/secret"));
    assert_eq!(tree.escapes(exchanged, PATIENCE, 1, naive), 1, "the naive resolver must be caught");
}

#[test]
fn a_directory_that_is_moved_out_of_the_root_takes_nobody_along() {
    let tree = Tree::new();
    let exchanged = ("root/a/deep", "outside/deep");
    for resolver in [Resolver::Openat2, Resolver::Walk] {
        let root = Root::open(&tree.path("root")).unwrap().resolved_by(resolver);
        let work = || root.open_in(Path::new("a/deep/../secret"), OFlags::RDONLY).ok();
        assert_eq!(tree.escapes(exchanged, TRIES, TRIES, work), 0, "{resolver:?}");
    }
    let naive = || naive_walk(&tree.path("root"), &["a", "deep", "..", "secret"]);
    assert_eq!(tree.escapes(exchanged, PATIENCE, 1, naive), 1, "the naive walk must be caught");
}
