//! A bundle with busybox in it, and the runtime under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What a case finds: that the rule is kept, or how it is broken.
pub(crate) type Verdict = Result<(), &'static str>;

/// A runtime under test: a name, and the words of its command line.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
}

/// One bundle, one state directory, one container.
pub(crate) struct Scene<'a> {
    runtime: &'a Runtime,
    home: tempfile::TempDir,
}

/// What was seen of a command.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
}

impl Seen {
    fn of(output: &Output) -> Self {
        Self { code: output.status.code(), out: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// What it printed; it must have succeeded.
    pub(crate) fn prints(&self, expected: &str, otherwise: &'static str) -> Verdict {
        holds(self.code == Some(0), "the runtime refuses it")?;
        holds(self.out.trim_end() == expected, otherwise)
    }

    pub(crate) fn fails(&self, otherwise: &'static str) -> Verdict {
        holds(self.code != Some(0), otherwise)
    }
}

/// The rule is kept if this is so.
pub(crate) fn holds(so: bool, otherwise: &'static str) -> Verdict {
    if so { Ok(()) } else { Err(otherwise) }
}

const NAMES: [&str; 19] = [
    "sh", "cat", "id", "sleep", "hostname", "ls", "test", "grep", "stat", "mount", "umount", "uname", "mkdir",
    "ionice", "readlink", "cut", "kill", "env", "sort",
];

impl<'a> Scene<'a> {
    pub(crate) fn new(runtime: &'a Runtime, busybox: &Path) -> Self {
        let home = tempfile::Builder::new().prefix("conform").tempdir_in(busybox.parent().unwrap()).unwrap();
        // Users of user namespaces have to come through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).unwrap();
        let scene = Self { runtime, home };
        let bin = scene.path("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for directory in ["proc", "dev", "sys", "tmp", "etc", "data"] {
            std::fs::create_dir(scene.path("rootfs").join(directory)).unwrap();
        }
        std::fs::hard_link(busybox, bin.join("busybox")).unwrap();
        NAMES.iter().for_each(|name| std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap());
        scene
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    pub(crate) fn id(&self) -> String {
        self.home.path().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Writes the configuration: a shell with this script, changed as the case wants it.
    pub(crate) fn configure(&self, script: &str, change: impl FnOnce(&mut Value)) {
        let mut config = base(script);
        change(&mut config);
        std::fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self, script: &str, change: impl FnOnce(&mut Value)) -> Seen {
        self.configure(script, change);
        self.call(&["run", &self.id()])
    }

    /// One command of the runtime.
    pub(crate) fn call(&self, words: &[&str]) -> Seen {
        Seen::of(&self.command(words).output().unwrap())
    }

    /// The same, with the container's streams in files: whoever is created must not hold a pipe of ours.
    pub(crate) fn create(&self) -> bool {
        let file = |name: &str| std::fs::File::create(self.path(name)).unwrap();
        let mut command = self.command(&["create", &self.id()]);
        command.stdout(file("out")).stderr(file("err")).status().unwrap().success()
    }

    pub(crate) fn start(&self) -> bool {
        self.call(&["start", &self.id()]).code == Some(0)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "20"]).args(&self.runtime.command);
        command.arg("--root").arg(self.path("state")).args(words);
        // Not /dev/null: a peer gives its standard streams to the container's user, and that would be the machine's own.
        let nothing = self.home.path().join("nothing");
        std::fs::write(&nothing, "").unwrap();
        command.current_dir(self.home.path()).stdin(std::fs::File::open(nothing).unwrap());
        command
    }

    /// Its state; null if the runtime knows no such container.
    pub(crate) fn state(&self) -> Value {
        let seen = self.call(&["state", &self.id()]);
        if seen.code == Some(0) { serde_json::from_str(&seen.out).unwrap_or_default() } else { Value::Null }
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or("none").to_owned()
    }

    /// Waits until it has stopped; what it printed.
    pub(crate) fn stopped(&self) -> Result<String, &'static str> {
        self.until("stopped")?;
        Ok(self.printed())
    }

    pub(crate) fn until(&self, status: &str) -> Verdict {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.status() != status {
            holds(Instant::now() < deadline, "it does not come into the state that it must")?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default().trim_end().to_owned()
    }

    /// The content of a file of the bundle; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default().trim_end().to_owned()
    }

    /// A hook that runs a script. It reads its input to the end, as not every runtime forgives one that does not.
    pub(crate) fn hook(&self, script: &str) -> Value {
        let script = if script.starts_with("cat >") { script.to_owned() } else { format!("cat > /dev/null; {script}") };
        json!({"path": "/bin/sh", "args": ["sh", "-c", script.replace("HERE", self.home.path().to_str().unwrap())]})
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // Most cases have deleted theirs; then this says nothing.
        let _ = self.command(&["delete", "--force", &self.id()]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The cgroups of a container, wherever the three runtimes and the cases put them.
pub(crate) fn groups(id: &str) -> Vec<PathBuf> {
    let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let places = ["", "conformance", "cooper", "user.slice"];
    let all = trees.chain(["/sys/fs/cgroup".into()]).flat_map(|tree| places.map(|place| tree.join(place).join(id)));
    all.filter(|directory| directory.is_dir()).collect()
}

/// Removes what a peer has left, so that this machine stays as it was.
pub(crate) fn sweep(id: &str) {
    // Somebody may still be in it, or have been quicker.
    groups(id).iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
}

fn base(script: &str) -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]);
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    })
}

/// Adds a mount.
pub(crate) fn mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Adds a namespace.
pub(crate) fn namespace(config: &mut Value, namespace: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
}

/// Takes a namespace away.
pub(crate) fn without_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
}
