//! `exec`: another process in a running container.

use anyhow::bail;
use clap::Args;
use containers::{DetachKeys, ExecOptions};

use crate::cli::Place;
use crate::run::needs_terminal;
use crate::values;

/// Execute a command in a running container
#[derive(Args, Debug)]
#[command(override_usage = "cooper exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Give extended privileges to the command
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// The container's name or id; then what to run in it
    // One list, as for `run`: whatever follows the container is the command's.
    #[arg(required = true, num_args = 2.., value_names = ["CONTAINER", "COMMAND"], trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

impl Exec {
    /// Returns the command's exit code.
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let Some((name, command)) = self.words.split_first() else { bail!("in which container?") };
        if self.interactive && self.tty && !self.detach {
            needs_terminal()?;
        }
        // From here on this process goes where the container's processes can see it.
        rootfs::self_exe::protect()?;
        let mut env = Vec::new();
        for text in &self.env {
            let read = values::variable(text, |name| std::env::var(name).ok());
            env.extend(read.map_err(|e| anyhow::anyhow!("--env {e}"))?);
        }
        let engine = place.engine()?;
        let container = engine.find(name)?;
        let options = ExecOptions {
            command: command.to_vec(),
            terminal: self.tty,
            interactive: self.interactive,
            detach: self.detach,
            env,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            privileged: self.privileged,
            detach_keys: self.detach_keys.clone().unwrap_or_default(),
        };
        Ok(engine.exec(container.id(), &options)?)
    }
}
