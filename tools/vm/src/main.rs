//! A machine of its own with a cgroup v2 kernel: for what this machine's kernel cannot show.
//!
//! Debian's cloud kernel, an initramfs that is made on the spot, QEMU without hardware support: slow (10 seconds to
//! boot) and the same everywhere. Nothing of the host is reachable from inside but what is copied in.

mod archive;
mod image;
mod kernel;
mod machine;
mod modules;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::image::Image;
use crate::kernel::Kernel;

/// Run a command on a real kernel with cgroup v2, in QEMU.
///
///   cargo run -p vm -- run cat /sys/fs/cgroup/cgroup.controllers
///   cargo run -p vm -- run target/vm/static/debug/ch05-cgroups oom      # a program of the host, copied in
///   cargo run -p vm -- shell
///
/// A command with a slash is a file of this machine and is copied in, with the libraries that it needs; one without is
/// busybox's. Prints the command's output and exits with its code; 124 if it took too long, 125 if the machine failed.
#[derive(Parser)]
#[command(name = "vm", version, verbatim_doc_comment)]
struct Arguments {
    /// Seconds until the machine is switched off.
    #[arg(long, default_value_t = 180)]
    timeout: u64,
    /// MiB of memory.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Another file of this machine to copy in, at the same path or at the one after a colon.
    #[arg(long, value_name = "PATH[:INSIDE]")]
    with: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot, run a command, power off.
    Run {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Boot into a shell; `exit` powers off.
    Shell,
}

fn main() {
    let code = run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("vm: {error:#}");
        125
    });
    std::process::exit(code);
}

fn run(arguments: &Arguments) -> anyhow::Result<i32> {
    let cache = cache()?;
    let kernel = Kernel::obtain(&cache)?;
    let mut image = Image::new(&kernel)?;
    for file in &arguments.with {
        let (path, inside) = file.split_once(':').unwrap_or((file, ""));
        image.add_program(path.as_ref(), if inside.is_empty() { None } else { Some(inside) })?;
    }
    let command = match &arguments.command {
        Command::Run { command } => {
            if command[0].as_encoded_bytes().contains(&b'/') {
                image.add_program(command[0].as_ref(), None)?;
            }
            Some(command.as_slice())
        }
        Command::Shell => None,
    };
    let work = tempfile::tempdir_in(&cache).context("make a work directory")?;
    let initramfs = work.path().join("initramfs");
    image.write(&initramfs, command)?;
    let machine = machine::Machine {
        kernel: &kernel.image,
        initramfs: &initramfs,
        memory: arguments.memory,
        limit: Duration::from_secs(arguments.timeout),
        interactive: command.is_none(),
    };
    machine.run(work.path())
}

/// `target/vm`, beside the directory that this program was built into.
fn cache() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let target = program.ancestors().nth(2).context("this program lies in no target directory")?;
    let cache = target.join("vm");
    std::fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    Ok(cache)
}
