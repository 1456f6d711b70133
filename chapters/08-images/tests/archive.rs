//! Archives of images: a round trip, other tools' archives, and hostile ones.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use images::archive::{Loaded, Saved, load, save};
use images::{Image, Reference, Store, builtin, media};
use layers::{Attributes, Snapshots, Tarball};
use process::needs;

struct Home {
    dir: tempfile::TempDir,
    store: Store,
    snapshots: Snapshots,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
        Self { dir, store, snapshots }
    }

    /// The image `hello`, and what `save` makes of it under this name.
    fn hello(&self, name: &str) -> (Image, Vec<u8>) {
        let image = builtin::ensure("hello", &self.store, &self.snapshots).unwrap().unwrap();
        let mut bytes = Vec::new();
        save(&self.store, &[Saved { image: image.clone(), names: vec![name.parse().unwrap()] }], &mut bytes).unwrap();
        (image, bytes)
    }

    fn load(&self, archive: &[u8]) -> images::Result<Vec<Loaded>> {
        load(&self.store, &self.snapshots, archive)
    }

    fn names(&self) -> Vec<String> {
        self.store.list().unwrap().into_iter().filter_map(|named| Some(named.reference?.familiar())).collect()
    }
}

#[test]
fn what_is_saved_is_loaded_elsewhere_with_the_same_digests() {
    let (here, there) = (Home::new(), Home::new());
    let (image, archive) = here.hello("me/greeting:1");
    assert_eq!(here.hello("me/greeting:1").1, archive, "the same image gives the same bytes");
    let loaded = there.load(&archive).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!((loaded[0].image.id, &loaded[0].image.manifest), (image.id, &image.manifest));
    assert_eq!(there.names(), ["me/greeting:1"]);
    assert!(there.snapshots.has(&image.diff_ids()[0]), "its layers are laid out");
    assert_eq!(there.store.verify().unwrap().damaged, []);
    there.load(&archive).unwrap();
    assert_eq!(there.names(), ["me/greeting:1"], "twice is fine");
}

#[test]
fn an_image_without_a_name_keeps_none() {
    let (here, there) = (Home::new(), Home::new());
    let (image, _) = here.hello("x/y:1");
    let mut archive = Vec::new();
    save(&here.store, &[Saved { image: image.clone(), names: Vec::new() }], &mut archive).unwrap();
    assert!(there.load(&archive).unwrap()[0].names.is_empty());
    assert_eq!(there.store.find(image.id.hex().as_str()).unwrap().id, image.id);
}

#[test]
fn a_damaged_archive_names_nothing() {
    let (_, archive) = Home::new().hello("me/greeting:1");
    // Half of it, and each blob with one bit turned over.
    let mut broken = vec![archive[..archive.len() / 2].to_vec()];
    for at in (0..archive.len()).step_by(archive.len() / 40) {
        let mut bytes = archive.clone();
        bytes[at] ^= 1;
        broken.push(bytes);
    }
    let whole = Home::new();
    whole.load(&archive).unwrap();
    for (number, bytes) in broken.iter().enumerate() {
        let there = Home::new();
        // A bit in padding, or in a header field that nobody reads, is no damage; then the image is the same.
        match there.load(bytes) {
            Ok(_) => assert_eq!(there.names(), whole.names(), "variant {number}"),
            Err(_) => assert!(there.names().is_empty(), "variant {number}"),
        }
        assert_eq!(there.store.verify().unwrap().damaged, [], "variant {number}");
        assert!(!there.dir.path().join("escaped").exists());
    }
    assert!(Home::new().load(&broken[0]).is_err());
}

/// An archive of files with these names and contents.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tarball = Tarball::new(Vec::new());
    for (name, text) in files {
        tarball.file(Path::new(name), text.len() as u64, &Attributes::plain(0o644), text.as_bytes()).unwrap();
    }
    tarball.finish().unwrap()
}

#[test]
fn what_is_no_image_archive_says_what_is_wrong() {
    let missing = format!(r#"[{{"Config": "{}.json", "Layers": ["a/layer.tar"]}}]"#, "a".repeat(64));
    let cases = [
        (archive(&[("a", "b")]), "neither an index.json nor a manifest.json"),
        (archive(&[("index.json", "{ oops")]), "index.json: key must be a string at line 1"),
        (archive(&[("manifest.json", &missing)]), "is named in it and is not there"),
        (archive(&[("manifest.json", r#"[{"Config": "../../etc/passwd", "Layers": []}]"#)]), "is not there"),
        (archive(&[(&format!("blobs/sha256/{}", "a".repeat(64)), "other")]), "the bytes received are"),
        (b"not an archive, not by far".repeat(100), "read \"archive\""),
    ];
    for (bytes, reason) in cases {
        let error = Home::new().load(&bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// Runs a tool on the machine's own files; its output.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn skopeo_reads_both_formats_of_ours_and_we_read_both_of_skopeo_s() {
    if !needs::program("skopeo") {
        return;
    }
    let here = Home::new();
    let (image, ours) = here.hello("docker.io/me/greeting:1");
    let path = |name: &str| here.dir.path().join(name).display().to_string();
    std::fs::write(path("ours.tar"), &ours).unwrap();
    for (from, to) in [
        ("docker-archive", format!("docker-archive:{}:me/greeting:2", path("theirs-docker.tar"))),
        ("oci-archive", format!("oci-archive:{}:me/greeting:3", path("theirs-oci.tar"))),
    ] {
        tool("skopeo", &["copy", "--quiet", &format!("{from}:{}", path("ours.tar")), &to]);
    }
    for (file, name) in [("theirs-docker.tar", "me/greeting:2"), ("theirs-oci.tar", "me/greeting:3")] {
        let there = Home::new();
        let loaded = there.load(&std::fs::read(path(file)).unwrap()).unwrap();
        assert_eq!(there.names(), [name], "{file}");
        assert_eq!(loaded[0].image.diff_ids(), image.diff_ids(), "{file}");
        assert!(there.snapshots.dir(&image.diff_ids()[0]).join("hello").exists());
        // What came with a manifest keeps its bytes; what came without is stored as it will travel.
        let kept = file == "theirs-oci.tar";
        let media_type = if kept { media::OCI_LAYER } else { media::OCI_LAYER_GZIP };
        let layer = &loaded[0].image.manifest.layers[0];
        assert!(layer.media_type == media_type || kept, "{file}: {}", layer.media_type);
        assert_eq!(there.store.verify().unwrap().damaged, [], "{file}");
    }
}

#[test]
fn skopeo_umoci_and_podman_open_the_store_itself() {
    if !["skopeo", "umoci", "podman"].iter().all(|program| needs::program(program)) || !needs::root() {
        return;
    }
    let here = Home::new();
    let (image, _) = here.hello("me/greeting:1");
    let name = "docker.io/library/hello:latest";
    let store = here.store.dir().display().to_string();
    let path = |name: &str| here.dir.path().join(name).display().to_string();
    let layout = format!("oci:{store}:{name}");
    let digest = tool("skopeo", &["inspect", "--format", "{{.Digest}}", &layout]);
    assert_eq!(digest.trim(), image.target.digest.to_string());
    assert_eq!(tool("umoci", &["ls", "--layout", &store]).trim(), name);
    tool("umoci", &["unpack", "--image", &format!("{store}:{name}"), &path("bundle")]);
    assert!(Path::new(&path("bundle/rootfs/hello")).exists());
    // Podman makes a name of the path, and names are lower-case: so the path is a short one.
    let (root, run, layout_here) = (path("podman"), path("run"), format!("oci:images:{name}"));
    let podman = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "pull", "-q", &layout_here];
    let pulled = Command::new("podman").args(podman).current_dir(here.dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
    assert_eq!(String::from_utf8(pulled.stdout).unwrap().trim(), image.id.hex(), "{said}");
    // And what they put into it is an image of ours.
    tool("skopeo", &["copy", "--quiet", &layout, &format!("oci:{store}:me/copy:2")]);
    assert_eq!(here.store.find("me/copy:2").unwrap().diff_ids(), image.diff_ids());
    assert_eq!(here.store.find("hello").unwrap().id, image.id);
}

#[test]
fn gzip_around_an_archive_is_read_through() {
    if !needs::program("gzip") {
        return;
    }
    let here = Home::new();
    let (image, archive) = here.hello("me/greeting:1");
    let path = here.dir.path().join("a.tar");
    std::fs::write(&path, archive).unwrap();
    tool("gzip", &[path.to_str().unwrap()]);
    let loaded = Home::new().load(&std::fs::read(path.with_added_extension("gz")).unwrap()).unwrap();
    assert_eq!(loaded[0].image.id, image.id);
    assert_eq!(loaded[0].names, ["me/greeting:1".parse::<Reference>().unwrap()]);
}
