//! Records what docker says to the commands that `cooper` is compared with.
//!
//! A daemon of its own, with a root, a socket and a network namespace of its own: no other is touched.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::comparison;
use tests::engine::run;

/// The daemon, which ends with this program.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // SIGTERM, so that it takes containerd with it.
        if run(Command::new("kill").arg(&pid)).is_ok() {
            self.0.wait().map(drop).unwrap_or_default();
        }
    }
}

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("docker.sock");
    let log = fs::File::create(directory.path().join("log"))?;
    let mut command = Command::new("unshare");
    command.args(["--net", "dockerd", "--data-root"]).arg(directory.path().join("data"));
    command.arg("--exec-root").arg(directory.path().join("exec")).arg("-H").arg(format!("unix://{}", socket.display()));
    command.arg("-p").arg(directory.path().join("pid")).args(["--iptables=false", "--bridge=none"]);
    let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    let _daemon = Daemon(daemon.context("cannot start dockerd")?);
    let docker = |words: &[String]| {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", format!("unix://{}", socket.display())).env("DOCKER_CONFIG", directory.path());
        docker.args(words);
        docker
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while run(&mut docker(&comparison::words("version")))?.code != 0 {
        ensure!(Instant::now() < deadline, "{}", fs::read_to_string(directory.path().join("log"))?);
        std::thread::sleep(Duration::from_millis(200));
    }
    let archive = comparison::archive(directory.path())?;
    run(docker(&comparison::words("load -i")).arg(archive))?.ok();
    let answers = comparison::play(&docker)?;
    let path = comparison::directory()?.join("docker.json");
    fs::write(&path, serde_json::to_string_pretty(&answers)? + "\n")?;
    println!("{} answers in {}", answers.len(), path.display());
    Ok(())
}
