//! A network's switch and its rules: made for its first container, taken away a moment after its last.
//!
//! Making both takes the kernel longer than all the rest of a container's network, and so does taking them away. So they
//! outlive the last container by a moment ([`Networks::linger`]): whoever comes next finds them. `RUN/networks/NAME/ready`
//! says that both are whole; it is written last and removed first, so that what a crash left half made is made again.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use process::{During, step};

use crate::error::{Error, Result};
use crate::firewall::Transaction;
use crate::lease::Leases;
use crate::link::{self, LinkGroup};
use crate::name::{DeviceName, NetworkName};
use crate::netlink::Socket;
use crate::network::{Driver, Network};
use crate::networks::Networks;
use crate::route;

/// How often somebody who lingers looks whether another has done it.
const GLANCE: Duration = Duration::from_millis(100);

/// A bridge that can be plugged into, whose rules may still be on their way.
#[must_use = "without finish() nobody knows that it is ready"]
pub(crate) struct Raised {
    /// Its number.
    pub(crate) index: u32,
    rules: Option<(Transaction, PathBuf)>,
}

impl Raised {
    /// Waits for the rules, and notes that the network is ready.
    pub(crate) fn finish(self) -> Result<()> {
        let Some((rules, marker)) = self.rules else { return Ok(()) };
        rules.finish()?;
        if let Some(directory) = marker.parent() {
            std::fs::create_dir_all(directory).during("mkdir", directory.display())?;
        }
        Ok(std::fs::write(&marker, self.index.to_string()).during("write", marker.display())?)
    }
}

impl Networks {
    /// The network's bridge, which is made if this is the first container. The caller holds the lock until it has
    /// called [`Raised::finish`].
    pub(crate) fn raise_bridge(&self, host: &mut Socket, network: &Network, leases: &Leases) -> Result<Raised> {
        let found = link::find(host, &network.bridge)?;
        let group = LinkGroup::of(&network.bridge);
        if found.as_ref().is_some_and(|bridge| bridge.group != group) {
            return Err(Error::ForeignBridge(network.bridge.clone()));
        }
        if let Some(bridge) = &found
            && self.is_ready(&network.name, bridge.index)
        {
            return Ok(Raised { index: bridge.index, rules: None });
        }
        if found.is_none() {
            // No bridge, so no cables: these leases are of before a reboot.
            for (address, holder) in leases.holders()? {
                leases.remove(address, &holder)?;
            }
        }
        // The rules name the bridge and need not wait for it: nft is at work while it is made.
        let ports = crate::endpoint::all_published(leases)?;
        let table = self.table(&network.name);
        let (rules, made) = match found {
            Some(_) => (table.load(network, &ports)?, Ok(())),
            None => {
                let rules = table.create(network, &ports)?;
                (rules, host.request(link::new_bridge(&network.bridge, group, network.mtu)))
            }
        };
        match made.map_err(Error::from).and_then(|()| furnish(host, network)) {
            Ok(index) => Ok(Raised { index, rules: Some((rules, self.marker(&network.name))) }),
            Err(error) => {
                // The first error is the one to tell, whatever cleaning up meets.
                let _ = rules.finish();
                let _ = self.lower(host, &network.name);
                Err(error)
            }
        }
    }

    /// Takes bridges and rules away that no container needs any more; a network that has none is left alone.
    ///
    /// # Errors
    /// The first refusal met; everything else was taken away all the same.
    pub fn lower_idle(&self) -> Result<()> {
        let _lock = self.lock()?;
        let mut host = Socket::open()?;
        let mut outcome = Ok(());
        for network in self.list()? {
            outcome = outcome.and(self.lower_if_idle(&mut host, &network));
        }
        outcome
    }

    /// Waits for somebody to join one of these networks, or for `patience` to end, and then does [`lower_idle`](Self::lower_idle).
    ///
    /// Whoever was the last in a network does this, when nothing else is left to do. If it is killed, the bridge stays,
    /// which is a bridge that [`reconcile`](Self::reconcile) takes away.
    ///
    /// # Errors
    /// As for [`lower_idle`](Self::lower_idle).
    pub fn linger(&self, networks: &[NetworkName], patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            // Whoever has removed the run directory, and all that it says, has left the kernel's part to us: nobody else
            // could find it.
            if !self.run_directory().exists() {
                let mut host = Socket::open()?;
                return networks.iter().try_for_each(|name| self.lower(&mut host, name));
            }
            let mut idle = false;
            for name in networks {
                idle |= self.marker(name).exists() && self.leases(name).holders()?.is_empty();
            }
            match idle {
                false => return Ok(()),
                true if Instant::now() >= end => return self.lower_idle(),
                true => std::thread::sleep(GLANCE),
            }
        }
    }

    pub(crate) fn lower_if_idle(&self, host: &mut Socket, network: &Network) -> Result<()> {
        let idle = network.driver == Driver::Bridge && self.leases(&network.name).holders()?.is_empty();
        let is_ours = |bridge: &link::Link| bridge.group == LinkGroup::of(&network.bridge);
        if idle
            && (self.marker(&network.name).exists() || link::find(host, &network.bridge)?.as_ref().is_some_and(is_ours))
        {
            return self.lower(host, &network.name);
        }
        Ok(())
    }

    /// Takes a network's rules, its bridge and whatever is plugged in away; fine if nothing is there.
    pub(crate) fn lower(&self, host: &mut Socket, network: &NetworkName) -> Result<()> {
        let marker = self.marker(network);
        match std::fs::remove_file(&marker) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.during("unlink", marker.display())?,
        }
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

    fn is_ready(&self, network: &NetworkName, bridge: u32) -> bool {
        std::fs::read_to_string(self.marker(network)).is_ok_and(|text| text == bridge.to_string())
    }

    fn marker(&self, network: &NetworkName) -> PathBuf {
        self.leases(network).directory().join("ready")
    }
}

/// Gives the bridge its addresses, and tells the kernel to route. Every part of it may be done twice.
fn furnish(host: &mut Socket, network: &Network) -> Result<u32> {
    let vanished = || process::CallError::new("RTM_GETLINK", &network.bridge, nix::errno::Errno::ENODEV);
    let index = link::find(host, &network.bridge)?.ok_or_else(vanished)?.index;
    let address = Ipv4Net::new_assert(network.gateway, network.subnet.prefix_len());
    let mut requests = vec![route::new_address(index, &network.bridge, address)];
    if let Some(pool) = network.ipv6 {
        let address = Ipv6Net::new_assert(pool.gateway, pool.subnet.prefix_len());
        requests.push(route::new_address(index, &network.bridge, address));
    }
    host.batch(requests)?;
    let settings = format!("/proc/sys/net/ipv4/conf/{}", network.bridge);
    // Packets from 127.0.0.1 may take this bridge (to a published port); the table drops those that come from it.
    set(&format!("{settings}/route_localnet"), "let 127.0.0.1 reach published ports")?;
    if !network.internal {
        set("/proc/sys/net/ipv4/ip_forward", "make this host a router between its devices")?;
        if network.ipv6.is_some() {
            set("/proc/sys/net/ipv6/conf/all/forwarding", "and one for IPv6")?;
        }
    }
    Ok(index)
}

/// Sets one of the kernel's switches to 1, if it is not.
fn set(path: &str, purpose: &'static str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    step!(10, "sysctl", "sysctl(8)", "switch a setting of the kernel's network on", "{path} = 1 ({purpose})");
    Ok(std::fs::write(path, "1").during("write", path)?)
}
