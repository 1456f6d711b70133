//! The commands, and which module answers each.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use containers::{Engine, Paths};

use crate::failure::{Blame, NoNamespace};
use crate::later::Later;
use crate::{
    archive, build, compose, container, daemon, image, look, map, network, probe, registry, search, stats, system,
    transfer, volume,
};

/// A container engine made to be read.
#[derive(Parser, Debug)]
#[command(name = "cooper", version, disable_version_flag = true, arg_required_else_help = true)]
#[command(after_help = "First steps, without network or images:\n  \
    cooper run --rm hello\n  cooper run --rm -it host sh\n\n\
    Any command with --explain tells what it asks the kernel for, and why.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) elsewhere: Elsewhere,

    /// Print version information and quit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where an engine is that is not this program.
#[derive(clap::Args, Debug)]
pub(crate) struct Elsewhere {
    /// Daemon to send the command to, instead of doing it here (unix:///PATH)
    #[arg(short = 'H', long = "host", env = "COOPER_HOST", value_name = "HOST", hide_env = true)]
    pub(crate) daemon: Option<String>,
}

/// The options that every command has.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Place {
    /// Keep everything under this directory instead of the default places
    #[arg(long, global = true, env = "COOPER_ROOT", value_name = "DIR", hide_env = true)]
    root: Option<PathBuf>,

    /// Tell each kernel step with its real values on stderr (story, or json: one object a line)
    #[arg(long, global = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<process::explain::Format>,
}

impl Place {
    /// Where the engine keeps its things.
    pub(crate) fn paths(&self) -> Paths {
        match &self.root {
            Some(root) => Paths::at(root),
            None => Paths::default_for_user(),
        }
    }

    /// `--root`, if it was given.
    pub(crate) fn root(&self) -> Option<PathBuf> {
        self.root.clone()
    }

    /// `--explain`, if it was given.
    pub(crate) fn explain(&self) -> Option<process::explain::Format> {
        self.explain
    }

    /// Becomes root of the user's own namespace, where it is not root already.
    ///
    /// Everything below works on the engine's directories, so both are where they will be afterwards.
    fn enter(&self) -> anyhow::Result<()> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let run = self.paths().run;
        std::fs::create_dir_all(&run).with_context(|| format!("make {run:?}"))?;
        namespaces::rootless::enter(&run).map_err(NoNamespace)?;
        Ok(())
    }

    /// Opens the engine.
    pub(crate) fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::open(self.paths())?)
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// What is done to containers.
    #[command(flatten)]
    OnContainers(container::Shared),
    /// Return low-level information on containers and images
    Inspect(Later<look::Inspect>),
    /// Get real time events from the engine
    Events(Later<stats::Events>),
    /// Show a container's namespaces, mounts, control group and network, as text or as a picture
    Map(Later<map::Map>),
    /// Build an image from a Dockerfile
    Build(Later<build::Build>),
    /// Download an image from a registry
    Pull(Later<transfer::Pull>),
    /// Upload an image to a registry
    Push(Later<transfer::Push>),
    /// Authenticate to a registry
    Login(Later<transfer::Login>),
    /// Log out from a registry
    Logout(Later<transfer::Logout>),
    /// Search a registry for images
    Search(Later<search::Search>),
    /// Look at manifests in a registry
    #[command(subcommand)]
    Manifest(search::Manifest),
    /// List images
    Images(Later<image::Ls>),
    /// Remove one or more images
    Rmi(Later<image::Rm>),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(Later<image::Tag>),
    /// Show the history of an image
    History(Later<image::History>),
    /// Save one or more images to a tar archive
    Save(Later<archive::Save>),
    /// Load an image from a tar archive or STDIN
    Load(Later<archive::Load>),
    /// Import the contents from a tarball to create a filesystem image
    Import(Later<archive::Import>),
    /// Manage containers
    #[command(subcommand)]
    Container(container::Command),
    /// Manage images
    #[command(subcommand)]
    Image(image::Command),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Command),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Manage the engine's own things
    #[command(subcommand)]
    System(system::Command),
    /// Display system-wide information
    Info(Later<system::Info>),
    /// Show the version information
    Version(Later<system::Version>),
    /// Show what a process can see of its confinement, in a new container of an image or in a running one
    Probe(Later<probe::Probe>),
    /// Serve images to others
    #[command(subcommand)]
    Registry(registry::Command),
    /// Serve Docker's Engine API on a unix socket
    Daemon(Later<daemon::Daemon>),
    /// Run the services of a compose file
    Compose(Later<compose::Compose>),
}

impl Cli {
    /// Does what the command line says, and returns the exit code.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let place = &self.place;
        // The one place that decides who does it.
        if let Some(address) = self.elsewhere.daemon.as_deref().filter(|address| !address.is_empty()) {
            return crate::remote::send(&self.command, place, address);
        }
        if let Some(format) = place.explain {
            process::explain::install(format);
        }
        if self.command.needs_engine() {
            place.enter()?;
        }
        self.command.run(place)
    }
}

impl Command {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::OnContainers(command) => command.run(place),
            Self::Container(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::Events(command) => command.run(place),
            Self::Map(command) => command.run(place),
            Self::Build(command) => command.run(place),
            Self::Pull(command) => command.run(place),
            Self::Push(command) => command.run(place),
            Self::Login(command) => command.run(place),
            Self::Logout(command) => command.run(place),
            Self::Search(command) => command.run(place),
            Self::Manifest(command) => command.run(place),
            Self::Images(command) => command.run(place),
            Self::Rmi(command) => command.run(place),
            Self::Tag(command) => command.run(place),
            Self::History(command) => command.run(place),
            Self::Save(command) => command.run(place),
            Self::Load(command) => command.run(place),
            Self::Import(command) => command.run(place),
            Self::Image(command) => command.run(place),
            Self::Network(command) => command.run(place),
            Self::Volume(command) => command.run(place),
            Self::System(command) => command.run(place),
            Self::Info(command) => command.run(place),
            Self::Version(command) => command.run(),
            Self::Probe(command) => command.run(place),
            Self::Registry(command) => command.run(place),
            Self::Daemon(command) => command.run(place),
            Self::Compose(command) => command.run(place),
        }
    }

    /// Whose exit code an error of this command is.
    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::Container(container::Command::Shared(container::Shared::Run(_))) => Blame::Engine,
            Self::OnContainers(container::Shared::Run(_)) | Self::Probe(_) => Blame::Engine,
            _ => Blame::Command,
        }
    }

    /// Whether the command works on the engine's directories, and so in the user's own namespace.
    fn needs_engine(&self) -> bool {
        let looks_from_outside = matches!(self, Self::System(system::Command::Doctor(_)));
        let works_elsewhere = matches!(
            self,
            Self::Version(_)
                | Self::Login(_)
                | Self::Logout(_)
                | Self::Registry(_)
                | Self::Search(_)
                | Self::Manifest(_)
        );
        !looks_from_outside && !works_elsewhere
    }
}

/// The command that this program was called with, as it is written: `image tree`.
pub(crate) fn command_name() -> String {
    let matches = Cli::command().try_get_matches().unwrap_or_default();
    let next = |matches: &clap::ArgMatches| matches.subcommand().map(|(name, inner)| (name.to_owned(), inner.clone()));
    let words = std::iter::successors(next(&matches), |(_, inner)| next(inner)).map(|(name, _)| name);
    words.collect::<Vec<_>>().join(" ")
}
