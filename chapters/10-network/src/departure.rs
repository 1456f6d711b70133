//! Taking containers out of networks: those that end, those that are told to leave, those that nobody vouches for.

use process::state::Lock;

use crate::endpoint::{all_published, published};
use crate::error::{Error, Result};
use crate::lease::{Lease, Leases};
use crate::link;
use crate::name::{DeviceName, NetworkName, check_container_id};
use crate::namespace::NetworkNamespace;
use crate::netlink::Socket;
use crate::network::Driver;
use crate::networks::Networks;
use crate::route;

/// A container that is in no network any more, but for its cables: nobody finds it, its addresses and ports are free.
///
/// The kernel waits, when it takes a cable away, until no packet can be in it. Whoever reports a container's end does so
/// between the two. Until the cables are gone the networks stay locked, so that nobody is given an address that
/// still leads into one of them; and if this process dies before, the container's namespace does too, and the cables with it.
#[derive(Debug)]
#[must_use = "the cables are still there until finish()"]
pub struct Departure {
    host: Socket,
    cables: Vec<DeviceName>,
    _lock: Lock,
}

impl Departure {
    /// Takes the cables away.
    ///
    /// # Errors
    /// The first refusal met; the other cables were taken away all the same.
    pub fn finish(mut self) -> Result<()> {
        let mut outcome = Ok(());
        for cable in std::mem::take(&mut self.cables) {
            outcome = outcome.and(link::remove(&mut self.host, &cable).map(drop));
        }
        Ok(outcome?)
    }
}

impl Networks {
    /// Takes a container out of every network: ports, cables, addresses. The bridges stay: see [`linger`](Self::linger).
    ///
    /// Fine when it is connected to none, and when part of it is gone already (the kernel takes a cable away when
    /// the container's namespace ends).
    ///
    /// # Errors
    /// The first refusal met; everything else was taken away all the same.
    pub fn disconnect(&self, container_id: &str) -> Result<()> {
        self.leave(container_id)?.finish()
    }

    /// [`disconnect`](Self::disconnect) without its slowest part, which is what is returned.
    ///
    /// # Errors
    /// As for `disconnect`; the cables are gone then, too.
    pub fn leave(&self, container_id: &str) -> Result<Departure> {
        let lock = self.lock()?;
        let (mut cables, mut outcome) = (Vec::new(), Ok(()));
        for network in self.with_leases()? {
            match self.release(&network, container_id) {
                Ok(cable) => cables.extend(cable),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        let departure = Departure { host: Socket::open()?, cables, _lock: lock };
        match outcome {
            Ok(()) => Ok(departure),
            Err(error) => departure.finish().and(Err(error)),
        }
    }

    /// Takes a running container out of one network. If its way out or its published ports were there, another of its
    /// networks takes their place.
    ///
    /// # Errors
    /// [`Error::NotConnected`], or the first refusal met.
    pub fn disconnect_from(&self, network: &NetworkName, container_id: &str) -> Result<()> {
        check_container_id(container_id)?;
        let lock = self.lock()?;
        let lease = self.leases(network).of_container(container_id)?;
        let not_there = || Error::NotConnected { container: container_id.to_owned(), network: network.clone() };
        let lease = lease.ok_or_else(not_there)?;
        // The container goes on: nobody may be given its address before the cable is gone.
        link::remove(&mut Socket::open()?, &lease.endpoint.host_end)?;
        self.release(network, container_id)?;
        drop(lock);
        match lease.endpoint.gateway {
            Some(_) => self.inherit(&lease),
            None => Ok(()),
        }
    }

    /// Gives another of a container's networks what one had that it left: the default route, the ports.
    fn inherit(&self, gone: &Lease) -> Result<()> {
        let _lock = self.lock()?;
        let id = &gone.endpoint.container_id;
        let Some(next) = self.endpoints(id)?.into_iter().next() else { return Ok(()) };
        let network = self.inspect_locked(&next.network)?;
        let leases = self.leases(&network.name);
        let Some(mut lease) = leases.of_container(id)? else { return Ok(()) };
        if !network.internal && lease.endpoint.gateway.is_none() && network.driver == Driver::Bridge {
            let mut inside = NetworkNamespace::of(lease.owner.pid)?.inside(Socket::open)?;
            let interface = &lease.endpoint.interface;
            if let Some(link) = link::find(&mut inside, interface)? {
                inside.request(route::new_default(link.index, network.gateway))?;
                lease.endpoint.gateway = Some(network.gateway);
                if let (Some(pool), Some(place)) = (network.ipv6, lease.endpoint.ipv6.as_mut()) {
                    inside.request(route::new_default(link.index, pool.gateway))?;
                    place.gateway = Some(pool.gateway);
                }
            }
        }
        lease.ports.extend(gone.ports.iter().filter(|port| port.host_ip.is_ipv4() || lease.endpoint.ipv6.is_some()));
        leases.write(&lease)?;
        let ports = published(&lease.endpoint, &gone.ports);
        match ports.is_empty() {
            true => Ok(()),
            false => self.table(&network.name).publish(&ports),
        }
    }

    /// Takes away what containers left behind that did not end well; returns their ids.
    ///
    /// A container is gone when `is_live` says so and its process has ended too: one that is just being started
    /// may not be known to the caller yet. Networks without containers lose their bridges.
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
                    let cable = self.release(&network, &holder);
                    let cable = cable.and_then(|cable| Ok(cable.map(|it| link::remove(&mut host, &it)).transpose()?));
                    outcome = outcome.and(cable.map(drop));
                    gone.push(holder);
                }
            }
        }
        for network in self.list()? {
            outcome = outcome.and(self.lower_if_idle(&mut host, &network));
        }
        outcome.map(|()| gone)
    }

    /// Takes a container's ports and its lease in one network away; the link that is still to be removed, if there was a
    /// lease: its cable.
    pub(crate) fn release(&self, network: &NetworkName, container_id: &str) -> Result<Option<DeviceName>> {
        let leases = self.leases(network);
        let holders = leases.holders()?;
        let Some((address, _)) = holders.iter().find(|(_, holder)| holder == container_id) else { return Ok(None) };
        let lease = leases.of_container(container_id);
        if let Ok(Some(lease)) = &lease {
            if let Ok(Driver::Cni(plugin)) = self.inspect_locked(network).map(|network| network.driver) {
                self.cni(&plugin).delete(lease)?;
                leases.remove(*address, container_id)?;
                // The plugin `bridge` leaves its bridge behind. Nobody else has one of this name.
                if holders.len() > 1 {
                    return Ok(None);
                }
                self.table(network).remove()?.finish()?;
                return Ok(Some(DeviceName::bridge(self.root(), network)));
            }
            self.unpublish(network, &leases, lease)?;
        }
        leases.remove(*address, container_id)?;
        // One whose file cannot be read had its first network's cable, as nearly all have.
        let first = || DeviceName::host_end(container_id, 0);
        Ok(Some(lease.ok().flatten().map_or_else(first, |lease| lease.endpoint.host_end)))
    }

    fn unpublish(&self, network: &NetworkName, leases: &Leases, lease: &Lease) -> Result<()> {
        let gone = published(&lease.endpoint, &lease.ports);
        let table = self.table(network);
        if gone.is_empty() || table.unpublish(&gone)?.finish().is_ok() {
            return Ok(());
        }
        // The map did not hold them (somebody flushed the tables): load it without them.
        let network = self.inspect_locked(network)?;
        let rest: Vec<_> = all_published(leases)?.into_iter().filter(|port| !gone.contains(port)).collect();
        table.load(&network, &rest)?.finish()
    }
}
