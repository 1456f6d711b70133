//! A container's network: connected while its namespaces exist and its files do not yet.

use std::fs::Permissions;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use network::dns::Server;
use network::rootless::Helper;
use network::{
    Endpoint, EndpointOptions, Mac, NetworkName, PortMapping, Reservation, ResolvConf, hosts, resolv_conf,
    resolv_conf_for_resolver,
};
use process::{During as _, Pid};

use super::exchange::Service;
use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::options::NetworkMode;
use crate::record::Container;

/// What a monitor holds of its container's network.
#[derive(Default)]
pub(super) struct Wiring {
    /// Its places in networks.
    pub(super) endpoints: Vec<Endpoint>,
    /// The server of names, until the loop takes it.
    pub(super) names: Option<Names>,
    reservation: Option<Reservation>,
    helper: Option<Helper>,
}

impl Wiring {
    /// The published ports, as they really are.
    pub(super) fn ports(&self) -> Vec<PortMapping> {
        let held = self.reservation.iter().flat_map(Reservation::mappings);
        held.chain(self.helper.iter().flat_map(Helper::mappings)).copied().collect()
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
    let asked = ResolvConf::of_this_host().overridden(&wanted.dns, &[], &[]);
    let mut text = resolv_conf(&asked);
    match wanted.mode.network() {
        Some(_) if namespaces::rootless::is_rootless() => rootless(container, pid, wiring)?,
        Some(name) => {
            let network: NetworkName = name.parse().doing("read", "--network")?;
            connect(engine, container, pid, &network, wiring)?;
            let resolver = engine.networks().resolver(&[network]);
            wiring.names = Some(Names(Server::open(pid, resolver, &asked.upstreams())?));
            text = resolv_conf_for_resolver(&asked);
        }
        None if wanted.mode == NetworkMode::None => network::raise_loopback(pid).doing("raise", "lo")?,
        None => {}
    }
    write_files(container, &text, wiring)
}

fn connect(engine: &Engine, container: &Container, pid: Pid, network: &NetworkName, wiring: &mut Wiring) -> Result<()> {
    let wanted = &container.record().options.network;
    // Before anything is made: a port that somebody has is the likeliest reason not to go on.
    let reservation = Reservation::take(&wanted.publish).doing("publish", container.name())?;
    let mut names = vec![container.name().to_owned()];
    names.extend(wanted.aliases.iter().cloned());
    let address = match wanted.ip {
        None => None,
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(address)) => return Err(Error::bad("--ip", address.to_string(), "networks are IPv4 here")),
    };
    let mac: Option<Mac> = wanted.mac.as_ref().map(|mac| mac.parse()).transpose().doing("read", "--mac-address")?;
    let options = EndpointOptions { names, address, mac };
    let id = container.id().as_str();
    let endpoint = engine.networks().connect(network, id, pid, &options).doing("connect", container.name())?;
    engine.networks().publish_reserved(&endpoint, &reservation).doing("publish", container.name())?;
    wiring.endpoints.push(endpoint);
    wiring.reservation = Some(reservation);
    Ok(())
}

/// Without root there is no bridge to plug into: a helper of the user's own carries the packets.
///
/// Where there is none, a container that asked for no port still runs, with its loopback alone.
fn rootless(container: &Container, pid: Pid, wiring: &mut Wiring) -> Result<()> {
    let ports = &container.record().options.network.publish;
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
fn write_files(container: &Container, resolv_conf: &str, wiring: &Wiring) -> Result<()> {
    let record = container.record();
    let hostname = &record.settings.hostname;
    let addresses: Vec<IpAddr> = wiring.endpoints.iter().map(|endpoint| endpoint.address.into()).collect();
    let hosts = hosts(hostname, &addresses, &record.options.network.extra_hosts);
    for (name, text) in
        [("hosts", hosts.as_str()), ("hostname", &format!("{hostname}\n")), ("resolv.conf", resolv_conf)]
    {
        write_public(&container.directory().join(name), text)?;
    }
    Ok(())
}

/// State files are for the engine alone; these the container's users read. They are made anew at every start, so
/// that they need not survive a power cut.
fn write_public(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).during("write", path.display())?;
    Ok(std::fs::set_permissions(path, Permissions::from_mode(0o644)).during("chmod", path.display())?)
}
