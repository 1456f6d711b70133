//! Layers made by us and extracted by umoci and podman, and theirs by us: the same trees.
#![allow(clippy::unwrap_used)]

mod listing;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::{ApplyOptions, DiffId, HashingReader, Snapshots, apply, decompress, diff};
use rootfs::Root;
use rustix::fs::XattrFlags;

use crate::listing::listing;

/// A directory with an image layout in it that umoci works on.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        bench.run("umoci init --layout layout && umoci new --image layout:ours");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a line of shell that must succeed; what it printed.
    fn run(&self, line: &str) -> String {
        // A store of its own, in plain directories: nothing stays mounted when it is removed.
        let podman = "podman() { command podman --root store --runroot run --storage-driver vfs \"$@\"; }";
        let script = format!("{podman}\n{line}");
        let output = Command::new("bash").args(["-ec", &script]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The archive of what `upper` changes, added to the image.
    fn add(&self, upper: &str, lower: &[PathBuf]) {
        let mut archive = Vec::new();
        diff(&Root::open(&self.path(upper)).unwrap(), lower, &mut archive).unwrap();
        fs::write(self.path("layer.tar"), archive).unwrap();
        self.run("umoci raw add-layer --image layout:ours layer.tar");
    }

    /// All layers of an image, laid over each other by us.
    fn extract(&self, image: &str, name: &str) -> PathBuf {
        let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let manifest = json(self.run(&format!("skopeo inspect --raw oci:layout:{image}")));
        let snapshots = Snapshots::open(self.path(&format!("{name}-store"))).unwrap();
        let mut chain = Vec::new();
        for layer in manifest["layers"].as_array().unwrap() {
            let blob = format!("layout/blobs/{}", layer["digest"].as_str().unwrap().replace(':', "/"));
            let blob = fs::read(self.path(&blob)).unwrap();
            let mut plain = HashingReader::new(decompress(&blob[..], u64::MAX).unwrap());
            std::io::copy(&mut plain, &mut std::io::sink()).unwrap();
            let id = DiffId(plain.finish().0);
            snapshots.extract(&id, &blob[..]).unwrap();
            chain.push(id);
        }
        let stack = snapshots.stack(&chain).unwrap();
        fs::create_dir(self.path(name)).unwrap();
        layers::lay_out(&stack, &Root::open(&self.path(name)).unwrap()).unwrap();
        self.path(name)
    }
}

/// A tree with one of each.
fn base(root: &Path) {
    for directory in ["etc", "old", "deep/er"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["etc/passwd", "etc/group", "old/file", "deep/er/file"] {
        fs::write(root.join(file), file).unwrap();
    }
    fs::hard_link(root.join("etc/passwd"), root.join("etc/second")).unwrap();
    symlink("../etc/passwd", root.join("old/link")).unwrap();
    chown(root.join("etc/group"), Some(70_000), Some(12)).unwrap();
    fs::set_permissions(root.join("deep"), PermissionsExt::from_mode(0o1770)).unwrap();
    let long = root.join(format!("deep/{}", "n".repeat(180)));
    fs::write(&long, "long").unwrap();
    // cap_net_raw+ep, version 2.
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::setxattr(&long, "security.capability", capability, XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(&long, "user.note", b"kept", XattrFlags::empty()).unwrap();
}

/// What an overlay's upper directory would hold, made by hand: a change, a removal, and a directory made anew.
fn upper(root: &Path) {
    let mut archive = layers::Tarball::new(Vec::new());
    let plain = layers::Attributes { mtime: 1_600_000_000, ..layers::Attributes::plain(0o755) };
    archive.directory(Path::new("etc"), &plain).unwrap();
    archive.empty_file(Path::new("etc/.wh.group")).unwrap();
    archive.directory(Path::new("old"), &plain).unwrap();
    archive.empty_file(Path::new("old/.wh..wh..opq")).unwrap();
    archive.file(Path::new("old/new"), 3, &plain, &b"new"[..]).unwrap();
    apply(&archive.finish().unwrap()[..], &Root::open(root).unwrap(), &ApplyOptions::default()).unwrap();
}

fn able() -> bool {
    process::needs::root() && process::needs::program("umoci") && process::needs::program("skopeo")
}

/// A listing without nanoseconds, which neither of the others writes.
fn seconds(root: &Path) -> Vec<String> {
    let cut = |line: String| {
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        words[4] = words[4].split('.').next().unwrap().to_owned();
        words.join(" ")
    };
    listing(root).into_iter().map(cut).collect()
}

#[test]
fn umoci_makes_the_same_tree_of_our_layers_and_we_of_its() {
    if !able() {
        return;
    }
    let bench = Bench::new();
    for name in ["base", "upper"] {
        fs::create_dir(bench.path(name)).unwrap();
    }
    base(&bench.path("base"));
    // Whole seconds: Go rounds what it writes, up as well as down.
    bench.run("find base -exec touch -h -d @1400000000 {} +");
    upper(&bench.path("upper"));
    bench.add("base", &[]);
    bench.add("upper", &[bench.path("base")]);
    bench.run("umoci unpack --image layout:ours bundle");
    let ours = bench.extract("ours", "by-us");
    assert_eq!(seconds(&bench.path("bundle/rootfs")), seconds(&ours));

    // Its own layer on top of ours: a change, a removal, a hard link to a file that is in a layer of ours.
    bench.run(
        "cd bundle/rootfs && echo more >> old/new && rm -r deep/er && ln etc/passwd third && touch -d @1500000000 old/new deep && cd ../.. && umoci repack --image layout:theirs bundle",
    );
    let ours = bench.extract("theirs", "theirs-by-us");
    assert_eq!(seconds(&ours), seconds(&bench.path("bundle/rootfs")));
}

#[test]
fn podman_makes_the_same_tree_of_our_layers_and_we_of_its() {
    if !able() || !process::needs::program("podman") {
        return;
    }
    let bench = Bench::new();
    for name in ["base", "upper"] {
        fs::create_dir(bench.path(name)).unwrap();
    }
    base(&bench.path("base"));
    // Whole seconds: Go rounds what it writes, up as well as down.
    bench.run("find base -exec touch -h -d @1400000000 {} +");
    upper(&bench.path("upper"));
    bench.add("base", &[]);
    bench.add("upper", &[bench.path("base")]);
    let store = "skopeo copy -q oci:layout:ours containers-storage:[vfs@$PWD/store+$PWD/run]localhost/ours:1";
    bench.run(store);
    let mounted = PathBuf::from(bench.run("podman image mount localhost/ours:1"));
    let ours = bench.extract("ours", "by-us");
    assert_eq!(seconds(&mounted), seconds(&ours));
    bench.run("podman image umount localhost/ours:1");

    bench.run("id=$(podman create localhost/ours:1 x); at=$(podman mount $id); echo more >> $at/old/new; rm $at/etc/second; mkdir $at/fresh; touch -d @1500000000 $at/fresh $at/old/new; podman umount $id; podman commit -q $id localhost/theirs:1; podman rm $id");
    bench.run("skopeo copy -q containers-storage:[vfs@$PWD/store+$PWD/run]localhost/theirs:1 oci:layout:theirs");
    let mounted = PathBuf::from(bench.run("podman image mount localhost/theirs:1"));
    let ours = bench.extract("theirs", "theirs-by-us");
    assert_eq!(seconds(&ours), seconds(&mounted));
}
