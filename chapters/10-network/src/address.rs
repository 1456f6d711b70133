//! Addresses to give away: subnets that touch nobody else's, hosts inside them, hardware addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::NetworkName;

/// A hardware (Ethernet) address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The hardware address that goes with an IPv4 address: `02:42` and its four octets.
    ///
    /// `02` marks an address that no vendor gave out. The rest follows the IPv4 address so that an address that one
    /// container gives back and the next one gets keeps its hardware address: what neighbours remember stays true.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The six octets.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason| Error::BadName { what: "hardware address", text: text.to_owned(), reason };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            // The length alone would let "+2" through, which Rust takes for a number.
            let pair = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let part = parts.next().filter(pair).ok_or(bad("it has six pairs of hex digits"))?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| bad("it has six pairs of hex digits"))?;
        }
        if parts.next().is_some() {
            return Err(bad("it has six pairs of hex digits"));
        }
        if octets[0] & 1 == 1 {
            return Err(bad("it is a group's address, not a device's"));
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// The first subnet of the engine's own choice that overlaps none of `taken`.
///
/// `taken` holds the host's routes and the other networks. The candidates are Docker's: 172.17.0.0/16 to
/// 172.31.0.0/16, then sixteen /20 in 192.168.0.0/16. A default route overlaps everything and is no objection.
///
/// # Errors
/// [`Error::NoFreeSubnet`].
pub fn choose_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net> {
    let large = (17..=31).map(|second| Ipv4Net::new(Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=15).map(|third| Ipv4Net::new(Ipv4Addr::new(192, 168, third * 16, 0), 20));
    large.chain(small).flatten().find(|candidate| !overlaps(candidate, taken)).ok_or(Error::NoFreeSubnet)
}

/// Checks a subnet that the user asked for and finds its gateway: the one asked for, or the first host.
///
/// # Errors
/// [`Error::BadSubnet`] for one that is too small, overlaps, or does not hold the gateway.
pub fn check_subnet(subnet: Ipv4Net, gateway: Option<Ipv4Addr>, taken: &[Ipv4Net]) -> Result<(Ipv4Net, Ipv4Addr)> {
    let bad = |reason: &str| Error::BadSubnet { subnet: subnet.to_string(), reason: reason.to_owned() };
    if subnet.prefix_len() > 29 || subnet.prefix_len() < 8 {
        return Err(bad("the prefix length must be 8 to 29"));
    }
    if subnet.addr() != subnet.network() {
        return Err(bad(&format!("host bits are set, did you mean {}?", subnet.trunc())));
    }
    let first = subnet.addr();
    if first.is_loopback() || first.is_multicast() || first.is_link_local() || first.octets()[0] == 0 {
        return Err(bad("that range has a meaning of its own"));
    }
    if let Some(other) = taken.iter().find(|other| overlaps(&subnet, std::slice::from_ref(other))) {
        return Err(bad(&format!("it overlaps {other}, which is in use on this machine")));
    }
    let gateway = gateway.or_else(|| subnet.hosts().next()).ok_or_else(|| bad("it has no host"))?;
    if !is_host(subnet, gateway) {
        return Err(bad(&format!("the gateway {gateway} is no host of it")));
    }
    Ok((subnet, gateway))
}

fn overlaps(candidate: &Ipv4Net, taken: &[Ipv4Net]) -> bool {
    taken.iter().any(|other| {
        other.prefix_len() > 0 && (other.contains(&candidate.network()) || candidate.contains(&other.network()))
    })
}

/// Whether an address is a host of the subnet: inside, and neither its first (the network) nor last (everybody).
pub fn is_host(subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address) && address != subnet.network() && address != subnet.broadcast()
}

/// Where a network's IPv4 addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// All of its addresses.
    pub subnet: Ipv4Net,
    /// The host's.
    pub gateway: Ipv4Addr,
    /// Those that are given to containers that ask for none; the subnet, or a part of it.
    pub range: Ipv4Net,
}

/// The address that a new container gets: the one asked for, or the lowest free one.
///
/// # Errors
/// [`Error::BadAddress`] for an asked-for one that is taken or outside, [`Error::NoFreeAddress`].
pub fn choose_address(
    network: &NetworkName,
    Pool { subnet, gateway, range }: Pool,
    leased: &BTreeSet<Ipv4Addr>,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    let Some(address) = wanted else {
        // A range may begin at an address that is no network's: all of it counts, but what the subnet itself keeps.
        let mut candidates = (range.network().to_bits()..=range.broadcast().to_bits()).map(Ipv4Addr::from_bits);
        let free = candidates.find(|host| is_host(subnet, *host) && *host != gateway && !leased.contains(host));
        return free.ok_or_else(|| Error::NoFreeAddress(network.clone()));
    };
    let bad = |reason: String| Err(Error::BadAddress { network: network.clone(), address: address.into(), reason });
    if !is_host(subnet, address) {
        bad(format!("it is no host of {subnet}"))
    } else if address == gateway {
        bad("it is the gateway's".to_owned())
    } else if leased.contains(&address) {
        bad("another container has it".to_owned())
    } else {
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_chosen_subnet_touches_nobody_elses() {
        assert_eq!(choose_subnet(&[net("0.0.0.0/0")]).unwrap(), net("172.17.0.0/16"));
        assert_eq!(choose_subnet(&[net("172.17.3.0/24"), net("172.18.0.0/15")]).unwrap(), net("172.20.0.0/16"));
        assert_eq!(choose_subnet(&[net("172.16.0.0/12"), net("192.168.1.0/24")]).unwrap(), net("192.168.16.0/20"));
        assert!(choose_subnet(&[net("172.16.0.0/12"), net("192.168.0.0/16")]).is_err());
    }

    #[test]
    fn an_asked_for_subnet_is_checked() {
        let taken = [net("10.1.0.0/16")];
        let (subnet, gateway) = check_subnet(net("10.2.0.0/24"), None, &taken).unwrap();
        assert_eq!((subnet, gateway), (net("10.2.0.0/24"), Ipv4Addr::new(10, 2, 0, 1)));
        for text in
            ["10.1.2.0/24", "10.0.0.0/8", "10.2.0.1/24", "10.2.0.0/30", "127.0.0.0/8", "224.0.0.0/8", "0.0.0.0/0"]
        {
            assert!(check_subnet(net(text), None, &taken).is_err(), "{text}");
        }
        assert!(check_subnet(subnet, Some(Ipv4Addr::new(10, 2, 1, 1)), &taken).is_err());
    }

    #[test]
    fn addresses_are_given_from_the_lowest() {
        let (name, subnet) = (NetworkName::default_bridge(), net("10.2.0.0/29"));
        let pool = Pool { subnet, gateway: Ipv4Addr::new(10, 2, 0, 1), range: subnet };
        let mut leased = BTreeSet::new();
        for last in 2..=6 {
            let address = choose_address(&name, pool, &leased, None).unwrap();
            assert_eq!(address, Ipv4Addr::new(10, 2, 0, last));
            leased.insert(address);
        }
        assert!(matches!(choose_address(&name, pool, &leased, None), Err(Error::NoFreeAddress(_))));
        for wanted in [[10, 2, 0, 0], [10, 2, 0, 1], [10, 2, 0, 2], [10, 2, 0, 7], [10, 3, 0, 2]] {
            assert!(choose_address(&name, pool, &leased, Some(wanted.into())).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_range_is_where_unasked_addresses_come_from() {
        let (name, subnet) = (NetworkName::default_bridge(), net("10.2.0.0/24"));
        let pool = Pool { subnet, gateway: Ipv4Addr::new(10, 2, 0, 1), range: net("10.2.0.8/31") };
        let mut leased = BTreeSet::new();
        for last in [8, 9] {
            leased.insert(choose_address(&name, pool, &leased, None).unwrap());
            assert!(leased.contains(&Ipv4Addr::new(10, 2, 0, last)));
        }
        assert!(choose_address(&name, pool, &leased, None).is_err());
        assert!(choose_address(&name, pool, &leased, Some(Ipv4Addr::new(10, 2, 0, 77))).is_ok());
    }

    #[test]
    fn a_hardware_address_follows_from_the_address() {
        let mac = Mac::of(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:ac:11:00:02".parse::<Mac>().unwrap(), mac);
        for text in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:42:ac:11:00:02", "2:42:ac:11:00:02", "+2:42:ac:11:00:02"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text:?}");
        }
    }
}
