//! Everything that this chapter does to a store.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use images::archive::load;
use images::import;

use crate::world::{World, about, files};

/// The operations, each with the number of moments at which a sweep must have killed it at least: none of them may be lost
/// without notice, for then the test would test less.
pub(crate) const ALL: [(&str, usize); 5] = [("load", 15), ("import", 15), ("commit", 15), ("rmi", 5), ("gc", 5)];

/// Calls that change something elsewhere, beside those that change the disk.
pub(crate) const CALLS: [(&str, usize); 0] = [];

/// Those that take disk.
pub(crate) const TAKING: [&str; 3] = ["load", "import", "commit"];

/// Those that must not need any.
pub(crate) const FRUGAL: [&str; 2] = ["rmi", "gc"];

/// What lies outside of the machine that the accident happens to: here nothing.
pub(crate) struct Scene;

impl Scene {
    pub(crate) fn new(_length: usize) -> Option<Self> {
        process::needs::root().then_some(Self)
    }

    /// What is there before an operation; `length` is that of each of an image's three files, bytes.
    pub(crate) fn furnish(&self, _operation: &str, dir: &Path, length: usize) {
        World::furnish(dir, length);
    }
}

/// Does it; an error is its message.
pub(crate) fn operate(world: &World, operation: &str, dir: &Path, length: usize) -> Result<(), String> {
    let World { store, snapshots } = world;
    let done = match operation {
        "load" => load(store, snapshots, fs::File::open(dir.join("loaded.tar")).unwrap()).map(drop),
        "import" => import(store, snapshots, &files(60, length)[..], about("imported")).map(drop),
        "commit" => store.find("base").and_then(|base| world.stack(&base, 70, length, "committed")).map(drop),
        "rmi" => world.remove("top"),
        _ => world.collect(None).map(drop),
    };
    done.map_err(|error| error.to_string())
}

/// Whether a store with these names says that the operation was done.
pub(crate) fn is_done(operation: &str, names: &[String]) -> bool {
    let has = |name: &str| names.iter().any(|other| other == name);
    match operation {
        "load" => has("loaded:latest"),
        "import" => has("imported:latest"),
        "commit" => has("committed:latest"),
        "rmi" => !has("top:latest"),
        _ => names.len() == 2,
    }
}

/// What must hold outside of the machine after an accident.
pub(crate) fn assert_whole_elsewhere(_operation: &str, _dir: &Path, _place: &str) {}
