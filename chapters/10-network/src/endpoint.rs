//! Connecting a container: one cable, one address, one way out.
//!
//! ```text
//!        host                                              container
//!  +------------------------------------------+      +-------------------------+
//!  |  co-1f0c33a9d2 (bridge) 172.17.0.1/16    |      |  lo    127.0.0.1        |
//!  |        |                                 |      |                         |
//!  |        +--- cv-3f2a9c01-0 ===========================  eth0  172.17.0.2/16|
//!  |        +--- cv-77b1e0d4-0 === ...        | veth |  default via 172.17.0.1 |
//!  |                                          |      +-------------------------+
//!  |  table ip cooper-ab12cd34-bridge         |
//!  +------------------------------------------+
//! ```
//!
//! The bridge and the table come with a network's first container and go with its last.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use process::{During, Pid, step};

use crate::address::{Mac, choose_address};
use crate::error::{Error, Result};
use crate::firewall::Published;
use crate::lease::{Endpoint, Lease, Leases, Owner};
use crate::link::{self, LinkGroup, Veth};
use crate::name::{DeviceName, NetworkName, check_container_id};
use crate::namespace::NetworkNamespace;
use crate::netlink::Socket;
use crate::network::Network;
use crate::networks::Networks;
use crate::port::{PortMapping, Reservation};
use crate::route;

/// What may be said about a container's place in a network.
#[derive(Debug, Clone, Default)]
pub struct EndpointOptions {
    /// What others may call it, besides the first twelve digits of its id: its name first, then aliases.
    pub names: Vec<String>,
    /// The address it must have; the lowest free one if none.
    pub address: Option<Ipv4Addr>,
    /// The hardware address it must have; derived from the address if none.
    pub mac: Option<Mac>,
}

impl Networks {
    /// Connects the container whose network namespace `pid` is in.
    ///
    /// It then has the network's next device (`eth0`, `eth1`...) with an address, `lo` switched on, and a default
    /// route, unless it has one already or the network is internal. If anything fails, nothing of it is left.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], [`Error::AlreadyConnected`], [`Error::BadAddress`], [`Error::NoFreeAddress`],
    /// [`Error::Firewall`], or the kernel's refusal.
    // spine
    pub fn connect(
        &self,
        network: &NetworkName,
        container_id: &str,
        pid: Pid,
        options: &EndpointOptions,
    ) -> Result<Endpoint> {
        let names = checked_names(container_id, &options.names)?;
        let owner = Owner::of(pid)?;
        // A socket for each side. The one inside is opened by a thread that enters; it keeps speaking for the inside.
        let namespace = NetworkNamespace::of(pid)?;
        let mut inside = namespace.inside(Socket::open)?;
        let mut host = Socket::open()?;

        // From here to the end nobody else changes this engine's networks: the last one out removes the bridge, and
        // must not do so between our finding it and our plugging in.
        let _lock = self.lock()?;
        let network = self.inspect_locked(network)?;
        let leases = self.leases(&network.name);
        let bridge = self.raise_bridge(&mut host, &network, &leases)?;

        let endpoint = self.plan_endpoint(&network, &leases, container_id, options)?;
        // The lease is written before the cable is laid: a cable without a lease would be found by nobody.
        leases.write(&Lease { endpoint: endpoint.clone(), names, owner, ports: Vec::new() })?;

        let veth = Veth {
            host_end: &endpoint.host_end,
            master: bridge,
            group: LinkGroup::of(&network.bridge),
            container_end: &endpoint.interface,
            namespace: std::os::fd::AsFd::as_fd(&namespace),
            mac: endpoint.mac,
            mtu: network.mtu,
        };
        let wired = host
            .batch(vec![link::new_veth(&veth), link::set_hairpin(&endpoint.host_end)])
            .map_err(Error::from)
            .and_then(|()| configure_inside(&mut inside, &endpoint));
        if let Err(error) = wired {
            // The first error is the one to tell, whatever cleaning up meets.
            let _ = self.release(&mut host, &network.name, container_id);
            return Err(error);
        }
        Ok(endpoint)
    }

    /// Publishes ports of a connected container, and holds the host's side of them.
    ///
    /// The ports stay published until the container is disconnected; the reservation must be kept until then, by a
    /// process that lives as long as the container. It tells which ports were chosen where 0 was asked for.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::PortRefused`], [`Error::Firewall`]; none is published then.
    pub fn publish(&self, endpoint: &Endpoint, mappings: &[PortMapping]) -> Result<Reservation> {
        let reservation = Reservation::take(mappings)?;
        self.publish_reserved(endpoint, &reservation)?;
        Ok(reservation)
    }

    /// Publishes ports that were reserved before: whoever wants to know about a port in use before anything is made
    /// takes the reservation first.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`] when the endpoint is gone, [`Error::Firewall`]; none is published then.
    pub fn publish_reserved(&self, endpoint: &Endpoint, reservation: &Reservation) -> Result<()> {
        if reservation.mappings().is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let network = self.inspect_locked(&endpoint.network)?;
        let leases = self.leases(&network.name);
        let mut lease = leases
            .of_container(&endpoint.container_id)?
            .ok_or_else(|| Error::NoSuchNetwork(format!("{} of {}", network.name, endpoint.container_id)))?;
        let before = lease.clone();
        lease.ports.extend_from_slice(reservation.mappings());
        leases.write(&lease)?;
        let fresh = published(endpoint.address, reservation.mappings());
        let table = self.table(&network.name);
        // Somebody may have flushed every table since (a restarted firewall service does); then all is loaded anew.
        let done = table.publish(&fresh).or_else(|_| table.load(&network, &all_published(&leases)?));
        done.or_else(|error| leases.write(&before).and(Err(error)))
    }

    /// Takes a container out of every network: ports, cables, addresses; the bridge and table with the last one.
    ///
    /// Fine when it is connected to none, and when part of it is gone already (the kernel takes a cable away when
    /// the container's namespace ends).
    ///
    /// # Errors
    /// The first refusal met; everything else was taken away all the same.
    pub fn disconnect(&self, container_id: &str) -> Result<()> {
        let _lock = self.lock()?;
        let mut host = Socket::open()?;
        let mut outcome = Ok(());
        for network in self.with_leases()? {
            outcome = outcome.and(self.release(&mut host, &network, container_id));
        }
        outcome
    }

    /// Takes away what containers left behind that did not end well; returns their ids.
    ///
    /// A container is gone when `is_live` says so and its process has ended too: one that is just being started
    /// may not be known to the caller yet.
    ///
    /// # Errors
    /// The first refusal met; everything else was taken away all the same.
    pub fn reconcile(&self, is_live: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        let mut host = Socket::open()?;
        let (mut gone, mut outcome) = (Vec::new(), Ok(()));
        for network in self.with_leases()? {
            let leases = self.leases(&network);
            for (_, holder) in leases.holders()? {
                // A lease that cannot be read has no owner that could be asked.
                let alive = leases.of_container(&holder).is_ok_and(|lease| lease.is_some_and(|it| it.owner.is_alive()));
                if !alive && !is_live(&holder) {
                    outcome = outcome.and(self.release(&mut host, &network, &holder));
                    gone.push(holder);
                }
            }
        }
        for network in self.list()? {
            // A bridge without a lease: whoever made it was killed before it could go on.
            let idle = self.leases(&network.name).holders()?.is_empty();
            if idle && link::find(&mut host, &network.bridge)?.is_some() {
                outcome = outcome.and(self.lower_bridge(&mut host, &network.name));
            }
        }
        outcome.map(|()| gone)
    }

    /// The number of the network's bridge, which is made, with address and rules, if this is the first container.
    fn raise_bridge(&self, host: &mut Socket, network: &Network, leases: &Leases) -> Result<u32> {
        let found = link::find(host, &network.bridge)?;
        match &found {
            Some(bridge) if !leases.holders()?.is_empty() => return Ok(bridge.index),
            // Made, and nobody there: whoever made it did not get further. Finish the work, every part of which may be done twice.
            Some(_) => {}
            None => {
                // No bridge, so no cables: these leases are of before a reboot.
                for (address, holder) in leases.holders()? {
                    leases.remove(address, &holder)?;
                }
                host.request(link::new_bridge(&network.bridge, LinkGroup::of(&network.bridge), network.mtu))?;
            }
        }
        let raised = self.furnish_bridge(host, network);
        if raised.is_err() {
            // The first error is the one to tell, whatever cleaning up meets.
            let _ = link::remove(host, &network.bridge);
        }
        raised
    }

    fn furnish_bridge(&self, host: &mut Socket, network: &Network) -> Result<u32> {
        let vanished = || process::CallError::new("RTM_GETLINK", &network.bridge, nix::errno::Errno::ENODEV);
        let bridge = link::find(host, &network.bridge)?.ok_or_else(vanished)?;
        let address = Ipv4Net::new_assert(network.gateway, network.subnet.prefix_len());
        host.request(route::new_address(bridge.index, &network.bridge, address))?;
        let settings = format!("/proc/sys/net/ipv4/conf/{}", network.bridge);
        // Packets from 127.0.0.1 may take this bridge (to a published port); the table drops those that come from it.
        set(&format!("{settings}/route_localnet"), "let 127.0.0.1 reach published ports")?;
        if !network.internal {
            set("/proc/sys/net/ipv4/ip_forward", "make this host a router between its devices")?;
        }
        self.table(&network.name).load(network, &[])?;
        Ok(bridge.index)
    }

    fn plan_endpoint(
        &self,
        network: &Network,
        leases: &Leases,
        container_id: &str,
        options: &EndpointOptions,
    ) -> Result<Endpoint> {
        let (mut index, mut has_way_out) = (0u8, false);
        for other in self.with_leases()? {
            let Some(lease) = self.leases(&other).of_container(container_id)? else { continue };
            if other == network.name {
                return Err(Error::AlreadyConnected { container: container_id.to_owned(), network: other });
            }
            has_way_out |= lease.endpoint.gateway.is_some();
            index += 1;
        }
        let leased = leases.addresses()?;
        let address = choose_address(&network.name, network.subnet, network.gateway, &leased, options.address)?;
        Ok(Endpoint {
            network: network.name.clone(),
            container_id: container_id.to_owned(),
            address,
            prefix_length: network.subnet.prefix_len(),
            gateway: (!network.internal && !has_way_out).then_some(network.gateway),
            mac: options.mac.unwrap_or_else(|| Mac::of(address)),
            interface: DeviceName::container_end(index),
            host_end: DeviceName::host_end(container_id, index),
        })
    }

    /// Takes one container out of one network. The lease goes last: until then a second try finds the rest.
    fn release(&self, host: &mut Socket, network: &NetworkName, container_id: &str) -> Result<()> {
        let leases = self.leases(network);
        let holders = leases.holders()?;
        let Some((address, _)) = holders.iter().find(|(_, holder)| holder == container_id) else { return Ok(()) };
        let lease = leases.of_container(container_id);
        let table = self.table(network);
        if holders.len() == 1 {
            self.lower_bridge(host, network)?;
        } else if let Ok(Some(lease)) = &lease {
            let gone = published(lease.endpoint.address, &lease.ports);
            let rules = (!gone.is_empty()).then(|| table.unpublish(&gone)).transpose()?;
            let cable = link::remove(host, &lease.endpoint.host_end);
            if rules.is_some_and(|rules| rules.finish().is_err()) {
                // The map did not hold them (somebody flushed the tables): load it without them.
                let network = self.inspect_locked(network)?;
                let rest: Vec<_> = all_published(&leases)?.into_iter().filter(|port| !gone.contains(port)).collect();
                table.load(&network, &rest)?;
            }
            cable?;
        }
        leases.remove(*address, container_id)
    }

    /// Takes a network's rules, its bridge and whatever is plugged in away; fine if nothing is there.
    fn lower_bridge(&self, host: &mut Socket, network: &NetworkName) -> Result<()> {
        let rules = self.table(network).remove()?;
        let bridge = self.inspect_locked(network).map(|network| network.bridge);
        let bridge = bridge.unwrap_or_else(|_| DeviceName::bridge(self.root(), network));
        // The bridge and its cables at once; then by name, for a bridge that somebody moved to another group.
        let links = link::remove_group(host, LinkGroup::of(&bridge), &bridge);
        let links = links.and_then(|()| link::remove(host, &bridge));
        // What must not be is a network half taken away that nobody remembers: both are waited for.
        rules.finish()?;
        Ok(links.map(drop)?)
    }
}

/// Switches loopback on in the network namespace of `pid`: all the network that `--network none` has.
///
/// # Errors
/// The kernel's refusal.
pub fn raise_loopback(pid: Pid) -> Result<()> {
    let mut inside = NetworkNamespace::of(pid)?.inside(Socket::open)?;
    // Loopback is the first device of every namespace, and so is number 1.
    Ok(inside.request(link::set_up(1, &DeviceName::loopback()))?)
}

/// The container's side: loopback on, address, way out. A route needs a device that is switched on, so it comes last.
fn configure_inside(inside: &mut Socket, endpoint: &Endpoint) -> Result<()> {
    let Endpoint { interface, address, prefix_length, gateway, .. } = endpoint;
    let vanished = || process::CallError::new("RTM_GETLINK", interface, nix::errno::Errno::ENODEV);
    let index = link::find(inside, interface)?.ok_or_else(vanished)?.index;
    let mut requests = vec![
        link::set_up(1, &DeviceName::loopback()),
        link::set_up(index, interface),
        route::new_address(index, interface, Ipv4Net::new_assert(*address, *prefix_length)),
    ];
    requests.extend(gateway.map(|gateway| route::new_default(index, gateway)));
    Ok(inside.batch(requests)?)
}

/// The names under which others find the container: lower case, each once, the short id among them.
fn checked_names(container_id: &str, names: &[String]) -> Result<Vec<String>> {
    check_container_id(container_id)?;
    let short: String = container_id.chars().take(12).collect();
    let mut checked: Vec<String> = Vec::new();
    for name in names.iter().chain([&short]) {
        check_container_id(name).map_err(|_| Error::BadName {
            what: "name in the network",
            text: name.clone(),
            reason: "not a host name",
        })?;
        let name = name.to_ascii_lowercase();
        if !checked.contains(&name) {
            checked.push(name);
        }
    }
    Ok(checked)
}

fn published(address: Ipv4Addr, mappings: &[PortMapping]) -> Vec<Published> {
    mappings.iter().map(|mapping| Published { address, mapping: *mapping }).collect()
}

fn all_published(leases: &Leases) -> Result<Vec<Published>> {
    Ok(leases.all()?.iter().flat_map(|lease| published(lease.endpoint.address, &lease.ports)).collect())
}

/// Sets one of the kernel's switches to 1, if it is not.
fn set(path: &str, purpose: &'static str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    step!(10, "sysctl", "sysctl(8)", "switch a setting of the kernel's network on", "{path} = 1 ({purpose})");
    Ok(std::fs::write(Path::new(path), "1").during("write", path)?)
}
