#![allow(clippy::unwrap_used)]

use super::*;
use crate::builtin;

#[test]
fn a_flipped_byte_and_a_lost_blob_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = builtin::make(builtin::HELLO, &store).unwrap();
    assert_eq!(store.verify().unwrap().sound, 3);

    let layer = image.manifest.layers[0].digest;
    let mut bytes = std::fs::read(store.blob_path(&layer)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(store.blob_path(&layer), bytes).unwrap();
    std::fs::remove_file(store.blob_path(&image.id)).unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.sound, verified.damaged, verified.missing), (1, vec![layer], vec![image.id]));
}
