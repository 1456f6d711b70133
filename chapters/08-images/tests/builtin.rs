//! Built-in images: made from nothing, unpacked, and read by other tools.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use images::{Store, builtin};
use layers::Snapshots;

struct Home {
    _dir: tempfile::TempDir,
    store: Store,
    snapshots: Snapshots,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    Home { _dir: dir, store, snapshots }
}

#[test]
fn hello_has_the_same_digest_everywhere() {
    let home = home();
    let image = builtin::ensure("hello", &home.store, &home.snapshots).unwrap().unwrap();
    insta::assert_snapshot!(format!("image {}\nlayer {}", image.id, image.diff_ids()[0]));
    let again = builtin::ensure("docker.io/library/hello:latest", &home.store, &home.snapshots).unwrap();
    assert_eq!(again, Some(image));
}

#[test]
fn other_names_are_not_ours() {
    let home = home();
    for name in ["alpine", "user/hello", "hello:v2", "example.org/host", "not a name"] {
        assert_eq!(builtin::ensure(name, &home.store, &home.snapshots).unwrap(), None, "{name}");
    }
}

#[test]
fn host_is_made_twice_with_one_digest_and_its_tools_find_their_libraries() {
    let (one, two) = (home(), home());
    let image = builtin::ensure("host", &one.store, &one.snapshots).unwrap().unwrap();
    assert_eq!(builtin::make(builtin::HOST, &two.store).unwrap().id, image.id);
    let root = one.snapshots.dir(&image.diff_ids()[0]);
    assert!(root.join("usr/bin/sh").exists());
    if process::needs::root() {
        let seen = run_inside(&root, "id -u && ls -d /etc/passwd && cat /etc/group | head -n 1");
        assert_eq!(seen, "0\n/etc/passwd\nroot:x:0:\n");
    }
}

/// Runs a line of shell with `root` as its root.
fn run_inside(root: &Path, line: &str) -> String {
    let output = Command::new("chroot").arg(root).args(["/bin/sh", "-c", line]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn skopeo_reads_the_store_as_an_image_layout() {
    if !process::needs::program("skopeo") {
        return;
    }
    let home = home();
    let image = builtin::ensure("hello", &home.store, &home.snapshots).unwrap().unwrap();
    let name = format!("oci:{}:docker.io/library/hello:latest", home.store.dir().display());
    let output = Command::new("skopeo").args(["inspect", "--config", "--raw", &name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(layers::Digest::of(&output.stdout), image.id);
    // And it copies it, which verifies every digest.
    let copy = home.store.dir().with_file_name("copy");
    let to = format!("oci:{}:hello", copy.display());
    let output = Command::new("skopeo").args(["--insecure-policy", "copy", &name, &to]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn umoci_unpacks_what_we_made() {
    if !process::needs::root() || !process::needs::program("umoci") {
        return;
    }
    let home = home();
    builtin::ensure("hello", &home.store, &home.snapshots).unwrap();
    // umoci's command line takes no name with a slash in it.
    let target = home.store.list().unwrap().remove(0).target;
    let layout = home.store.dir();
    let index = std::fs::read_to_string(layout.join("index.json")).unwrap();
    std::fs::write(layout.join("index.json"), index.replace("docker.io/library/hello:latest", "hello")).unwrap();
    let bundle = layout.with_file_name("bundle");
    let image = format!("{}:hello", layout.display());
    let output = Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{}: {}", target.digest, String::from_utf8_lossy(&output.stderr));
    let program = std::fs::read(bundle.join("rootfs/hello")).unwrap();
    assert_eq!(program, builtin::hello_program());
}
