//! skopeo, podman and chapter 9's client push to this registry and pull from it.

use std::path::Path;
use std::process::Command;

use distribution::{Client, Credentials, Login, Options, Silent, pull, push};
use images::{Descriptor, Image, Manifest, Reference, Store, media};
use layers::{Digest, Snapshots};
use serde_json::json;

use crate::serving::Serving;

/// A store with one image of one file.
fn sample(dir: &Path, name: &Reference) -> (Store, Image) {
    let store = Store::open(dir.join("images")).unwrap();
    let content = b"hello\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "motd", &content[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/motd"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&archive)] },
    });
    let config = config.to_string().into_bytes();
    let layer = Descriptor::of(media::OCI_LAYER, &archive);
    let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), vec![layer]).to_bytes();
    for blob in [&archive, &config, &manifest] {
        store.put(blob).unwrap();
    }
    let target = Descriptor::of(media::OCI_MANIFEST, &manifest);
    store.tag(name, &target).unwrap();
    let image = store.image(&target).unwrap();
    (store, image)
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {err}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn our_client_and_skopeo_understand_each_other_here() {
    if !process::needs::root() || !process::needs::program("skopeo") {
        return;
    }
    let serving = Serving::private();
    let registry = serving.address.to_string();
    let dir = tempfile::tempdir().unwrap();
    let name: Reference = format!("{registry}/team/ours:1").parse().unwrap();
    let (store, image) = sample(dir.path(), &name);
    let login = Login::new("alice", "secret");
    let client = Client::new(Credentials::anonymous().with(&registry, login), Options::default());
    push(&client, &name, &store, &image, &Silent).unwrap();
    let from = format!("docker://{name}");
    let to = format!("docker://{registry}/theirs:1");
    succeeds(Command::new("skopeo").args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]).args([
        "--src-creds=alice:secret",
        "--dest-creds=alice:secret",
        &from,
        &to,
    ]));
    let theirs: Reference = format!("{registry}/theirs:1").parse().unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    let elsewhere = Store::open(dir.path().join("elsewhere")).unwrap();
    let pulled = pull(&client, &theirs, &elsewhere, &snapshots, &Silent).unwrap();
    assert_eq!(pulled.diff_ids(), image.diff_ids());
    let motd = snapshots.dir(&pulled.diff_ids()[0]).join("motd");
    assert_eq!(std::fs::read_to_string(motd).unwrap(), "hello\n");
}

#[test]
fn our_client_sends_parts_and_asks_for_lists() {
    let serving = Serving::private();
    let registry = serving.address.to_string();
    let dir = tempfile::tempdir().unwrap();
    let name: Reference = format!("{registry}/team/parts:1").parse().unwrap();
    let (store, image) = sample(dir.path(), &name);
    let credentials = Credentials::anonymous().with(&registry, Login::new("alice", "secret"));
    let client = Client::new(credentials, Options { chunk: Some(300), ..Options::default() });
    push(&client, &name, &store, &image, &Silent).unwrap();
    assert_eq!(distribution::resolve(&client, &name).unwrap().target.digest, image.target.digest);
    assert_eq!(distribution::tags(&client, &name).unwrap(), ["1"]);
    assert_eq!(distribution::catalogue(&client, &registry).unwrap(), ["team/parts"]);
    assert!(distribution::referrers(&client, &name, &image.target.digest).unwrap().is_empty());
}

#[test]
fn podman_pulls_and_pushes() {
    if !process::needs::root() || !process::needs::program("podman") {
        return;
    }
    let serving = Serving::open();
    let registry = serving.address.to_string();
    let dir = tempfile::tempdir().unwrap();
    let name: Reference = format!("{registry}/team/ours:1").parse().unwrap();
    let (store, image) = sample(dir.path(), &name);
    push(&Client::new(Credentials::anonymous(), Options::default()), &name, &store, &image, &Silent).unwrap();
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(dir.path().join("root")).arg("--runroot").arg(dir.path().join("run"));
        // vfs: no mounts that a test would have to clean up.
        succeeds(command.args(["--storage-driver", "vfs", "--runtime", "/usr/sbin/runc"]).args(arguments))
    };
    let id = podman(&["pull", "-q", "--tls-verify=false", &name.to_string()]);
    assert_eq!(id, image.id.hex());
    let back = format!("{registry}/podman/back:2");
    podman(&["push", "-q", "--tls-verify=false", &name.to_string(), &back]);
    let tags = serving.root().join("repositories/podman/back/_tags/2");
    assert!(std::fs::read_to_string(tags).unwrap().starts_with("sha256:"));
}
