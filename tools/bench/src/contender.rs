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
        let image = format!("oci:{}:docker.io/library/hello:latest", scene.layout.display());
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
        // A store of its own, in plain directories, so that nothing is left mounted when the scene is removed.
        let (store, run) = (scene.path("store"), scene.path("podman-run"));
        let podman = ["podman", "--root", &store, "--runroot", &run, "--storage-driver", "vfs"];
        let id = "localhost/cooper-bench-hello:latest";
        let given = format!("containers-storage:[vfs@{store}+{run}]{id}");
        let none = trial(Command::new("skopeo").args(["copy", "--quiet", &image, &given])).err();
        all.push(new("podman run", &[&podman, ["run", "--rm", id].as_slice()].concat(), none.clone()));
        let alone = ["run", "--rm", "--network", "none", id];
        all.push(new("podman run, no network", &[&podman, alone.as_slice()].concat(), none));
        // Docker's daemon takes no layout; skopeo hands it the image.
        let tag = "docker-daemon:cooper-bench-hello:latest";
        let given = trial(Command::new("docker").arg("version"))
            .and_then(|()| trial(Command::new("skopeo").args(["copy", "--quiet", &image, tag])))
            .err();
        all.push(new("docker run", &["docker", "run", "--rm", "cooper-bench-hello:latest"], given));
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

/// Runs a command once; the last line of what it says if it fails.
fn trial(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|_| "not installed".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(told.lines().last().unwrap_or("failed without a word").chars().take(160).collect())
}

/// The build of a program of ours, beside this one; its package has the same name.
pub(crate) fn build(program: &str) -> Result<PathBuf> {
    let directory = std::env::current_exe().context("cannot find this program")?;
    let directory = directory.parent().context("this program is in no directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", program]).current_dir(env!("CARGO_MANIFEST_DIR"));
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
