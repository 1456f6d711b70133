//! A container's network: connected while its namespaces exist and its files do not yet.

use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use network::dns::Server;
use network::rootless::Helper;
use network::{Endpoint, NetworkName, PortMapping, Reservation, ResolvConf, resolv_conf, resolv_conf_for_resolver};
use process::{During as _, Pid};

use super::exchange::Service;
use super::switchboard::Switchboard;
use crate::engine::Engine;
use crate::error::{Result, While as _};
use crate::networking::NetworkMode;
use crate::record::Container;

/// What a monitor holds of its container's network.
#[derive(Default)]
pub(super) struct Wiring {
    /// Its places in networks.
    pub(super) endpoints: Vec<Endpoint>,
    /// The server of names, until the loop takes it.
    pub(super) names: Option<Names>,
    /// Its published ports.
    switchboard: Option<Switchboard>,
    helper: Option<Helper>,
}

impl Wiring {
    /// Nothing yet, with somebody to hold the ports.
    pub(super) fn new(switchboard: Switchboard) -> Self {
        let mut wiring = Self::default();
        wiring.switchboard = Some(switchboard);
        wiring
    }

    /// The networks that it is in.
    pub(super) fn networks(&self) -> Vec<NetworkName> {
        self.endpoints.iter().map(|endpoint| endpoint.network.clone()).collect()
    }

    /// The published ports, as they really are.
    pub(super) fn ports(&self) -> Vec<PortMapping> {
        let held = self.switchboard.iter().flat_map(Switchboard::ports);
        held.chain(self.helper.iter().flat_map(Helper::mappings).copied()).collect()
    }
}

/// The ports come free when the wiring does, whoever else still has a hand on the switchboard.
impl Drop for Wiring {
    fn drop(&mut self) {
        if let Some(switchboard) = &self.switchboard {
            switchboard.clear();
        }
    }
}

/// The server of names at 127.0.0.11 inside.
pub(super) struct Names(Server);

impl Service for Names {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }

    fn serve(&mut self) {
        self.0.handle();
    }
}

/// Connects the container whose namespaces `pid` is in, and writes the three files that depend on it.
pub(super) fn wire(engine: &Engine, container: &Container, pid: Pid, wiring: &mut Wiring) -> Result<()> {
    let wanted = &container.record().options.network;
    if let NetworkMode::Container(other) = &wanted.mode {
        return share_files(&engine.find(other)?, container);
    }
    let asked = ResolvConf::of_this_host().overridden(&wanted.dns, &wanted.dns_search, &wanted.dns_options);
    let mut text = resolv_conf(&asked);
    match wanted.mode.network() {
        Some(_) if namespaces::rootless::is_rootless() => rootless(container, pid, wiring)?,
        Some(_) => {
            connect(engine, container, pid, wiring)?;
            let resolver = engine.networks().resolver(container.id().as_str());
            wiring.names = Some(Names(Server::open(pid, resolver, &asked.upstreams())?));
            text = resolv_conf_for_resolver(&asked);
        }
        None if wanted.mode == NetworkMode::None => network::raise_loopback(pid).doing("raise", "lo")?,
        None => {}
    }
    write_files(engine, container, &text, wiring)
}

fn connect(engine: &Engine, container: &Container, pid: Pid, wiring: &mut Wiring) -> Result<()> {
    let wanted = &container.record().options.network;
    let connections = wanted.connections();
    // Before anything is made: a port that somebody has is the likeliest reason not to go on.
    let family = engine.family(&connections)?;
    let wanted_ports = wanted.ports(&container.record().settings.exposed_ports)?;
    let reservation = Reservation::take(&wanted_ports, family).doing("publish", container.name())?;
    for connection in &connections {
        wiring.endpoints.push(engine.join(container, pid, connection)?);
    }
    if connections.is_empty() {
        network::raise_loopback(pid).doing("raise", "lo")?;
    }
    if let Some(endpoint) = reachable(&wiring.endpoints) {
        engine.networks().publish_reserved(endpoint, &reservation).doing("publish", container.name())?;
    }
    if let Some(switchboard) = &wiring.switchboard {
        switchboard.hold(&wanted_ports, reservation);
    }
    Ok(())
}

/// Where ports are published: the way out, for that is the way back as well; else the first network.
pub(super) fn reachable(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    endpoints.iter().find(|endpoint| endpoint.gateway.is_some()).or(endpoints.first())
}

/// Without root there is no bridge to plug into: a helper of the user's own carries the packets.
///
/// Where there is none, a container that asked for no port still runs, with its loopback alone.
fn rootless(container: &Container, pid: Pid, wiring: &mut Wiring) -> Result<()> {
    let record = container.record();
    let ports = &record.options.network.ports(&record.settings.exposed_ports)?;
    match network::rootless::attach(pid, ports) {
        Ok(helper) => wiring.helper = Some(helper),
        Err(error) if ports.is_empty() => {
            eprintln!("monitor: no network for {}: {error}", container.name());
            network::raise_loopback(pid).doing("raise", "lo")?;
        }
        Err(error) => return Err(error).doing("publish", container.name()),
    }
    Ok(())
}

/// The runtime bind-mounts these; they must be whole before it does, since a mount keeps the file that it found.
fn write_files(engine: &Engine, container: &Container, resolv_conf: &str, wiring: &Wiring) -> Result<()> {
    let hosts = engine.hosts_file(container, &wiring.endpoints)?;
    let hostname = format!("{}\n", container.record().settings.hostname);
    for (name, text) in [("hosts", hosts.as_str()), ("hostname", &hostname), ("resolv.conf", resolv_conf)] {
        write_public(&container.directory().join(name), text)?;
    }
    Ok(())
}

/// Who shares another's network shares what that one knows about it.
fn share_files(other: &Container, container: &Container) -> Result<()> {
    for name in ["hosts", "resolv.conf"] {
        let theirs = other.directory().join(name);
        let text = std::fs::read_to_string(&theirs).during("read", theirs.display())?;
        write_public(&container.directory().join(name), &text)?;
    }
    write_public(&container.directory().join("hostname"), &format!("{}\n", container.record().settings.hostname))
}

/// State files are for the engine alone; these the container's users read. They are made anew at every start, so
/// that they need not survive a power cut.
fn write_public(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).during("write", path.display())?;
    Ok(std::fs::set_permissions(path, Permissions::from_mode(0o644)).during("chmod", path.display())?)
}
