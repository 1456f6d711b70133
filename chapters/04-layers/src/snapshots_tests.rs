#![allow(clippy::unwrap_used)]

use super::*;
use crate::tarball::{Attributes, Tarball};

fn store() -> (tempfile::TempDir, Snapshots) {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    (dir, snapshots)
}

/// An archive of one file, and its diff id.
fn layer(text: &[u8]) -> (Vec<u8>, DiffId) {
    let mut tarball = Tarball::new(Vec::new());
    tarball.file(Path::new("file"), text.len() as u64, &Attributes::plain(0o644), text).unwrap();
    let archive = tarball.finish().unwrap();
    let diff_id = DiffId(Digest::of(&archive));
    (archive, diff_id)
}

fn under_way(snapshots: &Snapshots) -> usize {
    fs::read_dir(snapshots.dir.join("tmp")).unwrap().count()
}

#[test]
fn a_layer_is_there_whole_or_not_at_all() {
    let (_dir, snapshots) = store();
    let (archive, diff_id) = layer(b"staves");
    assert!(!snapshots.has(&diff_id));
    snapshots.extract(&diff_id, &archive[..]).unwrap();
    assert_eq!(fs::read(snapshots.dir(&diff_id).join("file")).unwrap(), b"staves");
    assert_eq!(snapshots.size(&diff_id).unwrap(), 6);
    assert_eq!(snapshots.list().unwrap(), [diff_id]);
    assert_eq!(under_way(&snapshots), 0);
}

#[test]
fn another_diff_id_a_cut_archive_and_trailing_bytes_leave_nothing() {
    let (_dir, snapshots) = store();
    let (archive, diff_id) = layer(b"staves");
    let longer = [&archive[..], b"and more"].concat();
    for bytes in [layer(b"hoops").0, archive[..700].to_vec(), longer] {
        assert!(snapshots.extract(&diff_id, &bytes[..]).is_err());
        assert_eq!((snapshots.list().unwrap().len(), under_way(&snapshots)), (0, 0));
    }
}

#[test]
fn what_a_killed_writer_left_is_swept_and_a_living_ones_work_is_not() {
    let (_dir, snapshots) = store();
    fs::create_dir(snapshots.dir.join("tmp/abandoned")).unwrap();
    fs::write(snapshots.dir.join("tmp/abandoned/file"), b"half").unwrap();
    let living = Staging::new(&snapshots.dir).unwrap();
    let again = Snapshots::open(&snapshots.dir).unwrap();
    assert_eq!(under_way(&again), 1);
    assert!(living.files().exists());
    drop(living);
    assert_eq!(under_way(&again), 0);
}

#[test]
fn two_writers_of_one_layer_agree() {
    let (_dir, snapshots) = store();
    let (archive, diff_id) = layer(&vec![7; 1 << 20]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| snapshots.extract(&diff_id, &archive[..]).unwrap());
        }
    });
    assert_eq!((snapshots.list().unwrap(), under_way(&snapshots)), (vec![diff_id], 0));
}

#[test]
fn a_directory_is_adopted_and_a_layer_removed() {
    let (dir, snapshots) = store();
    let upper = dir.path().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("file"), b"staves").unwrap();
    let diff = crate::diff_size(&Root::open(&upper).unwrap(), &[]).unwrap();
    snapshots.adopt(&diff.diff_id, &upper).unwrap();
    assert_eq!(snapshots.size(&diff.diff_id).unwrap(), 6);
    assert!(!upper.exists());
    snapshots.remove(&diff.diff_id).unwrap();
    snapshots.remove(&diff.diff_id).unwrap();
    assert!(matches!(snapshots.size(&diff.diff_id), Err(Error::NoLayer(_))));
    assert_eq!(under_way(&snapshots), 0);
}
