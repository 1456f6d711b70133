//! The naive parent, who opens a file for itself and forgets that its child will have it, too.
//!
//! A descriptor is a door that is open already: no permission is asked again, and no root, mount namespace or chroot
//! stands before it. Whoever inherits one of a directory of the machine's walks through `/proc/self/fd/N/..`, and has
//! left the container (CVE-2024-21626). One forgotten `O_CLOEXEC` in one library is enough, so what a careful parent
//! hands on is an allow-list.
//!
//! Run it: `cargo run -p ch01-process --example leaked_descriptor`.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;

use anyhow::Context as _;
use process::{CloneArgs, ProcessStep, Program, spawn};

fn main() -> anyhow::Result<()> {
    let secrets = std::env::temp_dir().join(format!("leaked_descriptor.{}", process::Pid::this()));
    std::fs::create_dir(&secrets).context("make a directory for the secret")?;
    std::fs::write(secrets.join("secret"), "of the machine\n").context("write the secret")?;
    // As a library would open it that does not know about close-on-exec.
    let directory: OwnedFd = rustix::io::dup(std::fs::File::open(&secrets)?).context("open the directory")?;
    let look = format!("cat /proc/self/fd/{}/secret 2>/dev/null || echo nothing", directory.as_raw_fd());

    let naive = Command::new("sh").args(["-c", &look]).output().context("run a shell")?;
    print!("inherited by accident: the child reads: {}", String::from_utf8_lossy(&naive.stdout));
    print!("with an allow-list:    the child reads: {}", careful(&look)?);
    std::fs::remove_dir_all(&secrets).context("tidy up")
}

/// Runs the same shell as the library does it.
fn careful(look: &str) -> anyhow::Result<String> {
    let (reader, writer) = std::io::pipe().context("a pipe")?;
    let arguments = ["/bin/sh", "-c", look].map(Into::into).to_vec();
    let program = Program { arguments, environment: vec!["PATH=/usr/bin:/bin".into()] };
    let steps = [
        ProcessStep::Stdio([0, writer.as_raw_fd(), 2]),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(program),
    ];
    let mut child = spawn(&CloneArgs::default(), &steps)?;
    child.run_to_exec()?;
    drop(writer);
    let seen = std::io::read_to_string(reader).context("read what it saw")?;
    child.pidfd().wait()?;
    Ok(seen)
}
