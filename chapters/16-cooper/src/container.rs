//! The commands about containers, under their short names and under `container`: one definition, flattened into both.

use clap::{Args, Subcommand};

use crate::cli::Place;
use crate::later::Later;
use crate::look::{json_only, print_documents};
use crate::table::Format;
use crate::{archive, copy, disk, exec, lifecycle, logs, look, run, stats};

/// What is called the same in both places.
#[derive(Subcommand, Debug)]
pub(crate) enum Shared {
    /// Create and run a new container from an image
    Run(Later<run::Run>),
    /// Create a new container
    Create(Later<run::Create>),
    /// Start one or more stopped containers
    Start(Later<lifecycle::Start>),
    /// Stop one or more running containers
    Stop(Later<lifecycle::Stop>),
    /// Kill one or more running containers
    Kill(Later<lifecycle::Kill>),
    /// Restart one or more containers
    Restart(Later<lifecycle::Restart>),
    /// Pause all processes within one or more containers
    Pause(Later<lifecycle::Pause>),
    /// Unpause all processes within one or more containers
    Unpause(Later<lifecycle::Unpause>),
    /// Update configuration of one or more containers
    Update(Later<lifecycle::Update>),
    /// Rename a container
    Rename(Later<lifecycle::Rename>),
    /// Remove one or more containers
    #[command(visible_alias = "remove")]
    Rm(Later<lifecycle::Rm>),
    /// Block until one or more containers stop, then print their exit codes
    Wait(Later<lifecycle::Wait>),
    /// Attach local standard input, output, and error streams to a running container
    Attach(Later<run::Attach>),
    /// Execute a command in a running container
    Exec(Later<exec::Exec>),
    /// Copy files/folders between a container and the local filesystem
    Cp(Later<copy::Cp>),
    /// List containers
    Ps(Later<look::Ps>),
    /// Fetch the logs of a container
    Logs(Later<logs::Logs>),
    /// List port mappings or a specific mapping for the container
    Port(Later<look::Port>),
    /// Display the running processes of a container
    Top(Later<look::Top>),
    /// Display a live stream of container(s) resource usage statistics
    Stats(Later<stats::Stats>),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(Later<look::Diff>),
    /// Export a container's filesystem as a tar archive
    Export(Later<archive::Export>),
    /// Create a new image from a container's changes
    Commit(Later<archive::Commit>),
}

impl Shared {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Run(command) => command.run(place),
            Self::Create(command) => command.run(place),
            Self::Start(command) => command.run(place),
            Self::Stop(command) => command.run(place),
            Self::Kill(command) => command.run(place),
            Self::Restart(command) => command.run(place),
            Self::Pause(command) => command.run(place),
            Self::Unpause(command) => command.run(place),
            Self::Update(command) => command.run(place),
            Self::Rename(command) => command.run(place),
            Self::Rm(command) => command.run(place),
            Self::Wait(command) => command.run(place),
            Self::Attach(command) => command.run(place),
            Self::Exec(command) => command.run(place),
            Self::Cp(command) => command.run(place),
            Self::Ps(command) => command.run(place),
            Self::Logs(command) => command.run(place),
            Self::Port(command) => command.run(place),
            Self::Top(command) => command.run(place),
            Self::Stats(command) => command.run(place),
            Self::Diff(command) => command.run(place),
            Self::Export(command) => command.run(place),
            Self::Commit(command) => command.run(place),
        }
    }
}

/// Manage containers
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// The same as without `container`.
    #[command(flatten)]
    Shared(Shared),
    /// List containers
    #[command(visible_alias = "list")]
    Ls(Later<look::Ps>),
    /// Display detailed information on one or more containers
    Inspect(Later<Inspect>),
    /// Remove all stopped containers
    Prune(Later<disk::PruneContainers>),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Shared(command) => command.run(place),
            Self::Ls(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::Prune(command) => command.run(place),
        }
    }
}

/// Display detailed information on one or more containers
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Inspect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        print_documents(&self.containers, self.format.as_ref(), |name| Ok(engine.inspect(engine.find(name)?.id())?))
    }
}
