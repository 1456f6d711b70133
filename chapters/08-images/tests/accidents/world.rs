//! A store with an image in it, and what must be true of it after any accident. The tests of chapter 9 use it, too.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use images::archive::{Saved, save};
use images::{Collected, Descriptor, Error, Image, ImageConfig, Imported, Parts, Platform, Result, Store, import};
use layers::{Attributes, Snapshots, Tarball};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) snapshots: Snapshots,
}

/// Bytes that no compressor makes much smaller.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An archive of a few files that differ from seed to seed.
pub(crate) fn files(seed: u32, length: usize) -> Vec<u8> {
    let owner = Attributes {
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        ..Attributes::plain(0o755)
    };
    let mut archive = Tarball::new(Vec::new());
    archive.directory(Path::new("d"), &owner).unwrap();
    for n in 0..3 {
        let path = format!("d/{seed}-{n}");
        archive.file(Path::new(&path), length as u64, &owner, &noise(seed + n, length)[..]).unwrap();
    }
    archive.finish().unwrap()
}

pub(crate) fn about(name: &str) -> Imported {
    Imported {
        created: "2020-01-01T00:00:00Z".into(),
        message: "made by a test".into(),
        platform: Platform::host(),
        name: Some(name.parse().unwrap()),
        config: ImageConfig::default(),
    }
}

impl World {
    pub(crate) fn open(dir: &Path) -> Self {
        Self::try_open(dir).unwrap()
    }

    pub(crate) fn try_open(dir: &Path) -> Result<Self> {
        let store = Store::open(dir.join("images"))?;
        Ok(Self { store, snapshots: Snapshots::open(dir.join("layers"))? })
    }

    /// What is there before an operation; `length` is that of each of an image's three files, bytes.
    pub(crate) fn furnish(dir: &Path, length: usize) {
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let other = World::open(elsewhere.path());
        let image = import(&other.store, &other.snapshots, &files(50, length)[..], about("loaded")).unwrap();
        let mut archive = Vec::new();
        let saved = Saved { image, names: vec!["loaded".parse().unwrap()] };
        save(&other.store, &[saved], &mut archive).unwrap();
        let mut file = fs::File::create(dir.join("loaded.tar")).unwrap();
        file.write_all(&archive).and_then(|()| file.sync_all()).unwrap();

        let world = World::open(dir);
        let base = import(&world.store, &world.snapshots, &files(10, length)[..], about("base")).unwrap();
        world.stack(&base, 20, length, "top").unwrap();
        import(&world.store, &world.snapshots, &files(30, length)[..], about("garbage")).unwrap();
        let garbage = world.store.find("garbage").unwrap();
        world.store.forget(&garbage.target.digest).unwrap();
    }

    /// An image on another, as `commit` makes it.
    pub(crate) fn stack(&self, base: &Image, seed: u32, length: usize, name: &str) -> Result<Image> {
        let _lease = self.store.lease()?;
        let mut layer = self.store.layer_writer()?;
        let written = layer.write_all(&files(seed, length));
        written.map_err(|reason| Error::Transfer { digest: base.id, reason })?;
        let (diff_id, blob) = layer.commit()?;
        self.snapshots.extract(&diff_id, self.store.blob(&blob.digest)?)?;
        let mut config = base.config.clone();
        config.rootfs.diff_ids.push(diff_id);
        let layers: Vec<Descriptor> = base.manifest.layers.iter().cloned().chain([blob]).collect();
        let image = self.store.put_image(&config, layers)?;
        self.store.tag(&name.parse()?, &image.target)?;
        Ok(image)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let Some(target) = self.store.target(&name.parse()?)? else { return Ok(()) };
        let parts = self.store.parts(&target)?;
        self.store.forget(&target.digest)?;
        self.collect(Some(&parts)).map(drop)
    }

    pub(crate) fn collect(&self, among: Option<&Parts>) -> Result<Collected> {
        self.store.collect(&self.snapshots, among, || Ok(HashSet::new()))
    }

    /// Every image that has a name is whole: its blobs are what their names say, its layers lie there.
    pub(crate) fn assert_whole(&self, place: &str) {
        let verified = self.store.verify().unwrap();
        assert_eq!((verified.damaged, verified.missing), (vec![], vec![]), "{place}");
        for named in self.store.list().unwrap() {
            let image = self.store.image(&named.target).unwrap();
            assert!(image.diff_ids().iter().all(|layer| self.snapshots.has(layer)), "{place}: {named:?}");
        }
    }

    /// A collection leaves nothing but what images need.
    pub(crate) fn assert_no_orphans(&self, dir: &Path, place: &str) {
        // A child that another test is just starting holds a copy of every lock, until it executes its program.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.collect(None).unwrap().postponed {
            assert!(Instant::now() < deadline, "{place}: somebody holds a lease");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut needed = Parts::default();
        for named in self.store.list().unwrap() {
            let parts = self.store.parts(&named.target).unwrap();
            needed.blobs.extend(parts.blobs);
            needed.layers.extend(parts.layers);
        }
        let blobs: HashSet<_> = self.store.blobs().unwrap().into_iter().collect();
        let layers: HashSet<_> = self.snapshots.list().unwrap().into_iter().collect();
        assert_eq!((blobs, layers), (needed.blobs, needed.layers), "{place}");
        for under_way in ["images/tmp", "images/ingest", "layers/tmp"] {
            let left: Vec<_> = fs::read_dir(dir.join(under_way)).into_iter().flatten().map(Result::unwrap).collect();
            assert!(left.is_empty(), "{place}: {under_way}: {left:?}");
        }
        // Nothing but what the store's own description names.
        let known = [".lease", ".lock", ".spare", ".sweep", "blobs", "index.json", "oci-layout", "tmp"];
        let strange: Vec<_> = fs::read_dir(dir.join("images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !known.contains(&name.as_str()) && name != "ingest")
            .collect();
        assert_eq!(strange, Vec::<String>::new(), "{place}");
    }
}
