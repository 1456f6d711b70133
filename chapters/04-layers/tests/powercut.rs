//! `powercut`: what was said to be committed is on the disk when the power goes.
//!
//! The disk is a file: an ext4 on a loop device. Its bytes at the moment after "done" are what a disk would hold whose
//! machine loses power right then, for what the kernel has not written yet is not in them. They are copied, the copy is
//! mounted, which replays the journal as a boot would, and every file in it is looked at.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[path = "power/disk.rs"]
mod disk;

use disk::Disk;
use layers::{Attributes, DiffId, Digest, Snapshots, Tarball};

const FILES: usize = 6;

fn content(layer: usize, file: usize) -> Vec<u8> {
    format!("layer {layer} file {file} ").repeat(100 + 37 * file).into_bytes()
}

fn archive(layer: usize) -> (DiffId, Vec<u8>) {
    let mut tarball = Tarball::new(Vec::new());
    tarball.directory(Path::new("d"), &Attributes::plain(0o755)).unwrap();
    for file in 0..FILES {
        let bytes = content(layer, file);
        let path = format!("d/file-{file}");
        tarball.file(Path::new(&path), bytes.len() as u64, &Attributes::plain(0o644), &bytes[..]).unwrap();
    }
    let bytes = tarball.finish().unwrap();
    (DiffId(Digest::of(&bytes)), bytes)
}

/// How many of a layer's files are not there as they were written.
fn damaged(files: &Path, layer: usize) -> usize {
    let good =
        |file: &usize| fs::read(files.join(format!("d/file-{file}"))).is_ok_and(|at| at == content(layer, *file));
    (0..FILES).filter(|file| !good(file)).count()
}

fn able() -> bool {
    process::needs::root()
        && process::needs::loop_devices()
        && process::needs::program("mkfs.ext4")
        && process::needs::program("losetup")
}

#[test]
fn a_hundred_commits_survive_the_power_cut_after_each() {
    if !able() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path().join("disk"), 96 << 20);
    let snapshots = Snapshots::open(disk.path().join("layers")).unwrap();
    let mut committed = Vec::new();
    for layer in 0..100 {
        let (id, bytes) = archive(layer);
        snapshots.extract(&id, &bytes[..]).unwrap();
        let after = disk.picture().boot();
        committed.push(id);

        let found = Snapshots::open(after.path().join("layers")).unwrap();
        assert_eq!(found.list().unwrap().len(), committed.len(), "after commit {layer}");
        for (layer, id) in committed.iter().enumerate() {
            assert_eq!(damaged(&found.dir(id), layer), 0, "layer {layer} after commit {}", committed.len());
            assert!(found.note(id).is_ok(), "layer {layer} has lost its note");
        }
    }
}

/// What is easily written instead: the files, then a rename, and even an fsync of the directory that holds the name.
fn commit_without_syncing_the_files(store: &Path, layer: usize) -> PathBuf {
    let (staging, home) = (store.join("staging"), store.join(layer.to_string()));
    fs::create_dir_all(staging.join("d")).unwrap();
    for file in 0..FILES {
        let mut out = fs::File::create(staging.join(format!("d/file-{file}"))).unwrap();
        out.write_all(&content(layer, file)).unwrap();
    }
    fs::rename(&staging, &home).unwrap();
    fs::File::open(store).unwrap().sync_all().unwrap();
    home
}

#[test]
fn a_commit_that_syncs_only_the_name_is_caught() {
    if !able() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path().join("disk"), 96 << 20);
    let mut lost = 0;
    for layer in 0..5 {
        let home = commit_without_syncing_the_files(&disk.path(), layer);
        let after = disk.picture().boot();
        let there = after.path().join(home.file_name().unwrap());
        assert!(there.exists(), "the name is there");
        lost += damaged(&there, layer);
    }
    assert!(lost > 0, "not one of {} files was lost: this test would not see a missing syncfs", 5 * FILES);
}
