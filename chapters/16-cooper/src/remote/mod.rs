//! Commands that are sent to a daemon instead of being done here: `-H`, `COOPER_HOST`.
//!
//! The command line is the same, and what is printed is printed by the same code; only who does it differs. The daemon
//! speaks Docker's API: this build's own, dockerd, podman's. What that API has no word for, and what was not taught
//! here, is refused by name. Nothing falls back on this machine's engine: whoever says `rm` means *there*.
//!
//! - [`http`]: a request, an answer, and the connection behind it;
//! - [`client`]: a daemon and the version it speaks;
//! - [`body`]: what a container is to be, in the API's words;
//! - [`containers`], [`streams`], [`look`], [`stats`], [`images`], [`places`]: the commands, by what they are about.

mod body;
mod client;
mod containers;
mod http;
mod images;
mod look;
mod places;
mod stats;
mod streams;

use anyhow::bail;

use self::client::Client;
use crate::cli::{Command, Place};
use crate::look::Kind;
use crate::{container, image, network, system, volume};

/// Sends a command to the daemon at `address`, and prints what it answers. Returns the exit code.
///
/// # Errors
/// A command or a flag that is not sent; no daemon there; what it says no with.
pub(crate) fn send(command: &Command, place: &Place, address: &str) -> anyhow::Result<u8> {
    if place.root().is_some() {
        bail!("--root (COOPER_ROOT) and -H (COOPER_HOST) name two engines: give one of them");
    }
    if place.explain().is_some() {
        bail!("--explain cannot be sent to a daemon: its steps are taken by other processes than this one");
    }
    let far = || Client::at(address);
    match command {
        Command::OnContainers(command) => on_containers(command, &far()?),
        Command::Container(container::Command::Shared(command)) => on_containers(command, &far()?),
        Command::Container(container::Command::Ls(command)) => command.send(&far()?),
        Command::Container(container::Command::Inspect(command)) => {
            look::inspect(&far()?, &command.containers, command.format.as_ref(), &[Kind::Container])
        }
        Command::Inspect(command) => command.send(&far()?),
        Command::Events(command) | Command::System(system::Command::Events(command)) => command.send(&far()?),
        Command::Info(command) | Command::System(system::Command::Info(command)) => command.send(&far()?),
        Command::Version(command) => command.send(&far()?),
        Command::Pull(command) | Command::Image(image::Command::Pull(command)) => command.send(&far()?),
        Command::Push(command) | Command::Image(image::Command::Push(command)) => command.send(&far()?),
        Command::Images(command) | Command::Image(image::Command::Ls(command)) => command.send(&far()?),
        Command::Rmi(command) | Command::Image(image::Command::Rm(command)) => command.send(&far()?),
        Command::Tag(command) | Command::Image(image::Command::Tag(command)) => command.send(&far()?),
        Command::Image(image::Command::Inspect(command)) => {
            look::inspect(&far()?, &command.images, command.format.as_ref(), &[Kind::Image])
        }
        Command::Network(command) => on_networks(command, &far()?),
        Command::Volume(command) => on_volumes(command, &far()?),
        _ => refuse(),
    }
}

fn on_containers(command: &container::Shared, far: &Client) -> anyhow::Result<u8> {
    use container::Shared;
    match command {
        Shared::Run(command) => command.send(far),
        Shared::Create(command) => command.send(far),
        Shared::Start(command) => command.send(far),
        Shared::Stop(command) => command.send(far),
        Shared::Kill(command) => command.send(far),
        Shared::Restart(command) => command.send(far),
        Shared::Pause(command) => command.send(far),
        Shared::Unpause(command) => command.send(far),
        Shared::Update(command) => command.send(far),
        Shared::Rename(command) => command.send(far),
        Shared::Rm(command) => command.send(far),
        Shared::Wait(command) => command.send(far),
        Shared::Attach(command) => command.send(far),
        Shared::Exec(command) => command.send(far),
        Shared::Ps(command) => command.send(far),
        Shared::Logs(command) => command.send(far),
        Shared::Port(command) => command.send(far),
        Shared::Top(command) => command.send(far),
        Shared::Diff(command) => command.send(far),
        Shared::Stats(command) => command.send(far),
        Shared::Cp(_) | Shared::Export(_) | Shared::Commit(_) => refuse(),
    }
}

fn on_networks(command: &network::Command, far: &Client) -> anyhow::Result<u8> {
    use network::Command;
    match command {
        Command::Connect(command) => command.send(far),
        Command::Create(command) => command.send(far),
        Command::Disconnect(command) => command.send(far),
        Command::Inspect(command) => command.send(far),
        Command::Ls(command) => command.send(far),
        Command::Rm(command) => command.send(far),
        Command::Prune(_) => refuse(),
    }
}

fn on_volumes(command: &volume::Command, far: &Client) -> anyhow::Result<u8> {
    use volume::Command;
    match command {
        Command::Create(command) => command.send(far),
        Command::Inspect(command) => command.send(far),
        Command::Ls(command) => command.send(far),
        Command::Rm(command) => command.send(far),
        Command::Prune(_) => refuse(),
    }
}

/// A command that is not sent.
fn refuse() -> anyhow::Result<u8> {
    let name = crate::cli::command_name();
    bail!("{name} cannot be sent to a daemon: without -H (COOPER_HOST) it is done on this machine")
}
