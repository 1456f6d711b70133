//! Without overlayfs: the same tree, and the same changes found by comparing.
#![allow(clippy::unwrap_used)]

mod listing;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Overlay, apply, diff_trees, lay_out};
use rootfs::Root;

use crate::listing::listing;

fn open(path: &Path) -> Root {
    Root::open(path).unwrap()
}

/// Two layers, the upper of which changes, removes and hides things of the lower one.
fn layers_in(dir: &Path) -> Vec<PathBuf> {
    let make = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    make("one/etc/passwd", "root");
    make("one/etc/group", "root");
    make("one/old/file", "old");
    make("one/file", "file");
    fs::hard_link(dir.join("one/file"), dir.join("one/second")).unwrap();
    let mut archive = layers::Tarball::new(Vec::new());
    archive.empty_file(Path::new("etc/.wh.group")).unwrap();
    archive.empty_file(Path::new("old/.wh..wh..opq")).unwrap();
    archive.file(Path::new("old/new"), 3, &layers::Attributes::plain(0o640), &b"new"[..]).unwrap();
    fs::create_dir(dir.join("two")).unwrap();
    apply(&archive.finish().unwrap()[..], &open(&dir.join("two")), &ApplyOptions::default()).unwrap();
    vec![dir.join("two"), dir.join("one")]
}

fn change(root: &Path) {
    let times = fs::metadata(root.join("etc/passwd")).unwrap().modified().unwrap();
    // The same size and the same time: only its bytes tell.
    fs::write(root.join("etc/passwd"), "toor").unwrap();
    fs::File::options().write(true).open(root.join("etc/passwd")).unwrap().set_modified(times).unwrap();
    fs::remove_file(root.join("old/new")).unwrap();
    fs::hard_link(root.join("file"), root.join("third")).unwrap();
    fs::create_dir(root.join("fresh")).unwrap();
    symlink("nowhere", root.join("fresh/link")).unwrap();
    fs::set_permissions(root.join("fresh"), PermissionsExt::from_mode(0o2770)).unwrap();
}

#[test]
fn a_copied_stack_is_what_an_overlay_shows() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lower = layers_in(dir.path());
    fs::create_dir(dir.path().join("copy")).unwrap();
    lay_out(&lower, &open(&dir.path().join("copy"))).unwrap();
    let mount = Overlay { lower, ..Overlay::default() }.mount().unwrap();
    let shown = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mount)));
    assert_eq!(listing(&dir.path().join("copy")), listing(&shown));
}

/// A directory that is removed and made anew in the same instant differs in nothing but what it lacks.
#[test]
fn a_directory_made_anew_has_no_attribute_of_the_one_before() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [base, copy, upper, again] = ["base", "copy", "upper", "again"].map(|name| dir.path().join(name));
    [&base, &copy, &upper, &again].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    fs::create_dir(base.join("it")).unwrap();
    let note = |path: &Path| {
        rustix::fs::lsetxattr(path, "user.note", b"old", rustix::fs::XattrFlags::empty()).unwrap();
    };
    [&base, &base.join("it")].into_iter().for_each(|path| note(path));
    lay_out(std::slice::from_ref(&base), &open(&copy)).unwrap();
    let times = fs::metadata(copy.join("it")).unwrap().modified().unwrap();
    fs::remove_dir(copy.join("it")).unwrap();
    fs::create_dir(copy.join("it")).unwrap();
    fs::File::open(copy.join("it")).unwrap().set_modified(times).unwrap();

    let mut archive = Vec::new();
    diff_trees(std::slice::from_ref(&base), &open(&copy), &mut archive).unwrap();
    apply(&archive[..], &open(&upper), &ApplyOptions::default()).unwrap();
    lay_out(&[upper, base], &open(&again)).unwrap();
    assert_eq!(listing(&again), listing(&copy));
    // The topmost layer describes the root, too.
    for path in [&again, &again.join("it")] {
        assert_eq!(rustix::fs::llistxattr(path, &mut [0; 64][..]).unwrap(), 0, "{path:?}");
    }
}

#[test]
fn what_was_changed_in_a_copy_is_found_and_comes_back() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lower = layers_in(dir.path());
    let [copy, upper, again] = ["copy", "upper", "again"].map(|name| dir.path().join(name));
    [&copy, &upper, &again].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    lay_out(&lower, &open(&copy)).unwrap();

    let mut nothing = Vec::new();
    diff_trees(&lower, &open(&copy), &mut nothing).unwrap();
    assert_eq!(nothing, [0; 1024], "an unchanged copy is an empty archive");

    change(&copy);
    let mut archive = Vec::new();
    diff_trees(&lower, &open(&copy), &mut archive).unwrap();
    let names: Vec<String> = tar::Archive::new(&archive[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["etc/", "etc/passwd", "file", "fresh/", "fresh/link", "old/", "old/.wh.new", "second", "third"]);
    apply(&archive[..], &open(&upper), &ApplyOptions::default()).unwrap();
    lay_out(&[vec![upper], lower].concat(), &open(&again)).unwrap();
    assert_eq!(listing(&again), listing(&copy));
}
