//! `probe`: what a process inside can see of its confinement, asked by a process inside.
//!
//! The program that reports (`tools/probe`) is part of this binary, so that it works in any image, also in one without
//! a shell. It is static and reads `/proc` alone.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use clap::Args;
use containers::{
    AttachOptions, CreateOptions, Engine, ExecOptions, MountRequest, RemoveOptions, Source, StartOptions,
};
use rustix::fs::{MemfdFlags, SealFlags};
use tempfile::TempPath;

use crate::acquire;
use crate::cli::Place;
use crate::flags::Flags;
use crate::run::follow;

/// Where a new container finds the program.
const INSIDE: &str = "/.cooper-probe";

/// Show what a process can see of its confinement, in a new container of an image or in a running one
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
#[command(override_usage = "cooper probe [--text|--json] [OPTIONS OF run] IMAGE\n       \
                            cooper probe [--text|--json] --container CONTAINER")]
pub(crate) struct Probe {
    /// The image: a name, an id, or one that is built in (hello, host)
    #[arg(required_unless_present = "container", conflicts_with = "container")]
    image: Option<String>,
    /// Ask in this running container instead
    #[arg(long, value_name = "CONTAINER", conflicts_with_all = ["Flags", "Limits", "Network", "Security"])]
    container: Option<String>,
    /// Report as text (the default)
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Probe {
    /// Prints the report; returns the program's exit code.
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        anyhow::ensure!(
            probe::IS_STATIC,
            "this engine was built without a static C library: its probe would not run in an image"
        );
        let engine = place.engine()?;
        match (&self.container, &self.image) {
            (Some(container), _) => self.in_running(&engine, container),
            (None, Some(image)) => self.in_new(place, &engine, image),
            (None, None) => anyhow::bail!("an image or --container is needed"),
        }
    }

    fn format(&self) -> String {
        if self.json { "--json" } else { "--text" }.to_owned()
    }

    /// As `exec`, but what is executed is a descriptor: nothing is written into the container, and nothing has to go.
    fn in_running(&self, engine: &Engine, name: &str) -> anyhow::Result<u8> {
        let container = engine.find(name)?;
        let command = vec!["probe".to_owned(), self.format()];
        let options = ExecOptions { command, ..ExecOptions::default() };
        Ok(engine.exec_program(container.id(), &options, in_memory()?.as_fd())?)
    }

    /// As `run --rm`, with the program in the place of the image's, so that it is the first process.
    fn in_new(&self, place: &Place, engine: &Engine, image: &str) -> anyhow::Result<u8> {
        let Flags { entrypoint, cidfile, interactive, .. } = &self.flags;
        if entrypoint.is_some() || cidfile.is_some() || *interactive {
            anyhow::bail!("--entrypoint, --cidfile and --interactive mean nothing here: what runs is the probe");
        }
        let options = self.flags.options(image, &[self.format()])?;
        let image = acquire::image(engine, image, self.flags.pull)?;
        let program = on_disk(place)?;
        let source = Source::Bind { path: program.to_path_buf(), create: false };
        let mount = MountRequest { read_only: true, ..MountRequest::new(source, INSIDE) };
        let mounts = options.mounts.iter().cloned().chain([mount]).collect();
        let entrypoint = Some(vec![INSIDE.to_owned()]);
        let container = engine.create(&image, CreateOptions { entrypoint, mounts, auto_remove: true, ..options })?;
        let id = container.id();
        let started = engine.start(id, &StartOptions { attach: true, explain: place.explain() });
        let mut running = started.inspect_err(|_| {
            // The error that is about to be reported is the reason; a second one would hide it.
            drop(engine.remove(id, RemoveOptions { force: true, volumes: true }));
        })?;
        // Mounted, it needs its name no more.
        program.close().context("remove the probe's copy")?;
        let attachment = running.attachment.take().context("the container was started without its streams")?;
        let console = AttachOptions { interactive: false, keep_signals: false, ..AttachOptions::default() };
        follow(engine, id, attachment, &mut running, &console)
    }
}

/// The program as a file that no path leads to and that nobody can change, the container through `/proc/self/exe` neither.
fn in_memory() -> anyhow::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("probe", flags).context("memfd_create")?;
    std::fs::File::from(memory.try_clone()?).write_all(probe::PROBE).context("write the probe")?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memory, seals).context("seal the probe")?;
    Ok(memory)
}

/// The program as a file to mount, gone when it is dropped.
fn on_disk(place: &Place) -> anyhow::Result<TempPath> {
    let run = place.paths().run;
    let file = tempfile::Builder::new().prefix("probe.").permissions(Permissions::from_mode(0o755)).tempfile_in(&run);
    let mut file = file.with_context(|| format!("make a file in {run:?}"))?;
    file.write_all(probe::PROBE).context("write the probe")?;
    // Closed for writing: else nobody could execute it.
    Ok(file.into_temp_path())
}
