//! Pushing in parts, over a connection that breaks, and of several machines' images at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use distribution::{Client, Credentials, Lines, Options, Silent, pull, push, resolve};
use images::{Descriptor, Image, Index, Platform, Reference, Store, media};
use layers::Snapshots;

use crate::debian_registry::DebianRegistry;
use crate::sample;

fn needs_met() -> bool {
    process::needs::root() && process::needs::program("docker-registry")
}

fn client(options: Options) -> Client {
    Client::new(Credentials::anonymous(), options)
}

/// Pulls the image into new stores.
fn pulled(options: Options, name: &Reference) -> Image {
    let dir = tempfile::tempdir().unwrap();
    let (store, snapshots) =
        (Store::open(dir.path().join("i")).unwrap(), Snapshots::open(dir.path().join("l")).unwrap());
    let image = pull(&client(options), name, &store, &snapshots, &Silent).unwrap();
    assert_eq!(store.resolve(name).unwrap().unwrap().id, image.id);
    image
}

#[test]
fn a_blob_goes_in_parts_where_that_is_asked_for() {
    if !needs_met() {
        return;
    }
    let (registry, dir) = (DebianRegistry::open(), tempfile::tempdir().unwrap());
    let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = sample::three_layers(&store, &name);
    let lines = Lines::to(Vec::new());
    push(&client(Options { chunk: Some(700_001), ..Options::default() }), &name, &store, &image, &lines).unwrap();
    assert_eq!(String::from_utf8(lines.into_inner()).unwrap().matches(": pushed").count(), 4);
    assert_eq!(pulled(Options::default(), &name).id, image.id);
}

/// Passes connections on to a registry, and hangs up once, after so many bytes have come from the client.
fn cutting(registry: String, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let left = Arc::new(AtomicUsize::new(after));
    thread::spawn(move || {
        for mut here in listener.incoming().flatten() {
            let (mut there, left) = (TcpStream::connect(&registry).unwrap(), Arc::clone(&left));
            let (mut back_from, mut back_to) = (there.try_clone().unwrap(), here.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
                let _ = back_to.shutdown(std::net::Shutdown::Both);
            });
            thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(n @ 1..) = here.read(&mut buffer) {
                    if there.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                    let before =
                        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(n)));
                    if before.is_ok_and(|before| before > 0 && before <= n) {
                        break;
                    }
                }
                let _ = there.shutdown(std::net::Shutdown::Both);
                let _ = here.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_push_over_a_connection_that_breaks_goes_on() {
    if !needs_met() {
        return;
    }
    let (registry, dir) = (DebianRegistry::open(), tempfile::tempdir().unwrap());
    let address = cutting(registry.address(), 1 << 20);
    let name: Reference = format!("{address}/app:1").parse().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = sample::three_layers(&store, &name);
    let lines = Lines::to(Vec::new());
    push(&client(Options { parallel: 1, ..Options::default() }), &name, &store, &image, &lines).unwrap();
    let told = String::from_utf8(lines.into_inner()).unwrap();
    assert_eq!(told.matches("connection lost").count(), 1, "{told}");
    assert_eq!(pulled(Options::default(), &name).id, image.id);
}

#[test]
fn an_index_goes_whole_or_not_at_all_and_each_machine_takes_its_own() {
    if !needs_met() {
        return;
    }
    let (registry, dir) = (DebianRegistry::open(), tempfile::tempdir().unwrap());
    let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let machines = [Platform::host(), "linux/s390x".parse().unwrap()];
    let image = |machine: &Platform| {
        let mut entry = sample::image(&store, &name, &[&[("machine", machine.to_string().as_bytes())]]).target;
        entry.platform = Some(machine.clone());
        entry
    };
    let entries: Vec<Descriptor> = machines.iter().map(image).collect();
    let index = serde_json::to_vec(&Index::new(entries.clone())).unwrap();
    store.put(&index).unwrap();
    let target = Descriptor::of(media::OCI_INDEX, &index);
    store.tag(&name, &target).unwrap();

    let pushed = push(&client(Options::default()), &name, &store, &store.resolve(&name).unwrap().unwrap(), &Silent);
    assert_eq!(pushed.unwrap().digest, target.digest);
    assert_eq!(resolve(&client(Options::default()), &name).unwrap().target.digest, target.digest);
    for (machine, entry) in machines.into_iter().zip(&entries) {
        let mine = pulled(Options { platform: machine.clone(), ..Options::default() }, &name);
        assert_eq!(mine.manifest_descriptor.digest, entry.digest, "{machine}");
    }

    // Without the other machine's manifest there is no index to push: only what is here.
    let (to, other) = (tempfile::tempdir().unwrap(), format!("{}/part:1", registry.address()).parse().unwrap());
    let (part, snapshots) = (Store::open(to.path().join("i")).unwrap(), Snapshots::open(to.path().join("l")).unwrap());
    let mine = pull(&client(Options::default()), &name, &part, &snapshots, &Silent).unwrap();
    assert_eq!(mine.target.digest, target.digest);
    let lines = Lines::to(Vec::new());
    let pushed = push(&client(Options::default()), &other, &part, &mine, &lines).unwrap();
    assert_eq!(pushed.digest, entries[0].digest);
    assert!(String::from_utf8(lines.into_inner()).unwrap().contains("only the one for"));
}
