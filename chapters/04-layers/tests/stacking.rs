//! Where the kernel's overlayfs is refused: what stands in for it, and that the changes come out the same.
//!
//! The refusal is real: an overlay takes no other overlay's directory as its upper one. So it is for every engine that runs
//! inside a container.
#![allow(clippy::unwrap_used)]

mod listing;

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Attributes, DiffId, Digest, Overlay, Snapshots, Stacking, Tarball, apply, changes};
use rootfs::Root;

use crate::listing::listing;

fn open(path: &Path) -> Root {
    Root::open(path).unwrap()
}

/// Two layers below, topmost first, and the directories for changes.
fn stack_in(dir: &Path) -> Overlay {
    for (path, text) in
        [("one/etc/passwd", "root"), ("one/old/file", "old"), ("one/gone", "gone"), ("one/both/low", "")]
    {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), text).unwrap();
    }
    let mut archive = Tarball::new(Vec::new());
    archive.empty_file(Path::new(".wh.gone")).unwrap();
    archive.directory(Path::new("both"), &Attributes::plain(0o750)).unwrap();
    archive.file(Path::new("both/high"), 4, &Attributes::plain(0o640), &b"high"[..]).unwrap();
    fs::create_dir(dir.join("two")).unwrap();
    apply(&archive.finish().unwrap()[..], &open(&dir.join("two")), &ApplyOptions::default()).unwrap();
    let overlay = Overlay {
        lower: vec![dir.join("two"), dir.join("one")],
        upper_work: Some((dir.join("upper"), dir.join("work"))),
        ..Overlay::default()
    };
    overlay.prepare().unwrap();
    overlay
}

/// Where something can be reached by path that is in no mount table.
fn inside(handle: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()))
}

/// Its listing without times, which are those of the moment.
fn timeless(tree: &Root) -> Vec<String> {
    let without = |line: String| {
        let fields = line.split(' ').enumerate().filter(|(number, _)| *number != 4).map(|(_, field)| field);
        fields.collect::<Vec<_>>().join(" ")
    };
    listing(&inside(tree)).into_iter().map(without).collect()
}

/// What a container might do, through the tree's own handle.
fn change(tree: &Root) {
    let tree = inside(tree);
    assert!(!tree.join("gone").exists(), "layer two hides it");
    assert_eq!(fs::read_dir(tree.join("both")).unwrap().count(), 2);
    fs::write(tree.join("etc/passwd"), "toor").unwrap();
    fs::remove_dir_all(tree.join("old")).unwrap();
    fs::create_dir(tree.join("old")).unwrap();
    fs::write(tree.join("old/new"), "new").unwrap();
    fs::remove_file(tree.join("both/low")).unwrap();
    fs::create_dir(tree.join("fresh")).unwrap();
    symlink("nowhere", tree.join("fresh/link")).unwrap();
    fs::set_permissions(tree.join("fresh"), PermissionsExt::from_mode(0o2770)).unwrap();
}

fn letters(overlay: &Overlay) -> Vec<String> {
    let (upper, _) = overlay.upper_work.as_ref().unwrap();
    changes(&open(upper), &overlay.lower).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn every_way_shows_the_same_tree_and_keeps_the_same_changes() {
    if !process::needs::root() || !process::needs::program("fuse-overlayfs") {
        return;
    }
    let mut seen = Vec::new();
    for way in [Stacking::Overlay, Stacking::FuseOverlayfs, Stacking::Copy] {
        let dir = tempfile::tempdir().unwrap();
        let overlay = stack_in(dir.path());
        let tree = way.open(&overlay).unwrap();
        change(&tree);
        let shown = timeless(&tree);
        drop(tree);
        way.settle(&overlay).unwrap();
        // A second start, on what the first has left, and once more settled.
        let again = timeless(&way.open(&overlay).unwrap());
        assert_eq!(again, shown, "{way}");
        way.settle(&overlay).unwrap();
        seen.push((way, shown, letters(&overlay)));
    }
    let (_, tree, letters) = &seen[0];
    assert_eq!(
        letters[..],
        ["C /both", "D /both/low", "C /etc", "C /etc/passwd", "A /fresh", "A /fresh/link", "C /old", "A /old/new"]
    );
    for (way, other, other_letters) in &seen[1..] {
        assert_eq!(other, tree, "{way}");
        // A directory that was removed and made anew looks, afterwards, like one whose files were removed.
        let said: Vec<_> = other_letters.iter().filter(|line| **line != "D /old/file").cloned().collect();
        assert_eq!(said, *letters, "{way}");
        assert_eq!(said.len() < other_letters.len(), *way == Stacking::Copy);
    }
}

/// The same for a user who is root of a user namespace only: there overlays keep their marks in other attributes.
#[test]
fn so_it_is_for_an_ordinary_user() {
    if namespaces::rootless::is_rootless() {
        return;
    }
    if !process::needs::user_namespaces() || !process::needs::program("unshare") {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let test = "every_way_shows_the_same_tree_and_keeps_the_same_changes";
    let mut words: Vec<String> = Vec::new();
    let place = tempfile::tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        if !process::needs::program("runuser") || !process::needs::account("learner") {
            return;
        }
        words.extend(process::needs::lending("/dev/fuse", place.path()));
        words.extend(["runuser", "-u", "learner", "--"].map(str::to_owned));
    }
    words.extend(["unshare", "--user", "--mount", "--map-root-user"].map(str::to_owned));
    words.extend([program.to_str().unwrap(), "--exact", test].map(str::to_owned));
    let output = std::process::Command::new(&words[0]).args(&words[1..]).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// Beside a way that does not work the next one is taken: here the first is made not to, by a place that takes no overlay.
#[test]
fn a_program_is_taken_before_a_copy_and_only_if_it_does_all_that_is_needed() {
    if !process::needs::root() || !process::needs::program("fuse-overlayfs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut overlay = stack_in(dir.path());
    // More layers than the kernel stacks; the program has no such bound.
    let many = (0..501).map(|n| dir.path().join(format!("many/{n}")));
    overlay.lower.extend(many.inspect(|layer| fs::create_dir_all(layer).unwrap()));
    let (choice, tree) = Stacking::first_that_works(&overlay).unwrap();
    assert_eq!(choice.stacking, Stacking::FuseOverlayfs, "{choice:?}");
    assert!(choice.reason.contains("the kernel stacks 500"), "{choice:?}");
    assert_eq!(fs::read(inside(&*tree).join("both/high")).unwrap(), b"high");
}

/// The names in an archive.
fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

/// Extracts two layers in a store below `place`, the second of which hides `gone`, and makes a third over them.
fn third_layer(place: &Path) -> (Snapshots, Vec<DiffId>, Vec<String>) {
    let store = Snapshots::open(place.join("layers")).unwrap();
    let mut one = Tarball::new(Vec::new());
    one.file(Path::new("gone"), 4, &Attributes::plain(0o644), &b"gone"[..]).unwrap();
    one.directory(Path::new("old"), &Attributes::plain(0o755)).unwrap();
    one.file(Path::new("old/file"), 3, &Attributes::plain(0o644), &b"old"[..]).unwrap();
    let mut two = Tarball::new(Vec::new());
    two.empty_file(Path::new(".wh.gone")).unwrap();
    let layers = [one.finish().unwrap(), two.finish().unwrap()].map(|archive| {
        let id = DiffId(Digest::of(&archive));
        store.extract(&id, &archive[..]).unwrap();
        id
    });
    let draft = store.prepare(&layers).unwrap();
    let tree = draft.open().unwrap();
    let names_shown: Vec<_> = fs::read_dir(inside(&*tree)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names_shown, ["old"]);
    fs::remove_dir_all(inside(&*tree).join("old")).unwrap();
    fs::create_dir(inside(&*tree).join("old")).unwrap();
    fs::write(inside(&*tree).join("old/new"), "new").unwrap();
    drop(tree);
    let mut archive = Vec::new();
    let made = store.keep(&draft, &mut archive).unwrap();
    let chain = [&layers[..], &[made.diff_id]].concat();
    (store, chain, names(&archive))
}

#[test]
fn a_store_on_an_overlay_copies_says_why_and_makes_the_same_layers() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (plain, _, expected) = third_layer(dir.path());
    let choice = plain.stacking().unwrap();
    assert_eq!((choice.stacking, &*choice.reason), (Stacking::Overlay, "the kernel's own"));

    fs::create_dir(dir.path().join("lower")).unwrap();
    let upper_work = Some((dir.path().join("upper"), dir.path().join("work")));
    let below = Overlay { lower: vec![dir.path().join("lower")], upper_work, ..Overlay::default() };
    below.prepare().unwrap();
    let mount = below.mount().unwrap();
    let (store, chain, names) = third_layer(&inside(&mount));
    assert_eq!(expected, ["old/", "old/.wh..wh..opq", "old/new"]);
    // The same in other words: a copy does not see that the directory is another one.
    assert_eq!(names, ["old/", "old/.wh.file", "old/new"]);
    let choice = store.stacking().unwrap();
    assert_eq!(choice.stacking, Stacking::Copy);
    for reason in ["not supported as upperdir", "EINVAL", "fuse-overlayfs: "] {
        assert!(choice.reason.contains(reason), "{choice:?}");
    }
    // To read, the kernel takes layers that are on an overlay, whiteouts without devices included (Linux 6.7).
    let view = store.view(&chain).unwrap().mount().unwrap();
    assert_eq!(listing(&inside(&view)).len(), 2, "old, old/new");
    assert_eq!(fs::read_dir(dir.path().join("upper/layers/tmp")).unwrap().count(), 0, "what was tried is gone");
}
