//! Any tree, changed in any way: its difference, applied, gives the same tree again.
#![allow(clippy::unwrap_used)]

mod listing;

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Overlay, apply, diff, diff_trees, lay_out};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rootfs::Root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::listing::listing;

/// One change to a tree. What makes no sense there, such as a file below a file, is passed over.
#[derive(Debug, Clone)]
enum Change {
    File(PathBuf, Vec<u8>),
    Directory(PathBuf),
    Symlink(PathBuf, PathBuf),
    HardLink(PathBuf, PathBuf),
    Fifo(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Mode(PathBuf, u32),
    Owner(PathBuf, u32),
    Xattr(PathBuf, Vec<u8>),
    Time(PathBuf, i64, i64),
}

fn paths() -> impl Strategy<Value = PathBuf> {
    // Few names, so that changes meet; among them one that is no UTF-8, and one too long for a header.
    let name = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"c.wh.".to_vec()),
        Just(b"\xff\n=".to_vec()),
        Just(vec![b'x'; 150]),
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| names.iter().map(|name| OsStr::from_bytes(name)).collect())
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..700);
    let change = prop_oneof![
        4 => (paths(), bytes()).prop_map(|(path, bytes)| Change::File(path, bytes)),
        4 => paths().prop_map(Change::Directory),
        1 => (paths(), paths()).prop_map(|(path, to)| Change::Symlink(path, to)),
        3 => (paths(), paths()).prop_map(|(path, to)| Change::HardLink(path, to)),
        1 => paths().prop_map(Change::Fifo),
        3 => paths().prop_map(Change::Remove),
        2 => (paths(), paths()).prop_map(|(path, to)| Change::Rename(path, to)),
        1 => (paths(), 0..0o10000_u32).prop_map(|(path, mode)| Change::Mode(path, mode)),
        1 => (paths(), 0..3_000_000_u32).prop_map(|(path, id)| Change::Owner(path, id)),
        1 => (paths(), bytes()).prop_map(|(path, bytes)| Change::Xattr(path, bytes)),
        2 => (paths(), -5_i64..9_000_000_000, 0..1_000_000_000_i64)
            .prop_map(|(path, seconds, nanoseconds)| Change::Time(path, seconds, nanoseconds)),
    ];
    prop::collection::vec(change, 0..25)
}

/// Makes a change; whether the kernel found sense in it does not matter.
fn make(root: &Path, change: &Change) {
    let at = |path: &PathBuf| root.join(path);
    let real = |path: &PathBuf| at(path).symlink_metadata().is_ok_and(|meta| !meta.is_symlink());
    let _ = match change {
        // Opening a FIFO to write would wait for a reader.
        Change::File(path, bytes) if !at(path).exists() || at(path).is_file() && real(path) => {
            fs::File::create_new(at(path))
                .or_else(|_| fs::File::options().write(true).truncate(true).open(at(path)))
                .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        }
        Change::Directory(path) => fs::create_dir(at(path)),
        Change::Symlink(path, to) => symlink(to, at(path)),
        Change::HardLink(path, to) => fs::hard_link(at(to), at(path)),
        Change::Fifo(path) => {
            rustix::fs::mknodat(CWD, at(path), FileType::Fifo, Mode::RWXU, 0).map_err(std::io::Error::from)
        }
        Change::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
        Change::Rename(path, to) => fs::rename(at(path), at(to)),
        Change::Mode(path, mode) if real(path) => {
            fs::set_permissions(at(path), std::os::unix::fs::PermissionsExt::from_mode(*mode))
        }
        Change::Owner(path, id) => std::os::unix::fs::lchown(at(path), Some(*id), Some(id / 2)),
        Change::Xattr(path, value) if real(path) => {
            rustix::fs::lsetxattr(at(path), "user.note", value, XattrFlags::empty()).map_err(std::io::Error::from)
        }
        Change::Time(path, tv_sec, tv_nsec) => {
            let time = Timespec { tv_sec: *tv_sec, tv_nsec: *tv_nsec };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, at(path), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)
        }
        _ => Ok(()),
    };
}

fn open(path: &Path) -> Root {
    Root::open(path).unwrap()
}

fn inside(mount: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd()))
}

/// A fresh directory with this name in `dir`.
fn fresh(dir: &Path, name: &str) -> PathBuf {
    fs::create_dir(dir.join(name)).unwrap();
    dir.join(name)
}

fn property<S: Strategy>(cases: u32, strategy: S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    // Nothing is written beside the sources; a failure prints its smallest case.
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    TestRunner::new(config).run(&strategy, check).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_tree_written_and_applied_is_the_same_tree() {
    if !process::needs::root() {
        return;
    }
    property(100, changes(), |changes| {
        let dir = tempfile::tempdir().unwrap();
        let [tree, copy] = ["tree", "copy"].map(|name| fresh(dir.path(), name));
        changes.iter().for_each(|change| make(&tree, change));
        let mut archive = Vec::new();
        diff(&open(&tree), &[], &mut archive).unwrap();
        apply(&archive[..], &open(&copy), &ApplyOptions::default()).unwrap();
        prop_assert_eq!(listing(&copy), listing(&tree));
        let mut again = Vec::new();
        diff(&open(&copy), &[], &mut again).unwrap();
        prop_assert_eq!(again, archive, "the same tree is the same archive");
        Ok(())
    });
}

#[test]
fn any_change_over_any_layer_comes_back_as_a_layer() {
    if !process::needs::root() {
        return;
    }
    property(60, (changes(), changes()), |(below, changes)| {
        let dir = tempfile::tempdir().unwrap();
        let [base, empty, layer] = ["base", "empty", "layer"].map(|name| fresh(dir.path(), name));
        below.iter().for_each(|change| make(&base, change));
        let (upper, lower) = (dir.path().join("upper"), vec![base, empty]);
        let upper_work = Some((upper.clone(), dir.path().join("work")));
        let overlay = Overlay { lower: lower.clone(), upper_work, ..Overlay::default() };
        overlay.prepare().unwrap();
        let changed = overlay.mount().unwrap();
        changes.iter().for_each(|change| make(&inside(&changed), change));

        let mut archive = Vec::new();
        diff(&open(&upper), &lower, &mut archive).unwrap();
        apply(&archive[..], &open(&layer), &ApplyOptions::default()).unwrap();
        let stack = [vec![layer], lower].concat();
        let again = Overlay { lower: stack, ..Overlay::default() }.mount().unwrap();
        prop_assert_eq!(listing(&inside(&again)), listing(&inside(&changed)));
        Ok(())
    });
}

#[test]
fn any_change_to_a_copied_stack_is_found() {
    if !process::needs::root() {
        return;
    }
    property(60, (changes(), changes()), |(below, changes)| {
        let dir = tempfile::tempdir().unwrap();
        let [base, copy, layer, again] = ["base", "copy", "layer", "again"].map(|name| fresh(dir.path(), name));
        below.iter().for_each(|change| make(&base, change));
        lay_out(std::slice::from_ref(&base), &open(&copy)).unwrap();
        changes.iter().for_each(|change| make(&copy, change));
        let mut archive = Vec::new();
        diff_trees(std::slice::from_ref(&base), &open(&copy), &mut archive).unwrap();
        apply(&archive[..], &open(&layer), &ApplyOptions::default()).unwrap();
        lay_out(&[layer, base], &open(&again)).unwrap();
        prop_assert_eq!(listing(&again), listing(&copy));
        Ok(())
    });
}
