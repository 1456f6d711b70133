//! The rest of the world, for tests of interoperability: the real programs, started by the test, never a mock of them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::engine::{Cooper, Said, Who, run};

/// A server that a test started; it ends with the test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts a command that listens on `address` and waits until it answers.
    ///
    /// # Errors
    /// It ended, or did not answer within ten seconds.
    pub fn start(command: &mut Command, address: String) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self { child: child.with_context(|| format!("cannot start {command:?}"))?, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&server.address).is_err() {
            if let Some(status) = server.child.try_wait().context("cannot wait for a server")? {
                bail!("{command:?} ended: {status}");
            }
            anyhow::ensure!(Instant::now() < deadline, "nothing answers on {}", server.address);
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Debian's `docker-registry`, with its storage in `directory`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn docker_registry(directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let storage = directory.join("registry");
        let config = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: \"{address}\" }}\n",
            storage.display()
        );
        fs::write(&config, text).context("cannot write the registry's configuration")?;
        Self::start(Command::new("docker-registry").arg("serve").arg(&config), address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody left to end or to wait for.
        if self.child.kill().is_ok() {
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// A port of the loopback on which nobody listens now.
///
/// # Errors
/// The loopback is down.
pub fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
    Ok(listener.local_addr()?.to_string())
}

/// skopeo, podman and buildah with a store of their own.
#[derive(Debug)]
pub struct Containers {
    directory: PathBuf,
}

impl Containers {
    /// Keeps their stores and configuration below `directory`.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        let directory = directory.join("containers");
        fs::create_dir_all(&directory).context("cannot make a directory for podman")?;
        // Limits that a modest machine can grant, and registries on the loopback without TLS.
        let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\n";
        fs::write(directory.join("containers.conf"), limits).context("cannot write containers.conf")?;
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(directory.join("policy.json"), policy).context("cannot write policy.json")?;
        Ok(Self { directory })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf")).env("HOME", &self.directory);
        command.current_dir(&self.directory);
        command
    }

    fn stored(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.arg("--root").arg(self.directory.join("store")).arg("--runroot").arg(self.directory.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    }

    /// `skopeo ARGUMENTS`.
    ///
    /// # Panics
    /// It could not be started.
    pub fn skopeo(&self, arguments: &[&str]) -> Said {
        let mut command = self.command("skopeo");
        command.arg("--policy").arg(self.directory.join("policy.json")).args(arguments);
        run(&mut command).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `podman ARGUMENTS`.
    ///
    /// # Panics
    /// It could not be started.
    pub fn podman(&self, arguments: &[&str]) -> Said {
        let mut command = self.stored("podman");
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        run(command.args(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `buildah ARGUMENTS`.
    ///
    /// # Panics
    /// It could not be started.
    pub fn buildah(&self, arguments: &[&str]) -> Said {
        run(self.stored("buildah").args(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Pushes an image that Cooper had no part in: busybox, put together by buildah, as `ADDRESS/busybox:1`.
    ///
    /// # Panics
    /// buildah failed.
    pub fn push_busybox(&self, address: &str) {
        let bin = self.directory.join("tree/bin");
        let made = fs::create_dir_all(&bin).and_then(|()| fs::copy("/bin/busybox", bin.join("busybox")));
        made.unwrap_or_else(|error| panic!("cannot copy busybox: {error}"));
        for applet in ["sh", "cat", "echo", "ls", "id", "sleep", "httpd", "wget", "grep", "touch", "hostname", "pwd"] {
            let linked = std::os::unix::fs::symlink("busybox", bin.join(applet));
            linked.unwrap_or_else(|error| panic!("cannot link {applet}: {error}"));
        }
        let container = self.buildah(&["from", "scratch"]).ok();
        let container = container.trim();
        let tree = self.directory.join("tree");
        self.buildah(&["copy", "--quiet", container, &tree.to_string_lossy(), "/"]).ok();
        self.buildah(&["config", "--env", "FROM=buildah", "--env", "PATH=/bin", "--cmd", "/bin/sh", container]).ok();
        self.buildah(&["commit", "--quiet", "--rm", container, "busybox:1"]).ok();
        let target = format!("docker://{address}/busybox:1");
        self.buildah(&["push", "--quiet", "--tls-verify=false", "busybox:1", &target]).ok();
    }
}

/// What most tests of interoperability begin with: an engine, and beside it a registry with somebody else's image.
#[derive(Debug)]
pub struct Beside {
    /// The engine.
    pub cooper: Cooper,
    /// Debian's registry.
    pub registry: Server,
    /// The other programs.
    pub peers: Containers,
    /// Where registry and programs keep their things.
    pub place: tempfile::TempDir,
    /// The image's name in the registry: a busybox, put together by buildah.
    pub busybox: String,
}

impl Beside {
    /// Whether everything that it takes is here; what is missing is said.
    pub fn able() -> bool {
        ["docker-registry", "buildah", "busybox"].iter().all(|name| process::needs::program(name))
            && process::needs::root()
    }

    /// Starts all of it; the engine runs as `who`.
    ///
    /// # Errors
    /// One of the programs does not start.
    pub fn new(who: Who) -> Result<Self> {
        // First: other tests wait here for their turn, and their registries need not.
        Self::engine(Cooper::new(who)?)
    }

    /// Starts all of it beside an engine that is there already.
    ///
    /// # Errors
    /// One of the programs does not start.
    pub fn engine(cooper: Cooper) -> Result<Self> {
        let place = tempfile::tempdir().context("no temporary directory")?;
        let registry = Server::docker_registry(place.path())?;
        let peers = Containers::new(place.path())?;
        peers.push_busybox(registry.address());
        let busybox = format!("{}/busybox:1", registry.address());
        Ok(Self { cooper, registry, peers, place, busybox })
    }
}
