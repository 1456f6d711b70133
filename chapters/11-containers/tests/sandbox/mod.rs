//! An engine of its own for each test, and a look for leaks at its end.

#![allow(clippy::unwrap_used, unreachable_pub)]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use containers::{
    Container, ContainerId, CreateOptions, Defaults, Engine, Network, NetworkMode, Paths, RootChain, StartOptions,
    Stream, Unframer,
};
use layers::{DiffId, Digest};
use network::{DeviceName, NetworkName};

/// The chapter's binary, which is also the monitor.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ch11-containers");

/// The tools of the tests' one layer.
const TOOLS: &[&str] = &[
    "sh", "cat", "cp", "dd", "echo", "env", "false", "hostname", "id", "kill", "ls", "mkdir", "mount", "nc",
    "nslookup", "ps", "pwd", "readlink", "rm", "seq", "sleep", "stat", "stty", "touch", "true", "wc", "yes",
];

/// An engine below a temporary directory.
pub struct Sandbox {
    pub engine: Engine,
    pub root: tempfile::TempDir,
    layer: DiffId,
}

/// How a foreground run went.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: Option<u8>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    /// An engine with one layer of busybox; `None`, with a printed reason, where it cannot run.
    pub fn new() -> Option<Self> {
        if !process::needs::root() || !process::needs::program("busybox") {
            return None;
        }
        let root = tempfile::Builder::new().prefix("ch11-").tempdir().unwrap();
        let engine = Engine::open(Paths::at(root.path())).unwrap().with_monitor(BINARY);
        let layer = DiffId(Digest::of(b"the tests' one layer"));
        engine.snapshots().adopt(&layer, &busybox(root.path())).unwrap();
        Some(Self { engine, root, layer })
    }

    /// A container of the layer, with no network unless `options` say so.
    pub fn create(&self, options: CreateOptions) -> containers::Result<Container> {
        self.create_with(Defaults::default(), options)
    }

    /// As if an image with these defaults had the layer.
    pub fn create_with(&self, defaults: Defaults, options: CreateOptions) -> containers::Result<Container> {
        self.engine.create_on(RootChain::Layers(vec![self.layer], defaults), options)
    }

    /// Creates and starts in the background.
    pub fn run_detached(&self, options: CreateOptions) -> Container {
        let container = self.create(options).unwrap();
        self.engine.start(container.id(), &StartOptions::default()).unwrap();
        container
    }

    /// Creates, starts, gives `input`, and collects everything until the end.
    pub fn run_with_input(&self, options: CreateOptions, input: &[u8]) -> containers::Result<Outcome> {
        let container = self.create(options)?;
        self.run_again(&container, input)
    }

    /// Starts a container that is there already.
    pub fn run_again(&self, container: &Container, input: &[u8]) -> containers::Result<Outcome> {
        let mut running = self.engine.start(container.id(), &StartOptions { attach: true, explain: None })?;
        let attachment = running.attachment.take().unwrap();
        let terminal = attachment.is_terminal();
        let mut socket = attachment.into_stream();
        let mut writer = socket.try_clone().unwrap();
        let input = input.to_vec();
        let typist = std::thread::spawn(move || {
            // The container may have ended without reading; that is its right.
            let _ = writer.write_all(&input).and_then(|()| writer.shutdown(std::net::Shutdown::Write));
        });
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        typist.join().unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if terminal {
            stdout = bytes;
        } else {
            let mut unframer = Unframer::default();
            let fed: Result<(), String> = unframer.feed(&bytes, |stream, piece| {
                if stream == Stream::Stdout {
                    stdout.extend_from_slice(piece)
                } else {
                    stderr.extend_from_slice(piece)
                }
                Ok(())
            });
            fed.unwrap();
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { code: running.wait()?, stdout: text(stdout), stderr: text(stderr) })
    }

    pub fn run(&self, options: CreateOptions) -> containers::Result<Outcome> {
        self.run_with_input(options, b"")
    }

    /// The output of `sh -c SCRIPT`, which must end well.
    pub fn sh(&self, script: &str) -> String {
        let outcome = self.run(sh(script)).unwrap();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{script}: {}", outcome.stdout);
        outcome.stdout
    }

    /// Runs the chapter's binary on this engine.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).arg("--root").arg(self.root.path()).args(arguments).output().unwrap()
    }

    /// What an engine below this root still holds of the kernel's.
    pub fn leaks(&self) -> Vec<String> {
        let containers = self.engine.list(containers::All::Yes).unwrap();
        self.leaks_among(&containers.iter().map(|it| it.id().clone()).collect::<Vec<_>>())
    }

    /// The same, for a container that is removed already.
    pub fn leaks_of(&self, id: &ContainerId) -> Vec<String> {
        self.leaks_among(std::slice::from_ref(id))
    }

    fn leaks_among(&self, ids: &[ContainerId]) -> Vec<String> {
        let root = std::fs::canonicalize(self.root.path()).unwrap();
        let shown = root.display().to_string();
        let mut leaks = Vec::new();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        leaks.extend(mounts.lines().filter(|line| line.contains(&shown)).map(|line| format!("mount {line}")));
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&shown) {
                leaks.push(format!("process {} {line}", process.file_name().display()));
            }
        }
        let links =
            std::fs::read_dir("/sys/class/net").unwrap().flatten().map(|it| it.file_name().into_string().unwrap());
        let bridge = DeviceName::bridge(&root, &NetworkName::default_bridge());
        let ours = |link: &String| link == bridge.as_str() || ids.iter().any(|id| link.contains(&id.as_str()[..8]));
        leaks.extend(links.filter(ours).map(|link| format!("link {link}")));
        for id in ids {
            let path = cgroups::CgroupPath::of_container(id.as_str()).unwrap();
            let left = cgroups::Cgroup::open(&path).map(|cgroup| cgroup.directories()).unwrap_or_default();
            leaks.extend(left.iter().filter(|path| path.exists()).map(|path| format!("cgroup {}", path.display())));
        }
        let runs = std::fs::read_dir(self.root.path().join("run/containers")).unwrap();
        leaks.extend(runs.flatten().map(|run| format!("run directory {}", run.path().display())));
        leaks
    }
}

impl Drop for Sandbox {
    /// Removes what is left, and fails the test if anything of the kernel's stays.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for container in self.engine.list(containers::All::Yes).unwrap_or_default() {
                let force = containers::RemoveOptions { force: true, volumes: true };
                drop(self.engine.remove(container.id(), force));
            }
            return;
        }
        let running = self.engine.list(containers::All::No).unwrap();
        for container in running {
            self.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
        }
        let leaks = eventually(|| Some(self.leaks()).filter(Vec::is_empty)).unwrap_or_else(|| self.leaks());
        assert!(leaks.is_empty(), "left behind:\n{}", leaks.join("\n"));
        self.engine.prune().unwrap();
        let left = |directory: &str| std::fs::read_dir(self.root.path().join(directory)).unwrap().count();
        assert_eq!((left("containers"), left("run/containers")), (0, 0));
    }
}

/// Tries again for five seconds.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() > end => return None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// `sh -c SCRIPT` without a network.
pub fn sh(script: &str) -> CreateOptions {
    command(&["/bin/sh", "-c", script])
}

/// A command without a network.
pub fn command(words: &[&str]) -> CreateOptions {
    CreateOptions {
        image: "busybox".into(),
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        network: Network { mode: NetworkMode::None, ..Network::default() },
        ..CreateOptions::default()
    }
}

/// A directory with busybox, its names, and two accounts.
fn busybox(root: &Path) -> PathBuf {
    let layer = root.join("layer");
    for directory in ["bin", "etc", "tmp", "srv/data"] {
        std::fs::create_dir_all(layer.join(directory)).unwrap();
    }
    process::needs::copy_program(process::needs::find_program("busybox").unwrap(), layer.join("bin/busybox"));
    for tool in TOOLS {
        symlink("busybox", layer.join("bin").join(tool)).unwrap();
    }
    std::fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:44:web\n").unwrap();
    std::fs::write(layer.join("srv/data/from-the-image"), "here\n").unwrap();
    std::fs::write(layer.join("bin/no-program"), "text without execute permission").unwrap();
    layer
}
