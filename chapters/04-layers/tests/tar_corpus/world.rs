//! A small world around a root, with a secret and a canary in it, that must look the same after every case.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Error, Limits, apply};
use rootfs::Root;

/// A directory with a root in it and things beside the root that nobody may touch.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outside/dir")).unwrap();
        fs::write(dir.path().join("outside/secret"), b"secret").unwrap();
        fs::write(dir.path().join("canary"), b"alive").unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Self { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn outside(&self) -> String {
        self.dir.path().join("outside").display().to_string()
    }

    pub(crate) fn apply(&self, archive: &[u8], limits: Limits) -> layers::Result<layers::Applied> {
        let options = ApplyOptions { limits, ..ApplyOptions::default() };
        apply(archive, &Root::open(&self.root()).unwrap(), &options)
    }

    /// Everything but the root: names, kinds, modes, owners, link counts, contents.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        look(self.dir.path(), &self.root(), &mut seen);
        seen
    }
}

pub(crate) fn look(path: &Path, except: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path == except {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let (mtime, nlink) = ((meta.mtime(), meta.mtime_nsec()), meta.nlink());
        let mut xattrs = vec![0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut xattrs[..]).unwrap();
        xattrs.truncate(length);
        let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
        seen.insert(path.clone(), format!("{mode:o} {owner:?} {nlink} {mtime:?} {xattrs:?} {content:?}"));
        if meta.is_dir() {
            look(&path, except, seen);
        }
    }
}

/// Small limits, so that what must hit one does so soon.
pub(crate) const LIMITS: Limits = Limits { entries: 1000, bytes: 1 << 20, depth: 100 };

/// Applies a case, and holds the outside against what it was.
pub(crate) fn try_case(name: &str, members: &dyn Fn(&World) -> Vec<u8>) -> Result<World, Error> {
    let world = World::new();
    let before = world.snapshot();
    let bytes = members(&world);
    let result = world.apply(&bytes, LIMITS);
    assert_eq!(world.snapshot(), before, "{name}: the outside changed");
    result.map(|_| world)
}

/// The case must fail, and for this reason: a test of an attack that fails for another one tests nothing.
pub(crate) fn refused(name: &str, reason: &str, members: &dyn Fn(&World) -> Vec<u8>) {
    match try_case(name, members) {
        Ok(_) => panic!("{name}: was accepted"),
        Err(error) => assert!(error.to_string().contains(reason), "{name}: {error}"),
    }
}

pub(crate) fn contained(name: &str, members: &dyn Fn(&World) -> Vec<u8>) -> World {
    try_case(name, members).unwrap_or_else(|error| panic!("{name}: {error}"))
}
