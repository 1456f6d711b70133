//! Everything that this chapter does to a store, with Debian's registry at the other end.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use distribution::{Client, Credentials, Error, Options, Silent, pull, push};
use images::{Reference, import};

use crate::debian_registry::DebianRegistry;
use crate::world::{World, about, files};

/// The operations, each with the number of moments at which a sweep must have killed it at least. To `extract` is to pull
/// what has come already, to `name` is to pull what was extracted as well.
pub(crate) const ALL: [(&str, usize); 4] = [("pull", 15), ("extract", 8), ("name", 5), ("push", 8)];

/// Calls that change something elsewhere: a push changes the registry with what it sends.
pub(crate) const CALLS: [(&str, usize); 1] = [("sendto", 1)];

/// Those that take disk.
pub(crate) const TAKING: [&str; 2] = ["pull", "extract"];

/// Those that must not need any.
pub(crate) const FRUGAL: [&str; 1] = ["push"];

/// A registry with an image in it.
pub(crate) struct Scene {
    registry: DebianRegistry,
    furnished: AtomicU32,
}

impl Scene {
    pub(crate) fn new(length: usize) -> Option<Self> {
        if !process::needs::root() || !process::needs::program("docker-registry") {
            return None;
        }
        let registry = DebianRegistry::open();
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let world = World::open(elsewhere.path());
        let base = import(&world.store, &world.snapshots, &files(50, length)[..], about("base")).unwrap();
        let image = world.stack(&base, 60, length, "app").unwrap();
        push(&client(), &pulled(&registry.address()), &world.store, &image, &Silent).unwrap();
        Some(Self { registry, furnished: AtomicU32::new(0) })
    }

    /// What is there before an operation. Each machine pushes to a repository that is new.
    pub(crate) fn furnish(&self, operation: &str, dir: &Path, length: usize) {
        World::furnish(dir, length);
        let number = self.furnished.fetch_add(1, Ordering::Relaxed);
        let note = format!("{} {number}", self.registry.address());
        process::state::write(&dir.join("registry"), note.as_bytes()).unwrap();
        if matches!(operation, "extract" | "name") {
            let world = World::open(dir);
            operate(&world, "pull", dir, length).unwrap();
            let name = pulled(&self.registry.address());
            let image = world.store.find(&name.to_string()).unwrap();
            world.store.untag(&name).unwrap();
            let layers = if operation == "extract" { image.diff_ids() } else { &[] };
            layers.iter().for_each(|layer| world.snapshots.remove(layer).unwrap());
        }
    }
}

/// One layer after the other: so the n-th call of a kind is the same each time.
fn client() -> Client {
    Client::new(Credentials::anonymous(), Options { parallel: 1, ..Options::default() })
}

/// The name that is pulled.
fn pulled(address: &str) -> Reference {
    format!("{address}/app:1").parse().unwrap()
}

/// The registry's address, and the name that this machine pushes.
fn names(dir: &Path) -> (String, Reference) {
    let text = fs::read_to_string(dir.join("registry")).unwrap();
    let (address, number) = text.split_once(' ').unwrap();
    (address.to_owned(), format!("{address}/pushed-{number}:1").parse().unwrap())
}

/// Does it; an error is its message.
pub(crate) fn operate(world: &World, operation: &str, dir: &Path, _length: usize) -> Result<(), String> {
    let (address, target) = names(dir);
    let done = match operation {
        "pull" | "extract" | "name" => {
            pull(&client(), &pulled(&address), &world.store, &world.snapshots, &Silent).map(drop)
        }
        _ => {
            let image = world.store.find("top").unwrap();
            push(&client(), &target, &world.store, &image, &Silent).map(drop)
        }
    };
    done.map_err(|error| error.to_string())
}

/// Whether a store with these names says that the operation was done.
pub(crate) fn is_done(operation: &str, names: &[String]) -> bool {
    operation == "push" || names.iter().any(|name| name.ends_with("/app:1"))
}

/// What the registry has under the name that was pushed is a whole image, or nothing.
pub(crate) fn assert_whole_elsewhere(operation: &str, dir: &Path, place: &str) {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::open(elsewhere.path());
    match pull(&client(), &names(dir).1, &world.store, &world.snapshots, &Silent) {
        Ok(_) => world.assert_whole(place),
        Err(Error::UnknownImage { .. }) => {}
        Err(error) => panic!("{place}: what {operation} left in the registry: {error}"),
    }
}
