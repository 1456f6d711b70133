//! Addresses and routes: who a link is, and which way packets leave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use process::{CallError, step};

use crate::name::DeviceName;
use crate::netlink::message::read_u32;
use crate::netlink::{Message, Received, Request, Socket};

/// The size of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
/// The size of `struct rtmsg`.
const RTMSG: usize = 12;

/// ```text
///  0        1           2        3        4                8
/// +--------+-----------+--------+--------+----------------+
/// | family | prefix    | flags  | scope  | index of the   |
/// |        | length    |        |        | link           |
/// +--------+-----------+--------+--------+----------------+
/// ```
fn ifaddrmsg(family: u8, index: u32, prefix_length: u8, flags: u8) -> [u8; IFADDRMSG] {
    let mut fixed = [family, prefix_length, flags, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed
}

const INET: u8 = libc::AF_INET as u8;
const INET6: u8 = libc::AF_INET6 as u8;

/// A request to give a link an address. The prefix length makes the kernel add the route to the neighbours by itself.
///
/// An IPv6 address is usable at once: whether a neighbour has it already (duplicate address detection, a second or
/// two) need not be asked where one engine gives out all of them.
pub fn new_address(index: u32, name: &DeviceName, address: impl Into<IpNet>) -> Request {
    let address = address.into();
    step!(10, "RTM_NEWADDR", "rtnetlink(7)", "give the device its address", "{address} on {name}");
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let (family, at_once) = match address {
        IpNet::V4(_) => (INET, 0),
        IpNet::V6(_) => (INET6, libc::IFA_F_NODAD as u8),
    };
    let fixed = ifaddrmsg(family, index, address.prefix_len(), at_once);
    let mut message = Message::new(libc::RTM_NEWADDR, flags, &fixed);
    match address {
        IpNet::V4(address) => {
            let octets = address.addr().octets();
            message
                .bytes(libc::IFA_LOCAL, &octets)
                .bytes(libc::IFA_ADDRESS, &octets)
                .bytes(libc::IFA_BROADCAST, &address.broadcast().octets());
        }
        IpNet::V6(address) => {
            message.bytes(libc::IFA_ADDRESS, &address.addr().octets());
        }
    }
    Request { message, operation: "RTM_NEWADDR", object: format!("{address} on {name}") }
}

/// ```text
///  0        1             2            3     4       5          6       7       8       12
/// +--------+-------------+------------+-----+-------+----------+-------+-------+-------+
/// | family | destination | source     | TOS | table | who made | scope | type  | flags |
/// |        | length      | length     |     |       | it       |       |       |       |
/// +--------+-------------+------------+-----+-------+----------+-------+-------+-------+
/// ```
fn rtmsg(family: u8) -> [u8; RTMSG] {
    let mut fixed = [0; RTMSG];
    fixed[0] = family;
    fixed[4] = libc::RT_TABLE_MAIN;
    fixed[5] = libc::RTPROT_STATIC;
    fixed[6] = libc::RT_SCOPE_UNIVERSE;
    fixed[7] = libc::RTN_UNICAST;
    fixed
}

/// A request for the default route: whatever no other route wants goes to `gateway`.
pub fn new_default(index: u32, gateway: impl Into<IpAddr>) -> Request {
    let gateway = gateway.into();
    step!(10, "RTM_NEWROUTE", "rtnetlink(7)", "send everything else to the gateway", "default via {gateway}");
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = Message::new(libc::RTM_NEWROUTE, flags, &rtmsg(if gateway.is_ipv4() { INET } else { INET6 }));
    match gateway {
        IpAddr::V4(gateway) => message.bytes(libc::RTA_GATEWAY, &gateway.octets()),
        IpAddr::V6(gateway) => message.bytes(libc::RTA_GATEWAY, &gateway.octets()),
    };
    message.u32(libc::RTA_OIF, index);
    Request { message, operation: "RTM_NEWROUTE default", object: format!("via {gateway}") }
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub index: u32,
    /// The address and the size of its network.
    pub address: Ipv4Net,
}

/// The IPv4 addresses of the socket's namespace.
///
/// # Errors
/// The kernel's refusal.
pub fn addresses(socket: &mut Socket) -> Result<Vec<Address>, CallError> {
    let message = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &ifaddrmsg(INET, 0, 0, 0));
    let request = Request { message, operation: "RTM_GETADDR", object: "all".to_owned() };
    socket.query(request, |received: &Received<'_>| {
        if received.kind != libc::RTM_NEWADDR {
            return None;
        }
        let (fixed, attributes) = received.split(IFADDRMSG)?;
        let local = attributes.find_kind(libc::IFA_LOCAL).and_then(ipv4)?;
        Some(Address { index: read_u32(fixed, 4)?, address: Ipv4Net::new(local, fixed[1]).ok()? })
    })
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; 0.0.0.0/0 is the default route.
    pub destination: Ipv4Net,
    /// Through whom; none for a network that a link touches.
    pub gateway: Option<Ipv4Addr>,
    /// The link's number; none for a route of several ways.
    pub index: Option<u32>,
}

/// The IPv4 routes of the socket's namespace, without those of the local and broadcast table.
///
/// # Errors
/// The kernel's refusal.
pub fn routes(socket: &mut Socket) -> Result<Vec<Route>, CallError> {
    let mut fixed = [0; RTMSG];
    fixed[0] = libc::AF_INET as u8;
    let message = Message::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &fixed);
    let request = Request { message, operation: "RTM_GETROUTE", object: "all".to_owned() };
    socket.query(request, |received: &Received<'_>| {
        let (fixed, attributes) = received.split(RTMSG)?;
        if received.kind != libc::RTM_NEWROUTE || fixed[4] != libc::RT_TABLE_MAIN || fixed[0] != libc::AF_INET as u8 {
            return None;
        }
        let address = attributes.find_kind(libc::RTA_DST).and_then(ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED);
        Some(Route {
            destination: Ipv4Net::new(address, fixed[1]).ok()?,
            gateway: attributes.find_kind(libc::RTA_GATEWAY).and_then(ipv4),
            index: attributes.find_kind(libc::RTA_OIF).and_then(|value| read_u32(value, 0)),
        })
    })
}

/// The destinations of the IPv6 routes of the main table, without the link-local ones, which every link has.
///
/// # Errors
/// The kernel's refusal.
pub fn routes6(socket: &mut Socket) -> Result<Vec<Ipv6Net>, CallError> {
    let mut fixed = [0; RTMSG];
    fixed[0] = INET6;
    let message = Message::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &fixed);
    let request = Request { message, operation: "RTM_GETROUTE", object: "all of IPv6".to_owned() };
    socket.query(request, |received: &Received<'_>| {
        let (fixed, attributes) = received.split(RTMSG)?;
        if received.kind != libc::RTM_NEWROUTE || fixed[4] != libc::RT_TABLE_MAIN || fixed[0] != INET6 {
            return None;
        }
        let address = attributes.find_kind(libc::RTA_DST).map_or(Some(Ipv6Addr::UNSPECIFIED), ipv6)?;
        let destination = Ipv6Net::new(address, fixed[1]).ok()?;
        let everywhere = address.is_unicast_link_local() || address.is_multicast();
        (!everywhere).then_some(destination)
    })
}

fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}
