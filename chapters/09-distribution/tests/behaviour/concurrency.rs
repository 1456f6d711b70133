//! Several pulls at once, and pulls that are killed: each byte comes once, and what is there is whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use images::{Reference, Store, media};
use layers::{Digest, Snapshots};

use crate::sample;
use crate::server::{Act, head, serve, whole};

/// Bytes that the slow registry sends at a time.
const PIECE: usize = 200 << 10;

/// An honest registry over a store, which takes its time. It counts how often each blob was asked for, and from where.
struct Slow {
    address: String,
    asked: Arc<Mutex<BTreeMap<String, Vec<u64>>>>,
}

impl Slow {
    fn over(store: &Path, pause: Duration) -> Slow {
        let store = Store::open(store).unwrap();
        let asked: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let address = serve(move |asked| {
            let last = asked.target.rsplit('/').next().unwrap();
            if asked.target.contains("/manifests/") {
                let name: Reference = format!("{}:{last}", "registry.example/app").parse().unwrap();
                let target = store.resolve(&name).unwrap().unwrap().target;
                let bytes = store.blob_bytes(&target.digest, 1 << 20).unwrap();
                return whole("200 OK", &[&format!("Content-Type: {}", media::OCI_MANIFEST)], &bytes);
            }
            let from = asked.range.unwrap_or(0);
            seen.lock().unwrap().entry(last.to_owned()).or_default().push(from);
            let bytes = store.blob_bytes(&last.parse::<Digest>().unwrap(), 64 << 20).unwrap();
            let length = format!("Content-Length: {}", bytes.len() as u64 - from);
            let range = format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            let head = match asked.range {
                Some(_) => head("206 Partial Content", &[&length, &range]),
                None => head("200 OK", &[&length]),
            };
            Act::Paced(head, bytes[usize::try_from(from).unwrap()..].to_vec(), PIECE, pause)
        });
        Slow { address: address.to_string(), asked }
    }

    fn asked(&self) -> BTreeMap<String, Vec<u64>> {
        self.asked.lock().unwrap().clone()
    }

    /// Starts a pull in a process of its own.
    fn pull(&self, tag: &str, to: &Path) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ch09-distribution"))
            .args(["pull", &format!("{}/app:{tag}", self.address)])
            .arg(to)
            .env("DOCKER_CONFIG", to)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn name(&self, tag: &str) -> Reference {
        format!("{}/app:{tag}", self.address).parse().unwrap()
    }
}

fn well(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Two images in a store; they share two of three layers.
fn two_images(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    let (a, b, c, d) = (sample::noise(4_000_000), sample::noise(3_000_000), b"c", b"d");
    let files: [sample::Files; 4] = [&[("a", &a)], &[("b", &b)], &[("c", c)], &[("d", d)]];
    sample::image(&store, &"registry.example/app:first".parse().unwrap(), &[files[0], files[1], files[2]]);
    sample::image(&store, &"registry.example/app:second".parse().unwrap(), &[files[0], files[1], files[3]]);
    store
}

/// What is in the stores and would be wrong at any time: nothing that is there may be damaged, and no name without its image.
fn is_whole(to: &Path, name: &Reference) -> bool {
    let (store, snapshots) = (Store::open(to.join("images")).unwrap(), Snapshots::open(to.join("layers")).unwrap());
    assert!(store.verify().unwrap().damaged.is_empty() && store.verify().unwrap().missing.is_empty());
    let image = store.resolve(name).unwrap();
    let layers = image.iter().flat_map(images::Image::diff_ids).collect::<Vec<_>>();
    assert!(layers.iter().all(|layer| snapshots.has(layer)), "a name without its layers");
    image.is_some()
}

#[test]
fn eight_pulls_at_once_bring_each_blob_once() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    two_images(&dir.path().join("theirs"));
    let registry = Slow::over(&dir.path().join("theirs"), Duration::from_millis(30));
    let to = dir.path().join("ours");
    let pulls: Vec<Child> = (0..8).map(|n| registry.pull(["first", "second"][n % 2], &to)).collect();
    let said: Vec<String> = pulls.into_iter().map(well).collect();
    assert!(is_whole(&to, &registry.name("first")) && is_whole(&to, &registry.name("second")));
    let asked = registry.asked();
    assert_eq!(asked.len(), 6, "four layers and two configs");
    assert!(asked.values().all(|from| from == &[0]), "{asked:?}");
    assert!(said.iter().any(|said| said.contains("waiting for another pull")), "{said:?}");
    assert_eq!(to.join("images/ingest").read_dir().unwrap().count(), 0);
}

#[test]
fn a_pull_that_is_killed_anywhere_leaves_what_the_next_one_goes_on_with() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    two_images(&dir.path().join("theirs"));
    let registry = Slow::over(&dir.path().join("theirs"), Duration::from_millis(30));
    let name = registry.name("first");
    let began = Instant::now();
    well(registry.pull("first", &dir.path().join("whole")));
    let whole = began.elapsed();

    // Killed again and again, it comes to its end all the same, and nothing comes twice but what was on the way.
    let to = dir.path().join("again");
    let mut kills = 0;
    while !(to.exists() && is_whole(&to, &name)) {
        let mut child = registry.pull("first", &to);
        sleep(whole / 3);
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 30, "it never comes to its end");
    }
    assert!(kills > 1, "killed only {kills} times");
    let resumed = registry.asked().values().flatten().filter(|from| **from > 0).count();
    assert!(resumed > 0, "nothing was resumed: {:?}", registry.asked());

    // Killed at any point, the next pull heals it; and what nobody goes on with is collected.
    for point in 1..=10 {
        let to = dir.path().join(point.to_string());
        let mut child = registry.pull("first", &to);
        sleep(whole * point / 10);
        child.kill().unwrap();
        child.wait().unwrap();
        let named = is_whole(&to, &name);
        if point % 2 == 0 {
            well(registry.pull("first", &to));
            assert!(is_whole(&to, &name));
        } else if !named {
            let store = Store::open(to.join("images")).unwrap();
            store.gc().unwrap();
            let left = |dir: &str| to.join(dir).read_dir().map_or(0, Iterator::count);
            assert_eq!(
                (left("images/blobs/sha256"), left("images/ingest"), left("images/tmp"), left("layers/tmp")),
                (0, 0, 0, 0)
            );
        }
    }
}

#[test]
fn a_spoilt_beginning_is_fetched_again() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let theirs = two_images(&dir.path().join("theirs"));
    let image = theirs.resolve(&"registry.example/app:first".parse().unwrap()).unwrap().unwrap();
    let registry = Slow::over(&dir.path().join("theirs"), Duration::ZERO);
    for spoilt in [vec![0; 100_000], vec![0; 10 << 20]] {
        // What a power cut may leave: a file of the right name, full of zeros.
        let to = dir.path().join(spoilt.len().to_string());
        std::fs::create_dir_all(to.join("images/ingest")).unwrap();
        std::fs::write(to.join("images/ingest").join(image.manifest.layers[0].digest.hex()), spoilt).unwrap();
        well(registry.pull("first", &to));
        assert!(is_whole(&to, &registry.name("first")));
    }
}
