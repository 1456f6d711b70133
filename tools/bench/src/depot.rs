//! The servers of a comparison: a registry, and the daemons of those who need one. They end with the comparison.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The registry's address. The comparison has a network of its own, so the port is free.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// The address of the registry that is pushed to. Each run has a new one: nobody can have it take a layer from another
/// repository, as clients do that remember where a layer came from.
pub(crate) const EMPTY: &str = "127.0.0.1:5001";

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server; dropped, it is ended.
pub(crate) struct Served {
    child: Child,
}

impl Served {
    /// Debian's registry, over http, with everything below `dir`.
    ///
    /// # Errors
    /// It is not installed, or does not answer.
    pub(crate) fn registry(dir: &Path, address: &str) -> Result<Self> {
        let config = dir.join("registry.yml");
        let root = dir.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: \"{address}\" }}\n",
            root.display()
        );
        fs::write(&config, text).context("cannot write the registry's configuration")?;
        let answers = || TcpStream::connect(address).is_ok();
        Self::start(Command::new("docker-registry").arg("serve").arg(config), answers)
    }

    /// Docker's daemon, with everything below `dir`; it changes nothing in its network.
    ///
    /// # Errors
    /// As for [`registry`](Self::registry).
    pub(crate) fn docker(dir: &Path) -> Result<Self> {
        let socket = dir.join("docker.sock");
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(dir.join("docker")).arg("--exec-root").arg(dir.join("docker-run"));
        command.arg("--pidfile").arg(dir.join("docker.pid")).arg("--host").arg(format!("unix://{}", socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        Self::start(&mut command, || is_socket(&socket))
    }

    /// containerd, with everything below `dir`.
    ///
    /// # Errors
    /// As for [`registry`](Self::registry).
    pub(crate) fn containerd(dir: &Path) -> Result<Self> {
        let socket = dir.join("containerd.sock");
        let config = dir.join("containerd.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            dir.join("containerd"),
            dir.join("containerd-run"),
            socket
        );
        fs::write(&config, text).context("cannot write containerd's configuration")?;
        Self::start(Command::new("containerd").arg("--config").arg(config), || is_socket(&socket))
    }

    fn start(command: &mut Command, answers: impl Fn() -> bool) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut served = Self { child: command.spawn().with_context(|| format!("{program} is not installed"))? };
        let until = Instant::now() + PATIENCE;
        while !answers() {
            if let Some(status) = served.child.try_wait().context("cannot wait for a server")? {
                bail!("{program} ended: {status}");
            }
            if Instant::now() > until {
                bail!("{program} does not answer");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(served)
    }

    /// The server's process and those that it started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = all.get(at).copied() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            at += 1;
        }
        all
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Asked nicely, a daemon ends what it started and unmounts what it mounted.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        // It may end between the question and the signal; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes away a store whose driver may have left a mount in it.
///
/// # Errors
/// Those of removing files.
pub(crate) fn remove(store: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let inside = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut inside: Vec<PathBuf> = inside.filter(|mount| mount.starts_with(store)).collect();
    inside.sort();
    for mount in inside.iter().rev() {
        rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    if store.exists() {
        fs::remove_dir_all(store).with_context(|| format!("cannot remove {}", store.display()))?;
    }
    Ok(())
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}
