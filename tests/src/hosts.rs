//! Programs that call an OCI runtime: podman, containerd, dockerd, each in a corner of its own.
//!
//! They make bridges and firewall rules, and some of them remove neither. So each works in a network namespace that ends
//! with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::deeds::words;
use crate::engine::{Said, Who, run};

/// A network namespace with a loopback, kept by a process that only sleeps.
#[derive(Debug)]
pub struct Corner {
    keeper: Child,
}

impl Corner {
    /// Makes one.
    ///
    /// # Errors
    /// `unshare` or `ip` failed.
    pub fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "ip link set lo up && echo ready && exec sleep 1000000"]);
        let mut keeper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run unshare")?;
        let mut ready = [0; 6];
        let stdout = keeper.stdout.take().context("no output")?;
        let mut corner = Self { keeper };
        std::io::Read::read_exact(&mut { stdout }, &mut ready).with_context(|| corner.why_not())?;
        Ok(corner)
    }

    fn why_not(&mut self) -> String {
        format!("no network namespace: {:?}", self.keeper.try_wait())
    }

    /// A command that runs in it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg("--").arg(program.as_ref());
        command.stdin(Stdio::null());
        command
    }

    /// Starts a server in it, and waits until `ready` says that it answers.
    ///
    /// # Errors
    /// It ended, or did not answer within thirty seconds; with the end of its log.
    pub fn serve(&self, command: &mut Command, log: &Path, ready: impl Fn() -> bool) -> Result<Daemon> {
        let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let streams = file.try_clone().context("cannot share the log")?;
        let child = command.stdin(Stdio::null()).stdout(streams).stderr(file).spawn();
        let mut daemon = Daemon { child: child.with_context(|| format!("cannot start {command:?}"))? };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ready() {
            let ended = daemon.child.try_wait().context("cannot wait for a server")?;
            ensure!(ended.is_none() && Instant::now() < deadline, "{command:?}: {}", last_lines(log));
            sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        end(&mut self.keeper, "KILL");
    }
}

/// A server that ends with the test, and gets the time to clean up after itself.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child, "TERM");
    }
}

/// Sends a signal and reaps; after ten seconds with less patience.
fn end(child: &mut Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    let deadline = Instant::now() + Duration::from_secs(10);
    while sent.is_ok() && Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    // There is nobody to tell: the test has its result already.
    let _ = child.kill();
    let _ = child.wait();
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A tree with a static busybox and nothing else.
///
/// # Errors
/// busybox is not installed, or there is no room.
pub fn busybox_tree(directory: &Path) -> Result<PathBuf> {
    let bin = directory.join("tree/bin");
    fs::create_dir_all(&bin).context("cannot make a tree")?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).is_file());
    process::needs::copy_program(busybox.context("no busybox")?, bin.join("busybox"));
    for applet in [
        "sh", "cat", "echo", "ls", "id", "sleep", "httpd", "wget", "grep", "touch", "hostname", "pwd", "true", "ps",
        "kill", "mkdir", "stty", "test", "mount",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).context("cannot link an applet")?;
    }
    // A place for devices of others' configurations, and one for files of the test's.
    for place in ["tmp", "etc"] {
        fs::create_dir(directory.join("tree").join(place)).context("cannot make a tree")?;
    }
    fs::write(directory.join("tree/etc/page"), "served\n").context("cannot write a page")?;
    Ok(directory.join("tree"))
}

/// podman and buildah with a store of their own and an image `busybox:1` in it.
#[derive(Debug)]
pub struct Podman {
    directory: PathBuf,
    who: Who,
    corner: Corner,
}

impl Podman {
    /// Keeps everything below `directory`.
    ///
    /// # Errors
    /// buildah cannot make the image.
    pub fn new(directory: &Path, who: Who) -> Result<Self> {
        // Limits that a modest machine can grant; nothing of the network's is kept outside.
        let networks = directory.join("networks");
        fs::create_dir_all(&networks).context("cannot make a directory")?;
        let configuration = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n[network]\nnetwork_config_dir = \"{}\"\n",
            networks.display()
        );
        fs::write(directory.join("containers.conf"), configuration).context("cannot write containers.conf")?;
        let podman = Self { directory: directory.to_owned(), who, corner: Corner::new()? };
        busybox_tree(directory)?;
        let file = "FROM scratch\nCOPY tree /\nENV PATH=/bin\nCMD [\"/bin/sh\"]\n";
        fs::write(directory.join("Containerfile"), file).context("cannot write a Containerfile")?;
        fs::create_dir(directory.join("runtime")).context("cannot make a directory")?;
        if who == Who::Learner {
            let given = run(Command::new("chown").args(["-R", "learner:"]).arg(directory))?;
            ensure!(given.code == 0, "cannot give the directory to learner: {}", given.err);
        }
        podman.buildah("runc", &words("-q --tag busybox:1 --file Containerfile ."))?.ok();
        Ok(podman)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = match self.who {
            Who::Caller => self.corner.command(program),
            Who::Learner => {
                let mut command = self.corner.command("runuser");
                command.args(["-u", "learner", "--", program]);
                // Else it would be put where systemd's user session is, or is not.
                command.env("XDG_RUNTIME_DIR", self.directory.join("runtime"));
                command
            }
        };
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf")).env("HOME", &self.directory);
        command.current_dir(&self.directory);
        command.arg("--root").arg(self.directory.join("store")).arg("--runroot").arg(self.directory.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    }

    /// `podman ARGUMENTS` with this runtime.
    ///
    /// # Errors
    /// podman cannot be started.
    pub fn podman(&self, runtime: &str, arguments: &[String]) -> Result<Said> {
        let mut command = self.command("podman");
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", runtime]);
        run(command.args(arguments))
    }

    /// `buildah bud ARGUMENTS` with this runtime.
    ///
    /// # Errors
    /// buildah cannot be started.
    pub fn buildah(&self, runtime: &str, arguments: &[String]) -> Result<Said> {
        let mut command = self.command("buildah");
        run(command.args(["bud", "--isolation", "oci", "--network", "none", "--runtime", runtime]).args(arguments))
    }

    /// What a server in the corner answers, asked for `ADDRESS/PAGE` over HTTP.
    ///
    /// # Errors
    /// busybox cannot be started.
    pub fn fetch(&self, address: &str) -> Result<Said> {
        run(self.corner.command("busybox").args(["wget", "-q", "-O", "-", &format!("http://{address}")]))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What a failed test has left; there is nobody to tell if that fails too.
        let _ = self.podman("runc", &words("rm --all --force --time 0"));
        if self.who == Who::Learner {
            // A process of podman's keeps the user's namespace; this ends it.
            let _ = self.podman("runc", &words("system migrate"));
        }
    }
}

/// dockerd with its own containerd, in a corner, with `cooper-runtime` for its default runtime; an image `busybox:1` in it.
#[derive(Debug)]
pub struct Docker {
    socket: String,
    // Ended in this order.
    _daemon: Daemon,
    _corner: Corner,
}

impl Docker {
    /// Keeps everything below `directory`.
    ///
    /// # Errors
    /// It does not start, with the end of its log.
    pub fn new(directory: &Path, runtime: &Path) -> Result<Self> {
        let corner = Corner::new()?;
        let socket = format!("unix://{}", directory.join("sock").display());
        let mut command = corner.command("dockerd");
        let place = |name: &str| directory.join(name).display().to_string();
        command.args(["--data-root", &place("data"), "--exec-root", &place("exec"), "--pidfile", &place("pid")]);
        command.args(["--host", &socket, "--storage-driver", "vfs", "--default-ulimit", "nofile=1024:1024"]);
        command.arg("--add-runtime").arg(format!("cooper-runtime={}", runtime.display()));
        command.args(["--default-runtime", "cooper-runtime"]);
        let answers =
            || run(Command::new("docker").args(["--host", &socket, "version"])).is_ok_and(|said| said.code == 0);
        let daemon = corner.serve(&mut command, &directory.join("log"), answers)?;
        let docker = Self { socket, _daemon: daemon, _corner: corner };
        let archive = directory.join("tree.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(busybox_tree(directory)?).arg("-cf").arg(&archive).arg(".");
        ensure!(run(&mut tar)?.code == 0, "tar failed");
        let import = [
            "import",
            "--change",
            "ENV PATH=/bin",
            "--change",
            "CMD [\"sh\"]",
            &archive.display().to_string(),
            "busybox:1",
        ];
        docker.docker(&import.map(str::to_owned))?.ok();
        Ok(docker)
    }

    /// Where it listens: `unix://PATH`.
    pub fn address(&self) -> &str {
        &self.socket
    }

    /// `docker ARGUMENTS`.
    ///
    /// # Errors
    /// docker cannot be started.
    pub fn docker(&self, arguments: &[String]) -> Result<Said> {
        // The builder that is part of the daemon: it calls the daemon's own runtime.
        let mut command = Command::new("docker");
        command.env("DOCKER_BUILDKIT", "0").args(["--host", &self.socket]).args(arguments);
        run(command.stdin(Stdio::null()))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // A daemon that ends leaves its containers' shims behind. There is nobody to tell if this fails.
        if let Ok(said) = self.docker(&words("ps --all --quiet")) {
            let ids = said.out.split_whitespace().map(str::to_owned);
            let _ = self.docker(&words("rm --force").into_iter().chain(ids).collect::<Vec<_>>());
        }
    }
}

/// The processes that have this directory in their command line: none, once whoever worked there has gone.
pub fn left_working_in(directory: &Path) -> Vec<String> {
    let name = directory.display().to_string();
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&name).then(|| format!("{}: {line}", entry.path().display()))
    });
    lines.collect()
}

/// containerd in a corner, and a root to run containers in.
#[derive(Debug)]
pub struct Containerd {
    directory: PathBuf,
    _daemon: Daemon,
    _corner: Corner,
}

impl Containerd {
    /// Keeps everything below `directory`.
    ///
    /// # Errors
    /// It does not start, with the end of its log.
    pub fn new(directory: &Path) -> Result<Self> {
        let corner = Corner::new()?;
        busybox_tree(directory)?;
        let here = directory.display();
        let configuration = format!(
            "version = 2\nroot = \"{here}/root\"\nstate = \"{here}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{here}/sock\"\n[ttrpc]\naddress = \"{here}/sock.ttrpc\"\n"
        );
        fs::write(directory.join("config.toml"), configuration).context("cannot write config.toml")?;
        let mut command = corner.command("containerd");
        command.arg("--config").arg(directory.join("config.toml"));
        let socket = directory.join("sock");
        let answers =
            || run(Command::new("ctr").arg("--address").arg(&socket).arg("version")).is_ok_and(|said| said.code == 0);
        let daemon = corner.serve(&mut command, &directory.join("log"), answers)?;
        Ok(Self { directory: directory.to_owned(), _daemon: daemon, _corner: corner })
    }

    /// `ctr ARGUMENTS`; where these run a container, with this runtime, and busybox for its root. With `-t` among them, on a
    /// terminal.
    ///
    /// # Errors
    /// ctr cannot be started.
    pub fn ctr(&self, runtime: &Path, arguments: &[String]) -> Result<Said> {
        let mut words =
            vec!["ctr".to_owned(), "--address".to_owned(), self.directory.join("sock").display().to_string()];
        words.extend_from_slice(arguments);
        if let Some(place) = words.iter().position(|word| word == "run") {
            let tree = self.directory.join("tree").display().to_string();
            let runtime = runtime.display().to_string();
            let last_option = words.iter().skip(place).position(|word| !word.starts_with('-') && word != "run");
            let at = place + last_option.unwrap_or(1);
            words.splice(at..at, ["--runc-binary".to_owned(), runtime, "--rootfs".to_owned(), tree]);
        }
        let mut command = if words.iter().any(|word| word == "-t") {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let mut command = Command::new("script");
            command.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]);
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        };
        run(command.stdin(Stdio::null()))
    }
}
