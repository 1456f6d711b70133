//! IPv6 addresses to give away: the same decisions once more, where there are more addresses than anybody can list.
//!
//! A network gets a /64 of the *unique local* range fd00::/8, the private addresses of IPv6. Nobody searches for a free
//! host in 2^64: a container's IPv6 address follows from its IPv4 one, which is free already.
//!
//! # References
//! RFC 4193 (unique local addresses), RFC 4291

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::{NetworkName, short_hash};

/// A network's IPv6 side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool6 {
    /// Its addresses.
    pub subnet: Ipv6Net,
    /// The host's own address among them.
    pub gateway: Ipv6Addr,
}

impl Pool6 {
    /// Decides what is left open. Without a subnet, one is derived from the engine's root and the network's name: it is
    /// the same each time, and another one in another engine.
    ///
    /// # Errors
    /// [`Error::BadSubnet`] for one that overlaps, is too small, or does not hold the gateway.
    pub fn plan(
        root: &Path,
        name: &NetworkName,
        subnet: Option<Ipv6Net>,
        gateway: Option<Ipv6Addr>,
        taken: &[Ipv6Net],
    ) -> Result<Self> {
        let subnet = subnet.unwrap_or_else(|| derived(root, name));
        let bad = |reason: String| Error::BadSubnet { subnet: subnet.to_string(), reason };
        if subnet.addr() != subnet.network() {
            return Err(bad(format!("host bits are set, did you mean {}?", subnet.trunc())));
        }
        if !(8..=112).contains(&subnet.prefix_len()) {
            return Err(bad("the prefix length must be 8 to 112".to_owned()));
        }
        if subnet.addr().is_multicast() || subnet.addr().is_loopback() || subnet.addr().is_unicast_link_local() {
            return Err(bad("that range has a meaning of its own".to_owned()));
        }
        let overlapping = |other: &&Ipv6Net| {
            other.prefix_len() > 0 && (other.contains(&subnet.network()) || subnet.contains(&other.network()))
        };
        if let Some(other) = taken.iter().find(overlapping) {
            return Err(bad(format!("it overlaps {other}, which is in use on this machine")));
        }
        let gateway = gateway.unwrap_or_else(|| Ipv6Addr::from_bits(subnet.network().to_bits() | 1));
        if !subnet.contains(&gateway) || gateway == subnet.network() {
            return Err(bad(format!("the gateway {gateway} is no host of it")));
        }
        Ok(Self { subnet, gateway })
    }

    /// The address that a container gets: the one asked for, or the one with the number that its IPv4 address has in
    /// `subnet4`; where somebody asked for just that one before, the next.
    ///
    /// # Errors
    /// [`Error::BadAddress`] for an asked-for one that is taken or outside.
    pub fn choose(
        &self,
        network: &NetworkName,
        (address4, subnet4): (Ipv4Addr, Ipv4Net),
        leased: &BTreeSet<Ipv6Addr>,
        wanted: Option<Ipv6Addr>,
    ) -> Result<Ipv6Addr> {
        let base = self.subnet.network().to_bits();
        if let Some(address) = wanted {
            let bad =
                |reason: String| Err(Error::BadAddress { network: network.clone(), address: address.into(), reason });
            return match address {
                address if !self.subnet.contains(&address) || address.to_bits() == base => {
                    bad(format!("it is no host of {}", self.subnet))
                }
                address if address == self.gateway => bad("it is the gateway's".to_owned()),
                address if leased.contains(&address) => bad("another container has it".to_owned()),
                address => Ok(address),
            };
        }
        let number = u128::from(address4.to_bits() - subnet4.network().to_bits());
        let free = |address: &Ipv6Addr| *address != self.gateway && !leased.contains(address);
        // A subnet of 16 bits of hosts may be smaller than the IPv4 one: then the numbers go round.
        let hosts = self.subnet.hostmask().to_bits();
        let candidates = (0..=leased.len() as u128 + 1).map(|more| base | (number + more) & hosts);
        let chosen = candidates.filter(|bits| *bits != base).map(Ipv6Addr::from_bits).find(free);
        chosen.ok_or_else(|| Error::NoFreeAddress(network.clone()))
    }
}

fn derived(root: &Path, name: &NetworkName) -> Ipv6Net {
    let digits = short_hash(&[root.as_os_str().as_encoded_bytes(), name.as_str().as_bytes(), b"ipv6"], 14);
    let random = u128::from_str_radix(&digits, 16).unwrap_or_default();
    // fd, 40 bits of "global id" and 16 of "subnet id", all from the hash; then 64 bits of hosts.
    let bits = (0xfd_u128 << 120) | (random << 64);
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), 64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan(subnet: Option<&str>, taken: &[&str]) -> Result<Pool6> {
        let taken: Vec<Ipv6Net> = taken.iter().map(|text| text.parse().unwrap()).collect();
        let subnet = subnet.map(|text| text.parse().unwrap());
        Pool6::plan(Path::new("/a"), &NetworkName::default_bridge(), subnet, None, &taken)
    }

    #[test]
    fn an_unasked_subnet_is_private_and_the_same_again() {
        let pool = plan(None, &["::/0"]).unwrap();
        assert!(pool.subnet.addr().is_unique_local() && pool.subnet.prefix_len() == 64, "{pool:?}");
        assert_eq!(pool, plan(None, &[]).unwrap());
        assert!(plan(None, &[&pool.subnet.to_string()]).is_err());
    }

    #[test]
    fn an_asked_for_subnet_is_checked() {
        assert_eq!(plan(Some("fd00:1::/64"), &[]).unwrap().gateway.to_string(), "fd00:1::1");
        for subnet in ["fd00:1::1/64", "fe80::/64", "ff00::/64", "::1/128", "fd00:1::/120"] {
            assert!(plan(Some(subnet), &[]).is_err(), "{subnet}");
        }
        assert!(plan(Some("fd00:1::/64"), &["fd00::/16"]).is_err());
    }

    #[test]
    fn an_address_follows_from_the_ipv4_one() {
        let (pool, name) = (plan(Some("fd00:1::/64"), &[]).unwrap(), NetworkName::default_bridge());
        let old = ("172.17.0.2".parse().unwrap(), "172.17.0.0/16".parse().unwrap());
        let choose = |leased: &[&str], wanted: Option<&str>| {
            let leased = leased.iter().map(|text| text.parse().unwrap()).collect();
            pool.choose(&name, old, &leased, wanted.map(|text| text.parse().unwrap())).map(|it| it.to_string())
        };
        assert_eq!(choose(&[], None).unwrap(), "fd00:1::2");
        assert_eq!(choose(&["fd00:1::2", "fd00:1::3"], None).unwrap(), "fd00:1::4");
        assert_eq!(choose(&[], Some("fd00:1::99")).unwrap(), "fd00:1::99");
        for wanted in ["fd00:1::1", "fd00:1::", "fd00:2::5", "fd00:1::7"] {
            assert!(choose(&["fd00:1::7"], Some(wanted)).is_err(), "{wanted}");
        }
    }
}
