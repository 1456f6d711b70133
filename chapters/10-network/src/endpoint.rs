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
//!  |  table inet cooper-ab12cd34-bridge       |
//!  +------------------------------------------+
//! ```
//!
//! The bridge and the table come with a network's first container: see [`bridge`](crate::bridge).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use process::Pid;

use crate::address::{Mac, choose_address};
use crate::error::{Error, Result};
use crate::firewall::Published;
use crate::lease::{Endpoint, Lease, Leases, Owner, Place6};
use crate::link::{self, LinkGroup, Veth};
use crate::name::{DeviceName, NetworkName, check_container_id};
use crate::namespace::NetworkNamespace;
use crate::netlink::Socket;
use crate::network::{Driver, Network};
use crate::networks::Networks;
use crate::port::{Family, PortMapping, Reservation};
use crate::route;

/// What may be said about a container's place in a network.
#[derive(Debug, Clone, Default)]
pub struct EndpointOptions {
    /// What others may call it, besides the first twelve digits of its id: its name first, then aliases.
    pub names: Vec<String>,
    /// The address it must have; the lowest free one if none.
    pub address: Option<Ipv4Addr>,
    /// The IPv6 address it must have; the one that goes with the IPv4 one if none.
    pub address6: Option<Ipv6Addr>,
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

        // From here to the end nobody else changes this engine's networks: whoever takes an idle bridge away must
        // not do so between our finding it and our plugging in.
        let _lock = self.lock()?;
        let network = self.inspect_locked(network)?;
        let leases = self.leases(&network.name);
        let endpoint = self.plan_endpoint(&network, &leases, container_id, options)?;
        let lease = Lease { endpoint, names, owner, ports: Vec::new() };
        if let Driver::Cni(plugin) = &network.driver {
            inside.request(link::set_up(1, &DeviceName::loopback()))?;
            return self.cni(plugin).add(&network, &leases, lease);
        }
        let bridge = self.raise_bridge(&mut host, &network, &leases)?;
        // The lease is written before the cable is laid: a cable without a lease would be found by nobody.
        leases.write(&lease)?;

        let endpoint = lease.endpoint;
        let veth = Veth {
            host_end: &endpoint.host_end,
            master: bridge.index,
            group: LinkGroup::of(&network.bridge),
            container_end: &endpoint.interface,
            namespace: std::os::fd::AsFd::as_fd(&namespace),
            mac: endpoint.mac,
            mtu: network.mtu,
        };
        let wired = host
            .batch(vec![link::new_veth(&veth), link::set_port(&endpoint.host_end, network.isolation())])
            .map_err(Error::from)
            .and_then(|()| configure_inside(&mut inside, &endpoint));
        if let Err(error) = wired.and(bridge.finish()) {
            // The first error is the one to tell, whatever cleaning up meets.
            let _ = self.release(&network.name, container_id);
            let _ = link::remove(&mut host, &endpoint.host_end);
            let _ = self.lower_if_idle(&mut host, &network);
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
        let family = if endpoint.ipv6.is_some() { Family::Both } else { Family::Four };
        let reservation = Reservation::take(mappings, family)?;
        self.publish_reserved(endpoint, &reservation)?;
        Ok(reservation)
    }

    /// Publishes ports that were reserved before: whoever wants to know about a port in use before anything is made
    /// takes the reservation first.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`] when the endpoint is gone, [`Error::BadPort`] for an IPv6 address where the network has
    /// none, [`Error::Firewall`]; none is published then.
    pub fn publish_reserved(&self, endpoint: &Endpoint, reservation: &Reservation) -> Result<()> {
        if reservation.mappings().is_empty() {
            return Ok(());
        }
        if let Some(six) = reservation.mappings().iter().find(|it| it.host_ip.is_ipv6() && endpoint.ipv6.is_none()) {
            let reason = format!("network {} has no IPv6 addresses", endpoint.network);
            return Err(Error::BadPort { text: six.to_string(), reason });
        }
        let _lock = self.lock()?;
        let network = self.inspect_locked(&endpoint.network)?;
        let leases = self.leases(&network.name);
        let mut lease = leases
            .of_container(&endpoint.container_id)?
            .ok_or_else(|| Error::NoSuchNetwork(format!("{} of {}", network.name, endpoint.container_id)))?;
        let before = lease.clone();
        lease.ports.extend_from_slice(reservation.mappings());
        if let Driver::Cni(plugin) = &network.driver {
            return self.cni(plugin).publish(&network, &leases, lease);
        }
        leases.write(&lease)?;
        let fresh = published(endpoint, reservation.mappings());
        let table = self.table(&network.name);
        // Somebody may have flushed every table since (a restarted firewall service does); then all is loaded anew.
        let anew = |_| table.load(&network, &all_published(&leases)?)?.finish();
        let done = table.publish(&fresh).or_else(anew);
        done.or_else(|error| leases.write(&before).and(Err(error)))
    }

    /// Takes back published ports of a connected container: their elements in the maps, and nothing else.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`] when the endpoint is gone, [`Error::BadPort`] where a CNI plugin published them, which can
    /// only do so once; [`Error::Firewall`]. All are still published then.
    pub fn take_back(&self, endpoint: &Endpoint, mappings: &[PortMapping]) -> Result<()> {
        let Some(first) = mappings.first() else { return Ok(()) };
        let _lock = self.lock()?;
        let network = self.inspect_locked(&endpoint.network)?;
        if matches!(network.driver, Driver::Cni(_)) {
            let reason =
                format!("network {} is a CNI plugin's, which publishes when a container is connected", network.name);
            return Err(Error::BadPort { text: first.to_string(), reason });
        }
        let leases = self.leases(&network.name);
        let mut lease = leases
            .of_container(&endpoint.container_id)?
            .ok_or_else(|| Error::NoSuchNetwork(format!("{} of {}", network.name, endpoint.container_id)))?;
        lease.ports.retain(|port| !mappings.contains(port));
        let table = self.table(&network.name);
        // The lease first: a table that is loaded anew, now or later, has what the leases say.
        leases.write(&lease)?;
        let gone = published(endpoint, mappings);
        let anew = |_| table.load(&network, &all_published(&leases)?)?.finish();
        table.unpublish(&gone).and_then(crate::firewall::Transaction::finish).or_else(anew)
    }

    fn plan_endpoint(
        &self,
        network: &Network,
        leases: &Leases,
        container_id: &str,
        options: &EndpointOptions,
    ) -> Result<Endpoint> {
        let others = self.endpoints(container_id)?;
        if others.iter().any(|other| other.network == network.name) {
            let (container, network) = (container_id.to_owned(), network.name.clone());
            return Err(Error::AlreadyConnected { container, network });
        }
        // A network that was left makes a hole in the row of devices; the next one fills it.
        let is_free = |index: &u8| others.iter().all(|other| other.interface != DeviceName::container_end(*index));
        let index = (0..=u8::MAX).find(is_free).unwrap_or_default();
        let way_out = !network.internal && others.iter().all(|other| other.gateway.is_none());
        let address = choose_address(&network.name, network.pool(), &leases.addresses()?, options.address)?;
        let ipv6 = network.ipv6.map(|pool| {
            let chosen =
                pool.choose(&network.name, (address, network.subnet), &leases.addresses6()?, options.address6)?;
            let gateway = way_out.then_some(pool.gateway);
            Ok::<_, Error>(Place6 { address: chosen, prefix_length: pool.subnet.prefix_len(), gateway })
        });
        if let (None, Some(address)) = (&ipv6, options.address6) {
            let (network, reason) = (network.name.clone(), "the network has no IPv6 addresses".to_owned());
            return Err(Error::BadAddress { network, address: address.into(), reason });
        }
        Ok(Endpoint {
            network: network.name.clone(),
            container_id: container_id.to_owned(),
            address,
            prefix_length: network.subnet.prefix_len(),
            gateway: way_out.then_some(network.gateway),
            ipv6: ipv6.transpose()?,
            mac: options.mac.unwrap_or_else(|| Mac::of(address)),
            interface: DeviceName::container_end(index),
            host_end: DeviceName::host_end(container_id, index),
        })
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
    if let Some(place) = &endpoint.ipv6 {
        requests.push(route::new_address(index, interface, Ipv6Net::new_assert(place.address, place.prefix_length)));
        requests.extend(place.gateway.map(|gateway| route::new_default(index, gateway)));
    }
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

/// Each port with the container's address of its kind.
pub(crate) fn published(endpoint: &Endpoint, mappings: &[PortMapping]) -> Vec<Published> {
    let address = |mapping: &PortMapping| match mapping.host_ip.is_ipv4() {
        true => Some(endpoint.address.into()),
        false => endpoint.ipv6.map(|place| place.address.into()),
    };
    mappings.iter().filter_map(|mapping| Some(Published { address: address(mapping)?, mapping: *mapping })).collect()
}

pub(crate) fn all_published(leases: &Leases) -> Result<Vec<Published>> {
    Ok(leases.all()?.iter().flat_map(|lease| published(&lease.endpoint, &lease.ports)).collect())
}
