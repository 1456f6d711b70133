//! A machine of its own with a cgroup v2 kernel: for what this machine's kernel cannot show.
//!
//! Debian's cloud kernel, an initramfs that is made on the spot, QEMU without hardware support: slow (10 seconds to
//! boot) and the same everywhere. Nothing of the host is reachable from inside but what is copied in.

mod archive;
mod built;
mod image;
mod kernel;
mod machine;
mod modules;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::built::Built;
use crate::image::Image;
use crate::kernel::Kernel;

/// Run a command on a real kernel with cgroup v2, in QEMU.
///
///   cargo run -p vm -- run cat /sys/fs/cgroup/cgroup.controllers
///   cargo run -p vm -- run target/debug/ch05-cgroups oom        # a program of this machine, copied in
///   cargo run -p vm -- test -p ch05-cgroups                     # a package's tests, where there is cgroup v2
///   cargo run -p vm -- -p cooper --with /usr/sbin/nft shell     # a playground with the engine in it
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
    /// A package of this workspace whose programs are built and copied into /usr/bin.
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
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
    /// Build the tests of packages and run them all in one machine; exits 0 only if all of them pass.
    Test {
        /// The packages.
        #[arg(long, short, required = true, value_name = "NAME")]
        package: Vec<String>,
        /// What the test programs are told: a part of the names of the tests, for instance.
        #[arg(last = true)]
        arguments: Vec<String>,
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
    let work = tempfile::tempdir_in(&cache).context("make a work directory")?;
    for program in &Built::programs(&arguments.package)?.programs {
        let name = program.file_name().unwrap_or_default().display();
        image.add_program(&built::slim(program, work.path()), Some(&format!("/usr/bin/{name}")))?;
    }
    let command = match &arguments.command {
        Command::Run { command } => {
            if command[0].as_encoded_bytes().contains(&b'/') {
                image.add_program(command[0].as_ref(), None)?;
            }
            Some(image::script(command)?)
        }
        Command::Test { package, arguments } => Some(add_tests(&mut image, package, arguments, work.path())?),
        Command::Shell => None,
    };
    let initramfs = work.path().join("initramfs");
    image.write(&initramfs, command.as_deref())?;
    let machine = machine::Machine {
        kernel: &kernel.image,
        initramfs: &initramfs,
        memory: arguments.memory,
        limit: Duration::from_secs(arguments.timeout),
        interactive: command.is_none(),
    };
    machine.run(work.path())
}

/// Copies tests in, at the paths that were compiled into them, with the programs and the snapshots that they look for.
/// Returns the script that runs them.
///
/// Inside, nothing may be skipped: what a test needs and this machine lacks is to be seen.
fn add_tests(image: &mut Image, packages: &[String], words: &[String], work: &Path) -> anyhow::Result<String> {
    let built = Built::tests(packages)?;
    for program in &built.programs {
        image.add_program(&built::slim(program, work), program.to_str())?;
    }
    for snapshot in built.snapshots()? {
        image.add_file(snapshot);
    }
    let mut script = String::from("export CI=true INSTA_UPDATE=no NO_COLOR=1 RUST_BACKTRACE=0\nfailed=0\n");
    for (test, package) in &built.tests {
        image.add_program(&built::slim(test, work), test.to_str())?;
        let mut line = vec![test.clone().into_os_string()];
        line.extend(words.iter().map(OsString::from));
        let (directory, line) = (image::quoted(package.as_os_str())?, image::line(&line)?);
        let workspace = image::quoted(built::workspace_of(package).as_os_str())?;
        script += &format!("echo {line}\nmkdir -p {directory}; cd {directory}\n");
        script += &format!("INSTA_WORKSPACE_ROOT={workspace} {line} || failed=1\n");
    }
    Ok(script + "exit $failed\n")
}

/// `target/vm`, beside the directory that this program was built into.
fn cache() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let target = program.ancestors().nth(2).context("this program lies in no target directory")?;
    let cache = target.join("vm");
    std::fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    Ok(cache)
}
