//! Files into a container and out of it.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::path::Path;

use containers::{Container, CreateOptions, MountRequest, NewOwner, RemoveOptions};
use sandbox::{Sandbox, sh};

/// An archive of one file.
fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut tarball = layers::Tarball::new(Vec::new());
    let attributes = layers::Attributes { uid: 7, gid: 8, ..layers::Attributes::plain(0o644) };
    tarball.file(Path::new(name), text.len() as u64, &attributes, text.as_bytes()).unwrap();
    tarball.finish().unwrap()
}

fn copied_out(sandbox: &Sandbox, container: &Container, path: &str) -> String {
    let mut bytes = Vec::new();
    sandbox.engine.copy_out(container.id(), Path::new(path), Path::new("it"), &mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_container_that_does_not_run_gives_and_takes_files_and_its_volumes_too() {
    let Some(sandbox) = Sandbox::new() else { return };
    let mounts = vec![MountRequest::volume("kept:/srv/data").unwrap(), MountRequest::volume("shut:/shut:ro").unwrap()];
    let script = "cat /tmp/new /srv/data/new; stat -c '%u %g %a' /tmp/new; ls /shut";
    let container = sandbox.create(CreateOptions { mounts, user: Some("web".into()), ..sh(script) }).unwrap();
    let put = |under: &str, bytes: &[u8], owner| sandbox.engine.copy_in(container.id(), Path::new(under), bytes, owner);
    put("/tmp", &archive("new", "one\n"), NewOwner::User).unwrap();
    put("/srv/data", &archive("new", "two\n"), NewOwner::Archive).unwrap();
    put("/shut", &archive("new", "no"), NewOwner::Archive).unwrap_err();
    assert!(copied_out(&sandbox, &container, "/srv/data/from-the-image").contains("here"));
    assert!(std::fs::read(sandbox.engine.volumes().data("kept").join("new")).unwrap() == b"two\n");
    let outcome = sandbox.run_again(&container, b"").unwrap();
    assert_eq!(outcome.stdout, "one\ntwo\n33 34 644\n");
    sandbox.engine.remove(container.id(), RemoveOptions::default()).unwrap();
    sandbox.engine.remove_volume("kept").unwrap();
    sandbox.engine.remove_volume("shut").unwrap();
}

#[test]
fn a_running_container_gives_and_takes_what_it_sees_itself() {
    let Some(sandbox) = Sandbox::new() else { return };
    let memory = vec![MountRequest::tmpfs("/memory").unwrap()];
    let script = "ln -s /memory /way; echo mine > /memory/file; ln -s /etc/shadow /memory/out; echo; exec sleep 1000";
    let container = sandbox.run_detached(CreateOptions { mounts: memory, ..sh(script) });
    sandbox::eventually(|| sandbox.engine.look_at(container.id(), Path::new("/memory/out")).ok()).unwrap();
    assert!(copied_out(&sandbox, &container, "/way/file").contains("mine"));
    // A link is copied as a link, and where it leads is inside.
    assert!(copied_out(&sandbox, &container, "/memory/out").contains("/etc/shadow"));
    let place = sandbox.engine.look_at(container.id(), Path::new("/memory/out")).unwrap();
    assert_eq!(place.target, Path::new("/etc/shadow"));
    assert!(sandbox.engine.look_at(container.id(), &place.target).is_err(), "the container has no such file");
    sandbox
        .engine
        .copy_in(container.id(), Path::new("/way"), archive("new", "x").as_slice(), NewOwner::Archive)
        .unwrap();
    let read = sandbox.command(&["exec", container.id().as_str(), "cat", "/memory/new"]);
    assert_eq!(read.stdout, b"x");
}
