//! The contenders, and the scene in which they run: one image, `hello`, given to each in the form that it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Cooper's name in tables.
pub(crate) const OWN: &str = "cooper run";

/// One way to start a container.
pub(crate) struct Contender {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// Why it does not take part.
    pub(crate) skipped: Option<String>,
    /// The command; `{id}` stands for a name that is new with each run.
    words: Vec<String>,
    directory: PathBuf,
}

/// A directory with an engine root, the image as an OCI layout in it, and the same image as a runtime bundle.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    cooper: PathBuf,
    layout: PathBuf,
}

impl Scene {
    /// Lets Cooper make the image, and unpacks it once more for the bare runtimes.
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
        let cooper = build("cooper")?;
        let root = directory.path().join("root");
        let status = Command::new(&cooper)
            .arg("--root")
            .arg(&root)
            .args(["run", "--rm", "hello"])
            .stdout(Stdio::null())
            .status();
        if !status.context("cannot run cooper")?.success() {
            bail!("`cooper run --rm hello` failed");
        }
        let layout = layout(&root).context("the engine's root has no OCI layout")?;
        let scene = Self { directory, cooper, layout };
        scene.bundle()?;
        Ok(scene)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn blob(&self, descriptor: &Value) -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
        Ok(self.layout.join("blobs").join(digest.replace(':', "/")))
    }

    /// `config.json` and `rootfs`, as runc and crun want them.
    fn bundle(&self) -> Result<()> {
        let read = |path: &Path| -> Result<Value> {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display()))
        };
        let index = read(&self.layout.join("index.json"))?;
        let manifest = read(&self.blob(&index["manifests"][0])?)?;
        let config = read(&self.blob(&manifest["config"])?)?;
        let rootfs = self.directory.path().join("bundle/rootfs");
        fs::create_dir_all(&rootfs).context("cannot make a bundle")?;
        for layer in manifest["layers"].as_array().context("a manifest without layers")? {
            let status = Command::new("tar").arg("-xf").arg(self.blob(layer)?).arg("-C").arg(&rootfs).status();
            if !status.context("cannot run tar")?.success() {
                bail!("tar cannot unpack the layer of hello");
            }
        }
        let words = |field: &str| config["config"][field].as_array().cloned().unwrap_or_default();
        let arguments: Vec<Value> = words("Entrypoint").into_iter().chain(words("Cmd")).collect();
        let kinds = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": arguments, "cwd": "/", "env": ["PATH=/bin"] },
            "root": { "path": "rootfs" },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": { "namespaces": kinds }
        });
        fs::write(self.directory.path().join("bundle/config.json"), spec.to_string()).context("cannot write the bundle")
    }
}

impl Contender {
    /// All of them, with those that cannot run here marked.
    pub(crate) fn all(scene: &Scene) -> Vec<Self> {
        let new = |name, words: &[&str], skipped| Self {
            name,
            skipped,
            words: words.iter().map(|&word| word.to_owned()).collect(),
            directory: scene.directory.path().to_owned(),
        };
        let (root, bundle, state) = (scene.path("root"), scene.path("bundle"), scene.path("state"));
        let cooper = scene.cooper.to_string_lossy();
        let own = ["run", "--rm", "hello"];
        let mut all = vec![
            new(OWN, &[&[&*cooper, "--root", &root], own.as_slice()].concat(), None),
            new(
                "cooper run, no network",
                &[&cooper, "--root", &root, "run", "--rm", "--network", "none", "hello"],
                None,
            ),
            new("runc run", &["runc", "--root", &state, "run", "--bundle", &bundle, "{id}"], None),
            new("crun run", &["crun", "--root", &state, "run", "--bundle", &bundle, "{id}"], None),
        ];
        for engine in scene.engines("hello") {
            let (bridged, alone) = match engine.name {
                "docker" => ("docker run", "docker run, no network"),
                "podman" => ("podman run", "podman run, no network"),
                _ => continue,
            };
            let words: Vec<&str> = engine.words.iter().map(String::as_str).collect();
            let run = ["run", "--rm", &engine.image];
            all.push(new(bridged, &[words.as_slice(), &run].concat(), engine.skipped.clone()));
            let run = ["run", "--rm", "--network", "none", &engine.image];
            all.push(new(alone, &[words.as_slice(), &run].concat(), engine.skipped.clone()));
        }
        for contender in all.iter_mut().filter(|contender| contender.skipped.is_none()) {
            // The first run warms caches, and shows who can run at all.
            contender.skipped = trial(&mut contender.command("bench-trial")).err();
        }
        all
    }

    /// The command, with a fresh container name.
    pub(crate) fn command(&self, id: &str) -> Command {
        let mut words = self.words.iter().map(|word| word.replace("{id}", id));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.directory);
        command
    }
}

/// An engine that has an image.
pub(crate) struct Engine {
    /// The program's name.
    pub(crate) name: &'static str,
    /// How it is called.
    pub(crate) words: Vec<String>,
    /// How it calls the image.
    pub(crate) image: String,
    /// Why it does not take part.
    pub(crate) skipped: Option<String>,
}

impl Scene {
    /// All engines, each with the built-in image `name` in its own store.
    pub(crate) fn engines(&self, name: &str) -> Vec<Engine> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let (root, cooper, archive) = (self.path("root"), self.cooper.to_string_lossy(), self.path(name));
        let own = owned(&[&cooper, "--root", &root]);
        // Making it is no part of what is measured.
        let made = trial(Command::new(&*cooper).args(["--root", &root, "run", "--rm", "--network", "none", name]));
        let saved =
            made.and_then(|()| trial(Command::new(&*cooper).args(["--root", &root, "save", "-o", &archive, name])));
        // podman's store in plain directories, so that nothing is left mounted when the scene is removed.
        let (store, run) = (self.path("store"), self.path("podman-run"));
        let podman = owned(&["podman", "--root", &store, "--runroot", &run, "--storage-driver", "vfs"]);
        let full = format!("docker.io/library/{name}:latest");
        let mut engines = vec![Engine { name: "cooper", words: own, image: name.to_owned(), skipped: None }];
        for (engine, words, image) in
            [("podman", podman, full), ("docker", owned(&["docker"]), format!("{name}:latest"))]
        {
            let load = || trial(Command::new(&words[0]).args(&words[1..]).args(["load", "--input", &archive]));
            let skipped = saved.clone().and_then(|()| load()).err();
            engines.push(Engine { name: engine, words, image, skipped });
        }
        engines
    }

    /// Somebody who runs this.
    pub(crate) fn contender(&self, name: &'static str, words: Vec<String>, skipped: Option<String>) -> Contender {
        Contender { name, skipped, words, directory: self.directory.path().to_owned() }
    }
}

/// Runs a command once; the last line of what it says if it fails.
pub(crate) fn trial(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|_| "not installed".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(told.lines().last().unwrap_or("failed without a word").chars().take(160).collect())
}

/// The build of a program of ours, beside this one; its package has the same name.
pub(crate) fn build(program: &str) -> Result<PathBuf> {
    build_of(program, program)
}

/// The build of a program of the package `package`.
pub(crate) fn build_of(package: &str, program: &str) -> Result<PathBuf> {
    let directory = std::env::current_exe().context("cannot find this program")?;
    let directory = directory.parent().context("this program is in no directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", package, "--bin", program]).current_dir(env!("CARGO_MANIFEST_DIR"));
    match directory.ends_with("release") {
        true => cargo.arg("--release"),
        false => {
            eprintln!("bench: a debug build: the numbers are of no use (cargo run --release -p bench)");
            &mut cargo
        }
    };
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("cannot build {program}");
    }
    Ok(directory.join(program))
}

/// As [`build`], linked statically: a runtime executes itself twice in each call, and each time the dynamic linker would
/// take as long as the rest of the way to `main`.
pub(crate) fn build_static(package: &str, program: &str) -> Result<PathBuf> {
    let directory = std::env::current_exe().context("cannot find this program")?;
    let directory = directory.parent().context("this program is in no directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["rustc", "--quiet", "-p", package, "--bin", program]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.args(["--", "-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    if !cargo.status().context("cannot run cargo")?.success() {
        eprintln!("bench: no static libc here: {program} is linked dynamically");
        let dynamic = build(package)?;
        return Ok(dynamic.with_file_name(program));
    }
    Ok(directory.join(program))
}

/// The directory below `root` with an `oci-layout` in it.
fn layout(root: &Path) -> Option<PathBuf> {
    let mut level = vec![root.to_owned()];
    for _ in 0..4 {
        if let Some(found) = level.iter().find(|directory| directory.join("oci-layout").is_file()) {
            return Some(found.clone());
        }
        let entries = level.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        level = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    }
    None
}
