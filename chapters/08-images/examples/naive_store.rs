//! The naive way to read an image: follow what its documents say, and believe it.
//!
//! It works on every image that one makes oneself. `cargo run --example naive_store` gives it three that somebody else
//! had a hand in, and then gives the same three to [`images::Store`].
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use images::{Store, builtin};
use layers::Digest;
use serde_json::{Value, json};

const SECRET: &str = "the machine's secret";

/// Never do this: the first layer of the first image, as far as its documents are to be believed.
fn naive_layer(store: &Path) -> Vec<u8> {
    // "sha256:12ab" becomes blobs/sha256/12ab. And what does "sha256:../../../secret" become?
    let path = |entry: &Value| store.join("blobs").join(entry["digest"].as_str().unwrap().replace(':', "/"));
    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let manifest = read(path(&read(store.join("index.json"))["manifests"][0]));
    // Nobody asks whether this is a manifest at all, nor whether the bytes are those that were named.
    fs::read(path(&manifest["layers"][0])).unwrap()
}

/// The same with the library: a refusal is a fine answer.
fn hardened_layer(store: &Path) -> Result<Vec<u8>, images::Error> {
    let store = Store::open_existing(store)?;
    let image = store.image(&store.list()?[0].target)?;
    store.blob_bytes(&image.manifest.layers[0].digest, 1 << 20)
}

/// A store with the built-in image, beside a file that is none of its business.
fn world() -> tempfile::TempDir {
    let world = tempfile::tempdir().unwrap();
    builtin::make(builtin::HELLO, &Store::open(world.path().join("store")).unwrap()).unwrap();
    fs::write(world.path().join("secret"), SECRET).unwrap();
    world
}

/// Puts another manifest into the store, under its right digest, and has the index name it.
fn rename_manifest(store: &Path, change: impl Fn(&mut Value)) {
    let mut index: Value = serde_json::from_slice(&fs::read(store.join("index.json")).unwrap()).unwrap();
    let blobs = store.join("blobs/sha256");
    let hex = index["manifests"][0]["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
    let mut manifest = serde_json::from_slice(&fs::read(blobs.join(hex)).unwrap()).unwrap();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::of(&bytes);
    fs::write(blobs.join(digest.hex()), &bytes).unwrap();
    index["manifests"][0]["digest"] = json!(digest.to_string());
    index["manifests"][0]["size"] = json!(bytes.len());
    fs::write(store.join("index.json"), index.to_string()).unwrap();
}

/// One byte of the layer is another, as after a bad disk or a bad neighbour.
fn flip(store: &Path) {
    for blob in fs::read_dir(store.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(b"hello\0") {
            bytes[600] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A layer whose digest is a path (CVE-2024-3727).
fn climb(store: &Path) {
    rename_manifest(store, |manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../secret"));
}

/// A document that is a manifest to one reader and an index to the next (CVE-2021-41190).
fn two_faces(store: &Path) {
    rename_manifest(store, |manifest| manifest["manifests"] = json!([]));
}

/// What somebody does to a store.
type Attack = fn(&Path);

/// What harms the naive form, by name.
const ATTACKS: [(&str, Attack); 3] =
    [("a flipped byte", flip), ("a digest that is a path", climb), ("a manifest with two faces", two_faces)];

/// What each form answers to an attack.
fn answers(attack: Attack) -> [String; 2] {
    let world = world();
    let store = world.path().join("store");
    let sound = naive_layer(&store);
    attack(&store);
    let naive = match naive_layer(&store) {
        layer if layer == SECRET.as_bytes() => format!("reads {SECRET}"),
        layer if layer == sound => "takes it for a manifest".to_owned(),
        _ => "takes the altered layer".to_owned(),
    };
    let hardened = match hardened_layer(&store) {
        Ok(_) => "takes it".to_owned(),
        Err(error) => error.to_string(),
    };
    [naive, hardened]
}

fn main() {
    for (name, attack) in ATTACKS {
        let [naive, hardened] = answers(attack);
        println!("{name}:\n  naive:    {naive}\n  hardened: {hardened}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attack_works_against_the_naive_form_and_is_refused_by_ours() {
        for ((name, attack), harm) in ATTACKS.into_iter().zip(["altered", SECRET, "takes it for a manifest"]) {
            let [naive, hardened] = answers(attack);
            assert!(naive.contains(harm), "{name}: {naive}");
            assert_ne!(hardened, "takes it", "{name}");
        }
    }
}
