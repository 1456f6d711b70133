//! Links: the network devices of a namespace, real or made of software.
//!
//! Two kinds make a container's network. A *bridge* is a switch in the kernel: what arrives at one of its ports leaves
//! at another. A *veth pair* is a cable: what goes in at one end comes out at the other, and the ends may lie in two
//! namespaces. One cable a container, one end plugged into the bridge, is the whole topology.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use process::{CallError, step};

use crate::address::Mac;
use crate::name::{DeviceName, short_hash};
use crate::netlink::message::{read_u32, text};
use crate::netlink::{Attributes, Message, Received, Request, Socket};

/// `VETH_INFO_PEER` of `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;
/// `IFLA_BR_FORWARD_DELAY` of `linux/if_link.h`, in hundredths of a second.
const IFLA_BR_FORWARD_DELAY: u16 = 1;
/// `IFLA_BRPORT_MODE` of `linux/if_link.h`: hairpin.
const IFLA_BRPORT_MODE: u16 = 4;
/// `IFLA_BRPORT_ISOLATED` of `linux/if_link.h`.
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// `IFLA_INFO_SLAVE_KIND` and `IFLA_INFO_SLAVE_DATA`: what a link is as a part of another.
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
/// Says that an attribute's value is attributes. Newer kinds of request insist on it.
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// The size of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name in its namespace.
    pub name: String,
    /// `bridge`, `veth`...; empty for hardware and loopback.
    pub kind: String,
    /// The number of the bridge that it is plugged into.
    pub master: Option<u32>,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Its group.
    pub group: LinkGroup,
}

/// ```text
///  0        1        2        4                 8                12               16
/// +--------+--------+--------+-----------------+----------------+----------------+
/// | family |  pad   | type   | index           | flags          | which flags to |
/// |        |        | (ARP)  | (0: by name)    | (IFF_UP ...)   | change         |
/// +--------+--------+--------+-----------------+----------------+----------------+
/// ```
fn ifinfomsg(index: u32, up: bool) -> [u8; IFINFOMSG] {
    let mut fixed = [0; IFINFOMSG];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let flag = if up { libc::IFF_UP as u32 } else { 0 };
    fixed[8..12].copy_from_slice(&flag.to_ne_bytes());
    fixed[12..16].copy_from_slice(&flag.to_ne_bytes());
    fixed
}

const CREATE: i32 = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;

/// A number that links of one network share, so that they can be taken away by one request.
///
/// The kernel waits, when it takes a link away, until no packet can be on its way through it. It waits as long for a
/// hundred links as for one, if they go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkGroup(u32);

impl LinkGroup {
    /// The group of a bridge and its cables, derived from the bridge's name.
    pub fn of(bridge: &DeviceName) -> Self {
        let hash = u32::from_str_radix(&short_hash(&[bridge.as_str().as_bytes()], 8), 16).unwrap_or_default();
        // 0 is where all links are; small numbers are what people use. The highest bit is the sign, which must not be set.
        Self((hash >> 1) | 0x4000_0000)
    }

    /// No group of its own.
    pub const DEFAULT: Self = Self(0);
}

/// A request for a new bridge, switched on.
///
/// The forward delay of the spanning tree protocol, which the bridge does not speak unless told, is set to
/// zero all the same: a port then forwards from its first packet on.
pub fn new_bridge(name: &DeviceName, group: LinkGroup, mtu: Option<u32>) -> Request {
    step!(10, "RTM_NEWLINK", "rtnetlink(7)", "make a bridge, the network's switch", "{name}");
    let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &ifinfomsg(0, true));
    message.text(libc::IFLA_IFNAME, name.as_str()).u32(libc::IFLA_GROUP, group.0);
    if let Some(mtu) = mtu {
        message.u32(libc::IFLA_MTU, mtu);
    }
    message.nested(libc::IFLA_LINKINFO | NESTED, |info| {
        info.text(libc::IFLA_INFO_KIND, "bridge").nested(libc::IFLA_INFO_DATA | NESTED, |data| {
            data.u32(IFLA_BR_FORWARD_DELAY, 0);
        });
    });
    Request { message, operation: "RTM_NEWLINK bridge", object: name.to_string() }
}

/// A cable to be made.
#[derive(Debug)]
pub struct Veth<'a> {
    /// The end that stays in the socket's namespace.
    pub host_end: &'a DeviceName,
    /// The number of the bridge that the host's end is plugged into.
    pub master: u32,
    /// The group of the host's end.
    pub group: LinkGroup,
    /// The end that is born in `namespace`.
    pub container_end: &'a DeviceName,
    /// The other network namespace.
    pub namespace: BorrowedFd<'a>,
    /// The hardware address of the container's end.
    pub mac: Mac,
    /// The largest packet of both ends; the kernel's 1500 when none.
    pub mtu: Option<u32>,
}

/// A request for a cable with both ends in place: one message, where `ip` needs five commands. The host's end is
/// switched on; the container's is for whoever configures it.
///
/// The container's end never exists in the host's namespace, so no moment remains in which a crash would leave it there.
pub fn new_veth(veth: &Veth<'_>) -> Request {
    let Veth { host_end, master, group, container_end, namespace, mac, mtu } = veth;
    step!(
        10,
        "RTM_NEWLINK",
        "veth(4)",
        "lay a cable from the bridge into the container",
        "{host_end} (bridge port) <-> {container_end} ({mac})"
    );
    let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &ifinfomsg(0, true));
    message.text(libc::IFLA_IFNAME, host_end.as_str()).u32(libc::IFLA_MASTER, *master);
    message.u32(libc::IFLA_GROUP, group.0);
    if let Some(mtu) = mtu {
        message.u32(libc::IFLA_MTU, *mtu);
    }
    message.nested(libc::IFLA_LINKINFO | NESTED, |info| {
        info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA | NESTED, |data| {
            // Not switched on yet: at this moment the kernel has not tied the two ends together, and would answer ENOTCONN.
            data.nested_after(VETH_INFO_PEER | NESTED, &ifinfomsg(0, false), |peer| {
                peer.text(libc::IFLA_IFNAME, container_end.as_str())
                    .bytes(libc::IFLA_ADDRESS, &mac.octets())
                    .descriptor(libc::IFLA_NET_NS_FD, *namespace);
                if let Some(mtu) = mtu {
                    peer.u32(libc::IFLA_MTU, *mtu);
                }
            });
        });
    });
    Request { message, operation: "RTM_NEWLINK veth", object: host_end.to_string() }
}

/// A request to switch a link on.
pub fn set_up(index: u32, name: &DeviceName) -> Request {
    step!(10, "RTM_NEWLINK", "rtnetlink(7)", "switch the device on", "{name}");
    let message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, true));
    Request { message, operation: "RTM_NEWLINK up", object: name.to_string() }
}

/// Whether a bridge's port is kept from the other ports that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// It is.
    Yes,
    /// It reaches everybody.
    No,
}

/// A request that lets a bridge's port send a packet back to where it came from.
///
/// A container that calls its own published port through the host's address is answered by itself: the packet goes up
/// its cable, is rewritten, and must go down the same cable. A switch would never do that unasked (and where the kernel
/// is told to show bridged packets to the firewall, `bridge-nf-call-iptables`, it is the switch that must).
///
/// An isolated port reaches no other isolated one: the containers of such a network have their way out and nothing else.
pub fn set_port(name: &DeviceName, isolation: Isolation) -> Request {
    step!(10, "RTM_NEWLINK", "rtnetlink(7)", "let the port send back what came from it", "{name}");
    let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(0, false));
    message.text(libc::IFLA_IFNAME, name.as_str()).nested(libc::IFLA_LINKINFO | NESTED, |info| {
        info.text(IFLA_INFO_SLAVE_KIND, "bridge").nested(IFLA_INFO_SLAVE_DATA | NESTED, |port| {
            port.bytes(IFLA_BRPORT_MODE, &[1]);
            if isolation == Isolation::Yes {
                port.bytes(IFLA_BRPORT_ISOLATED, &[1]);
            }
        });
    });
    Request { message, operation: "RTM_NEWLINK port", object: name.to_string() }
}

/// Removes a link, and says whether there was one: whoever cleans up may come second.
///
/// # Errors
/// The kernel's refusal, but not `ENODEV`.
pub fn remove(socket: &mut Socket, name: &DeviceName) -> Result<bool, CallError> {
    step!(10, "RTM_DELLINK", "rtnetlink(7)", "take the device away", "{name}");
    let mut message = Message::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &ifinfomsg(0, false));
    message.text(libc::IFLA_IFNAME, name.as_str());
    match socket.request(Request { message, operation: "RTM_DELLINK", object: name.to_string() }) {
        Err(error) if error.errno() == Errno::ENODEV => Ok(false),
        result => result.map(|()| true),
    }
}

/// Removes all links of a group, at once; fine if there are none. `bridge` is for the telling.
///
/// # Errors
/// The kernel's refusal, but not `ENODEV`.
pub fn remove_group(socket: &mut Socket, group: LinkGroup, bridge: &DeviceName) -> Result<(), CallError> {
    step!(10, "RTM_DELLINK", "rtnetlink(7)", "take the bridge away with all its cables", "{bridge}");
    let mut message = Message::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &ifinfomsg(0, false));
    message.u32(libc::IFLA_GROUP, group.0);
    match socket.request(Request { message, operation: "RTM_DELLINK group", object: bridge.to_string() }) {
        Err(error) if error.errno() == Errno::ENODEV => Ok(()),
        result => result,
    }
}

/// The link of that name, if there is one.
///
/// # Errors
/// The kernel's refusal, but not `ENODEV`.
pub fn find(socket: &mut Socket, name: &DeviceName) -> Result<Option<Link>, CallError> {
    // With an acknowledgement, for else the answer to a single question has no end that could be waited for.
    let mut message = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &ifinfomsg(0, false));
    message.text(libc::IFLA_IFNAME, name.as_str());
    let request = Request { message, operation: "RTM_GETLINK", object: name.to_string() };
    match socket.query(request, Link::read) {
        Err(error) if error.errno() == Errno::ENODEV => Ok(None),
        result => Ok(result?.into_iter().next()),
    }
}

/// All links of the socket's namespace.
///
/// # Errors
/// The kernel's refusal.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>, CallError> {
    let message = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &ifinfomsg(0, false));
    socket.query(Request { message, operation: "RTM_GETLINK", object: "all".to_owned() }, Link::read)
}

impl Link {
    /// Reads an `RTM_NEWLINK` that the kernel sent; nothing for other messages.
    fn read(received: &Received<'_>) -> Option<Self> {
        if received.kind != libc::RTM_NEWLINK {
            return None;
        }
        let (fixed, attributes) = received.split(IFINFOMSG)?;
        let number = |kind| attributes.find_kind(kind).and_then(|value| read_u32(value, 0));
        let kind = attributes.find_kind(libc::IFLA_LINKINFO).map(Attributes::inside);
        let kind = kind.and_then(|info| info.find_kind(libc::IFLA_INFO_KIND).map(text));
        Some(Self {
            index: read_u32(fixed, 4)?,
            name: text(attributes.find_kind(libc::IFLA_IFNAME)?),
            kind: kind.unwrap_or_default(),
            master: number(libc::IFLA_MASTER),
            up: read_u32(fixed, 8)? & libc::IFF_UP as u32 != 0,
            mtu: number(libc::IFLA_MTU).unwrap_or_default(),
            group: LinkGroup(number(libc::IFLA_GROUP).unwrap_or_default()),
        })
    }
}
