//! Layers by name: stacked once each, and given what they take from those below.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::{Attributes, DiffId, Digest, Snapshots, Tarball};
use rootfs::Root;

/// A store, and layers made by hand.
struct Store {
    _dir: tempfile::TempDir,
    snapshots: Snapshots,
}

fn mode(mode: u32) -> Attributes {
    Attributes { mtime: 1_000_000_000, ..Attributes::plain(mode) }
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
        Self { _dir: dir, snapshots }
    }

    fn layer(&self, make: impl FnOnce(&mut Tarball<Vec<u8>>)) -> DiffId {
        let mut tarball = Tarball::new(Vec::new());
        make(&mut tarball);
        let bytes = tarball.finish().unwrap();
        let id = DiffId(Digest::of(&bytes));
        self.snapshots.extract(&id, &bytes[..]).unwrap();
        id
    }

    fn view(&self, layers: &[DiffId]) -> (Root, PathBuf) {
        // An overlay that nobody writes to needs two directories.
        let bottom = self.layer(|tarball| tarball.file(Path::new("bottom"), 0, &mode(0o644), &b""[..]).unwrap());
        let root = Root::from(self.snapshots.view(&[&[bottom], layers].concat()).unwrap().mount().unwrap());
        let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd()));
        (root, path)
    }

    fn base(&self) -> DiffId {
        self.layer(|tarball| {
            tarball.directory(Path::new("tmp"), &mode(0o1777)).unwrap();
            tarball.directory(Path::new("bin"), &mode(0o711)).unwrap();
            tarball.file(Path::new("bin/tool"), 4, &mode(0o4755), &b"tool"[..]).unwrap();
        })
    }
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_is_one() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let base = store.base();
    let top =
        store.layer(|tarball| tarball.hard_link(Path::new("alias"), Path::new("bin/tool"), &mode(0o755)).unwrap());
    let (_root, path) = store.view(&[base, top]);
    let (tool, alias) = (fs::metadata(path.join("bin/tool")).unwrap(), fs::metadata(path.join("alias")).unwrap());
    assert_eq!((tool.ino(), tool.nlink(), tool.mode()), (alias.ino(), 2, 0o104755));
    assert_eq!(fs::read(path.join("alias")).unwrap(), b"tool");
    // The directory on the way was copied up as it is.
    assert_eq!(fs::metadata(path.join("bin")).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn the_same_layer_on_other_layers_takes_their_files_and_not_the_first_ones() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let other = store.layer(|tarball| tarball.file(Path::new("bin/tool"), 5, &mode(0o755), &b"other"[..]).unwrap());
    let top =
        store.layer(|tarball| tarball.hard_link(Path::new("alias"), Path::new("bin/tool"), &mode(0o755)).unwrap());
    for (below, content) in [(store.base(), &b"tool"[..]), (other, b"other")] {
        let (_root, path) = store.view(&[below, top]);
        assert_eq!(fs::read(path.join("alias")).unwrap(), content);
    }
}

#[test]
fn a_link_to_what_no_layer_has_is_an_error_that_names_it() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let top =
        store.layer(|tarball| tarball.hard_link(Path::new("alias"), Path::new("bin/none"), &mode(0o755)).unwrap());
    for stack in [&[top][..], &[store.base(), top]] {
        let error = store.snapshots.stack(stack).unwrap_err().to_string();
        assert!(error.contains("bin/none") && error.contains("no such file in the layers below"), "{error}");
    }
}

#[test]
fn a_directory_that_only_a_name_implies_keeps_the_mode_that_it_has_below() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let odd = PathBuf::from(OsStr::from_bytes(b"odd\xff/new"));
    let top = store.layer(|tarball| {
        tarball.file(Path::new("tmp/new"), 3, &mode(0o644), &b"new"[..]).unwrap();
        tarball.file(Path::new("fresh/new"), 3, &mode(0o644), &b"new"[..]).unwrap();
        // A name that is no text.
        tarball.file(&odd, 3, &mode(0o644), &b"new"[..]).unwrap();
    });
    let (_root, path) = store.view(&[store.base(), top]);
    assert_eq!(fs::metadata(path.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(path.join("fresh")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::read(path.join("tmp/new")).unwrap(), b"new");
    assert_eq!(fs::read(path.join(odd)).unwrap(), b"new");
}

#[test]
fn a_layer_that_occurs_twice_is_stacked_once_and_an_opaque_root_ends_the_stack() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let base = store.base();
    let empty = store.layer(|_| {});
    let (_root, path) = store.view(&[empty, base, empty]);
    assert!(path.join("bin/tool").exists());
    let fresh = store.layer(|tarball| {
        tarball.empty_file(Path::new(".wh..wh..opq")).unwrap();
        tarball.file(Path::new("alone"), 0, &mode(0o644), &b""[..]).unwrap();
    });
    assert_eq!(store.snapshots.stack(&[base, fresh]).unwrap(), [store.snapshots.dir(&fresh)]);
}

#[test]
fn a_draft_becomes_a_layer_or_nothing() {
    if !process::needs::root() {
        return;
    }
    let store = Store::new();
    let base = store.base();
    let draft = store.snapshots.prepare(&[base]).unwrap();
    let root = draft.open().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd()));
    fs::write(path.join("bin/tool"), b"changed").unwrap();
    drop(root);
    let made = store.snapshots.keep(&draft, std::io::sink()).unwrap();
    drop(draft);
    assert_eq!(store.snapshots.usage(&made.diff_id).unwrap().bytes, 7);
    drop(store.snapshots.prepare(&[base, made.diff_id]).unwrap());
    assert_eq!(store.snapshots.prune().unwrap(), 0);
    let (_root, path) = store.view(&[base, made.diff_id]);
    assert_eq!(fs::read(path.join("bin/tool")).unwrap(), b"changed");
    // fchown by a write takes setuid away, and the layer says so.
    assert_eq!(fs::metadata(path.join("bin/tool")).unwrap().permissions().mode() & 0o777, 0o755);
}
