//! Pull and push against Debian's registry: there, back, and what goes wrong on the way.
use std::process::Command;
use std::time::Duration;

use crate::debian_registry::DebianRegistry;
use crate::sample;
use distribution::{Client, Credentials, Error, Lines, Login, Options, Silent, pull, push, resolve};
use images::{Reference, Store};
use layers::Snapshots;
use tempfile::TempDir;

struct Machine {
    dir: TempDir,
    store: Store,
    snapshots: Snapshots,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
        Machine { dir, store, snapshots }
    }

    fn pull(&self, client: &Client, name: &Reference) -> Result<images::Image, Error> {
        pull(client, name, &self.store, &self.snapshots, &Silent)
    }
}

fn client(credentials: Credentials) -> Client {
    Client::new(credentials, Options { stall: Duration::from_secs(5), ..Options::default() })
}

fn anybody() -> Client {
    client(Credentials::anonymous())
}

fn needs_met() -> bool {
    process::needs::root() && process::needs::program("docker-registry") && process::needs::program("htpasswd")
}

#[test]
fn what_is_pushed_is_what_is_pulled() {
    if !needs_met() {
        return;
    }
    let registry = DebianRegistry::open();
    let name: Reference = format!("{}/team/app:1", registry.address()).parse().unwrap();
    let here = Machine::new();
    let image = sample::three_layers(&here.store, &name);
    let descriptor = push(&anybody(), &name, &here.store, &image, &Silent).unwrap();
    assert_eq!(descriptor, image.manifest_descriptor);

    let there = Machine::new();
    let pulled = there.pull(&anybody(), &name).unwrap();
    assert_eq!((pulled.id, &pulled.manifest), (image.id, &image.manifest));
    assert_eq!(there.store.resolve(&name).unwrap().unwrap().id, image.id);
    let bottom = there.snapshots.dir(&pulled.diff_ids()[0]);
    assert_eq!(std::fs::read_to_string(bottom.join("etc/motd")).unwrap(), "hello\n");
    assert!(pulled.diff_ids().iter().all(|layer| there.snapshots.has(layer)));
}

#[test]
fn nothing_moves_twice() {
    if !needs_met() {
        return;
    }
    let registry = DebianRegistry::open();
    let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let here = Machine::new();
    let image = sample::three_layers(&here.store, &name);
    let told = |name: &Reference| {
        let lines = Lines::to(Vec::new());
        push(&anybody(), name, &here.store, &image, &lines).unwrap();
        String::from_utf8(lines.into_inner()).unwrap()
    };
    assert_eq!(told(&name).matches(": pushed").count(), 4);
    assert_eq!(told(&name).matches(": already there").count(), 4);
    // Another repository of the same registry takes the layers from the first.
    let other: Reference = format!("{}/other:1", registry.address()).parse().unwrap();
    assert_eq!(told(&other).matches(": mounted from another repository").count(), 3);

    let there = Machine::new();
    there.pull(&anybody(), &name).unwrap();
    let lines = Lines::to(Vec::new());
    pull(&anybody(), &other, &there.store, &there.snapshots, &lines).unwrap();
    assert_eq!(String::from_utf8(lines.into_inner()).unwrap().matches(": already here").count(), 3);
}

#[test]
fn skopeo_reads_what_we_pushed_and_we_pull_what_skopeo_pushed() {
    if !needs_met() || !process::needs::program("skopeo") {
        return;
    }
    let registry = DebianRegistry::open();
    let (ours, theirs) = (format!("{}/ours:1", registry.address()), format!("{}/theirs:1", registry.address()));
    let here = Machine::new();
    let name: Reference = ours.parse().unwrap();
    let image = sample::three_layers(&here.store, &name);
    push(&anybody(), &name, &here.store, &image, &Silent).unwrap();
    for format in ["oci", "v2s2"] {
        let status = Command::new("skopeo")
            .args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", format])
            .args([format!("docker://{ours}"), format!("docker://{theirs}-{format}")])
            .status();
        assert!(status.unwrap().success());
        let name: Reference = format!("{theirs}-{format}").parse().unwrap();
        let pulled = Machine::new().pull(&anybody(), &name).unwrap();
        assert_eq!(pulled.diff_ids(), image.diff_ids(), "{format}");
    }
}

#[test]
fn a_password_is_asked_for_and_a_wrong_one_is_refused() {
    if !needs_met() {
        return;
    }
    let registry = DebianRegistry::for_account("alice", "secret");
    let address = registry.address();
    let name: Reference = format!("{address}/private:1").parse().unwrap();
    let here = Machine::new();
    let image = sample::image(&here.store, &name, &[&[("a", b"a")]]);
    let alice = client(Credentials::anonymous().with(&address, Login::new("alice", "secret")));
    let mallory = client(Credentials::anonymous().with(&address, Login::new("alice", "guess")));
    for stranger in [&anybody(), &mallory] {
        let error = push(stranger, &name, &here.store, &image, &Silent).unwrap_err();
        assert!(matches!(&error, Error::Unauthorized { status: 401, .. }), "{error}");
        assert!(error.to_string().contains(&name.to_string()));
        assert!(error.hint().unwrap().contains("cooper login"));
    }
    push(&alice, &name, &here.store, &image, &Silent).unwrap();
    Machine::new().pull(&alice, &name).unwrap();

    let config = here.dir.path().join("docker/config.json");
    let options = Options::default;
    distribution::login_at(&config, &address, &Login::new("alice", "guess"), options()).unwrap_err();
    assert!(!config.exists());
    distribution::login_at(&config, &address, &Login::new("alice", "secret"), options()).unwrap();
    resolve(&client(Credentials::from_file(&config).unwrap()), &name).unwrap();
}

#[test]
fn a_byte_that_changed_in_the_registry_is_noticed_and_nothing_is_named() {
    if !needs_met() {
        return;
    }
    let registry = DebianRegistry::open();
    let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let here = Machine::new();
    let image = sample::three_layers(&here.store, &name);
    push(&anybody(), &name, &here.store, &image, &Silent).unwrap();
    registry.damage(&image.manifest.layers[1].digest);
    let there = Machine::new();
    let error = there.pull(&anybody(), &name).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(there.store.resolve(&name).unwrap().is_none());
    assert!(!there.snapshots.has(&image.diff_ids()[1]));
}

#[test]
fn an_unknown_image_and_an_unreachable_registry_are_told_apart() {
    if !needs_met() {
        return;
    }
    let registry = DebianRegistry::open();
    let name: Reference = format!("{}/nobody/knows:1", registry.address()).parse().unwrap();
    let error = resolve(&anybody(), &name).unwrap_err();
    assert!(matches!(error, Error::UnknownImage { .. }), "{error}");
    assert!(error.to_string().contains("/nobody/knows:1"));
    drop(registry);
    let error = resolve(&anybody(), &name).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
