//! Published ports: what `-p` says, and holding the host's side of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use process::{During, step};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A stream; what is meant when nothing is said.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err("the protocol is tcp or udp"),
        }
    }
}

/// One published port: packets to `host_ip:host_port` of this machine go to the container's `container_port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address that is published on; 0.0.0.0 means every IPv4 address of the host, :: every IPv6 one.
    pub host_ip: IpAddr,
    /// The host's port; 0 asks for any free one.
    pub host_port: u16,
    /// The port inside the container, never 0.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.host(), self.container_port, self.protocol)
    }
}

impl PortMapping {
    /// The host's side: `0.0.0.0:8000`, `[::]:8000`.
    pub fn host(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip, self.host_port)
    }
}

/// The most ports that one `-p` may name: a range costs a socket and a map element each.
const WIDEST: u16 = 1024;

/// Reads what stands behind `-p`: `[[HOST_IP:][HOST_PORT]:]CONTAINER_PORT[/tcp|/udp]`, ports alone or as ranges `8000-8003`.
///
/// Ranges of the same width map one to one; without a host port each gets a free one.
///
/// # Errors
/// [`Error::BadPort`] with the text and the part of it that does not fit.
// hole: read-a-port
pub fn parse(text: &str) -> Result<Vec<PortMapping>> {
    let bad = |reason: &str| Error::BadPort { text: text.to_owned(), reason: reason.to_owned() };
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, protocol)) => (rest, protocol.parse().map_err(bad)?),
        None => (text, Protocol::Tcp),
    };
    let mut parts = rest.rsplitn(3, ':');
    let container = range(parts.next().unwrap_or_default()).map_err(bad)?;
    let host = parts.next().filter(|part| !part.is_empty()).map(range).transpose().map_err(bad)?;
    let host_ip = match parts.next() {
        None | Some("") => Ipv4Addr::UNSPECIFIED.into(),
        Some(part) => match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
            Some(inner) => {
                inner.parse::<Ipv6Addr>().map_err(|_| bad("what stands in brackets is no IPv6 address"))?.into()
            }
            None => part
                .parse::<Ipv4Addr>()
                .map_err(|_| bad("the host address is no IPv4 address (and IPv6 ones stand in brackets)"))?
                .into(),
        },
    };
    if container.0 == 0 {
        return Err(bad("the container's port cannot be 0"));
    }
    if host.is_some_and(|host| host.1 - host.0 != container.1 - container.0) {
        return Err(bad("both ranges must have the same width"));
    }
    Ok((container.0..=container.1)
        .map(|container_port| PortMapping {
            host_ip,
            host_port: host.map_or(0, |host| host.0 + (container_port - container.0)),
            container_port,
            protocol,
        })
        .collect())
}

/// `8000` or `8000-8003`, as first and last.
fn range(text: &str) -> Result<(u16, u16), &'static str> {
    let number = |text: &str| {
        // u16's own parser would take "+80".
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a port is a number");
        }
        text.parse::<u16>().map_err(|_| "a port is at most 65535")
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err("a range runs from low to high");
    }
    if last - first >= WIDEST {
        return Err("a range has at most 1024 ports");
    }
    Ok((first, last))
}

/// Host ports that are ours for as long as this lives.
///
/// Each is a socket bound on the host's side. The firewall rewrites packets before they could reach it, so it
/// never receives any; it is there so that nobody else can take the port, and so that a port that somebody has
/// already is found out now, with a name, and not as a service that silently never answers.
#[derive(Debug)]
pub struct Reservation {
    mappings: Vec<PortMapping>,
    #[allow(dead_code)] // held open, never read
    sockets: Vec<OwnedFd>,
}

/// Whether a network has IPv6, too: then a port of all the host's IPv4 addresses is one of all its IPv6 ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    Four,
    /// Both.
    Both,
}

impl Reservation {
    /// Binds every mapping's host port; where it is 0, the kernel chooses.
    ///
    /// # Errors
    /// [`Error::PortInUse`] or [`Error::PortRefused`] for the first that cannot be had; none is kept then.
    ///
    /// # References
    /// bind(2), ip(7)
    pub fn take(mappings: &[PortMapping], family: Family) -> Result<Self> {
        let mut taken = Self { mappings: Vec::new(), sockets: Vec::new() };
        for mapping in mappings {
            let host_port = taken.add(mapping)?;
            if family == Family::Both && mapping.host_ip == Ipv4Addr::UNSPECIFIED {
                taken.add(&PortMapping { host_ip: Ipv6Addr::UNSPECIFIED.into(), host_port, ..*mapping })?;
            }
        }
        Ok(taken)
    }

    /// The mappings, each with the host port that it really got.
    pub fn mappings(&self) -> &[PortMapping] {
        &self.mappings
    }

    /// Holds what another reservation holds, too.
    pub fn absorb(&mut self, more: Self) {
        self.mappings.extend(more.mappings);
        self.sockets.extend(more.sockets);
    }

    /// Lets go of the ports of which `is_gone` says so.
    pub fn let_go(&mut self, is_gone: impl Fn(&PortMapping) -> bool) {
        let held = std::mem::take(&mut self.mappings).into_iter().zip(std::mem::take(&mut self.sockets));
        (self.mappings, self.sockets) = held.filter(|(mapping, _)| !is_gone(mapping)).unzip();
    }

    fn add(&mut self, mapping: &PortMapping) -> Result<u16> {
        let address = mapping.host();
        step!(
            10,
            "bind",
            "bind(2)",
            "hold the host's port so that nobody else takes it",
            "{address}/{}",
            mapping.protocol
        );
        let (host_port, socket) = match bind(address, mapping.protocol) {
            Err(rustix::io::Errno::ADDRINUSE) => {
                let PortMapping { host_ip, host_port, protocol, .. } = *mapping;
                return Err(Error::PortInUse { address: host_ip, port: host_port, protocol });
            }
            bound => {
                bound.during("bind", address).map_err(|reason| Error::PortRefused { mapping: *mapping, reason })?
            }
        };
        self.mappings.push(PortMapping { host_port, ..*mapping });
        self.sockets.push(socket);
        Ok(host_port)
    }
}

/// A socket that has the port, and the port.
///
/// An IPv4 stream socket listens, for else another program that sets `SO_REUSEADDR` could take the port. An IPv6 one does
/// not: packets to ::1 are the one kind that the firewall leaves alone (no route leads from there into a bridge), and whoever
/// tries `localhost` as ::1 first must be refused at once, so that he goes on to 127.0.0.1.
fn bind(address: SocketAddr, protocol: Protocol) -> rustix::io::Result<(u16, OwnedFd)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    } else if protocol == Protocol::Tcp {
        // What is left of connections of the port's last holder is no objection.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if protocol == Protocol::Tcp && address.is_ipv4() {
        rustix::net::listen(&socket, 1)?;
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((bound.port(), socket))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(PortMapping::to_string).collect()
    }

    #[test]
    fn every_form_of_docker_is_understood() {
        assert_eq!(texts("80"), ["0.0.0.0:0->80/tcp"]);
        assert_eq!(texts("8000:80"), ["0.0.0.0:8000->80/tcp"]);
        assert_eq!(texts("127.0.0.1:8000:80/udp"), ["127.0.0.1:8000->80/udp"]);
        assert_eq!(texts("127.0.0.1::80"), ["127.0.0.1:0->80/tcp"]);
        assert_eq!(texts("[::1]:8000:80"), ["[::1]:8000->80/tcp"]);
        assert_eq!(texts("8000-8001:80-81"), ["0.0.0.0:8000->80/tcp", "0.0.0.0:8001->81/tcp"]);
    }

    #[test]
    fn what_is_not_a_port_is_refused_with_the_text() {
        for text in [
            "", "x", "0", "8000:", ":", "65536", "1:2:3", "80/sctp", "+80", "80-70", "1-2:3", "[::1:1:2", "::1:1:2",
            "1-65535",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("port mapping {text:?}: ")), "{error}");
        }
    }

    #[test]
    fn a_port_that_somebody_has_is_named() {
        let first = Reservation::take(&parse("127.0.0.1::80").unwrap(), Family::Four).unwrap();
        let port = first.mappings()[0].host_port;
        let error = Reservation::take(&parse(&format!("127.0.0.1:{port}:80")).unwrap(), Family::Four).unwrap_err();
        assert_eq!(error.to_string(), format!("port 127.0.0.1:{port}/tcp is already in use on this machine"));
        assert!(error.hint().unwrap().contains("ss -lnp"));
    }

    #[test]
    fn a_reservation_grows_and_shrinks_port_by_port() {
        let mut held = Reservation::take(&parse("127.0.0.1::80").unwrap(), Family::Four).unwrap();
        held.absorb(Reservation::take(&parse("127.0.0.1::81").unwrap(), Family::Four).unwrap());
        let first = held.mappings()[0];
        assert!(Reservation::take(&[first], Family::Four).is_err());
        held.let_go(|mapping| mapping.container_port == 80);
        assert_eq!(held.mappings().iter().map(|mapping| mapping.container_port).collect::<Vec<_>>(), [81]);
        assert!(Reservation::take(&[first], Family::Four).is_ok());
        assert!(Reservation::take(held.mappings(), Family::Four).is_err());
    }

    #[test]
    fn a_reservation_ends_with_its_owner() {
        let first = Reservation::take(&parse("127.0.0.1::80/udp").unwrap(), Family::Four).unwrap();
        let again = [first.mappings()[0]];
        drop(first);
        assert!(Reservation::take(&again, Family::Four).is_ok());
    }
}
