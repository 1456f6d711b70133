//! What may be asked about a container's networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::PortMapping;
use serde::{Deserialize, Serialize};

use crate::sharing::other_container;

/// Which networks, under which names, with which ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// `--network`, the first one.
    pub mode: NetworkMode,
    /// `--network-alias`: more names under which others on the first network find the container.
    pub aliases: Vec<String>,
    /// `--ip`.
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<String>,
    /// More networks: `--network` given again, and `network connect`.
    pub more: Vec<Connection>,
    /// Whether the first network was left: `network disconnect`.
    pub left_first: bool,
    /// `-p`.
    pub publish: Vec<PortMapping>,
    /// `--expose`: ports that others may know of, as `80/tcp`, beside the image's own.
    pub expose: Vec<String>,
    /// `-P`: each exposed port that is not published yet gets a free port of the machine.
    pub publish_all: bool,
    /// `--add-host`: lines for `/etc/hosts`.
    pub extra_hosts: Vec<(String, HostAddress)>,
    /// `--dns`: servers to ask instead of the host's.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`: domains to search instead of the host's; `.` alone for none.
    pub dns_search: Vec<String>,
    /// `--dns-option`: options for the C library's resolver.
    pub dns_options: Vec<String>,
}

/// `80`, `53/udp`, `8000-8003/tcp`: ports of the container alone, each to be had anywhere.
///
/// # Errors
/// [`BadValue`](crate::Error::BadValue) with the text.
pub fn exposed_port(text: &str) -> Result<Vec<PortMapping>, crate::error::Error> {
    let bad = |reason: String| crate::error::Error::bad("--expose", text, reason);
    if text.contains(':') {
        return Err(bad("a port of the container alone: PORT[-PORT][/tcp|/udp]".into()));
    }
    network::port::parse(text).map_err(|error| bad(error.to_string()))
}

/// A container's wishes about one of its networks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The network's name.
    pub network: String,
    /// Names under which others on that network find the container, besides its own.
    pub aliases: Vec<String>,
    /// The IPv4 address that it must have.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address that it must have.
    pub ip6: Option<Ipv6Addr>,
    /// The hardware address that it must have.
    pub mac: Option<String>,
}

impl Network {
    /// The networks to join, in the order of the container's devices.
    pub fn connections(&self) -> Vec<Connection> {
        let first = self.mode.network().filter(|_| !self.left_first).map(|name| Connection {
            network: name.to_owned(),
            aliases: self.aliases.clone(),
            ip: self.ip,
            ip6: self.ip6,
            mac: self.mac.clone(),
        });
        first.into_iter().chain(self.more.iter().cloned()).collect()
    }

    /// The ports to publish: those that were named, and with `-P` all others of `exposed`.
    ///
    /// # Errors
    /// [`BadValue`](crate::Error::BadValue) for an exposed port that is none.
    pub(crate) fn ports(&self, exposed: &[String]) -> Result<Vec<PortMapping>, crate::error::Error> {
        let mut ports = self.publish.clone();
        for text in exposed.iter().filter(|_| self.publish_all) {
            let named = self.publish.iter().any(|port| *text == format!("{}/{}", port.container_port, port.protocol));
            if !named {
                ports.extend(exposed_port(text)?);
            }
        }
        Ok(ports)
    }

    /// Finds what contradicts itself, before anything is made.
    ///
    /// # Errors
    /// [`BadValue`](crate::Error::BadValue) with the option.
    pub fn check(&self) -> Result<(), crate::error::Error> {
        let bad = |option, reason: &str| Err(crate::error::Error::bad(option, self.mode.as_str(), reason));
        let shared = matches!(self.mode, NetworkMode::Container(_));
        if shared && (self.publish_all || !(self.publish.is_empty() && self.expose.is_empty())) {
            return bad("--publish", "the container whose network is shared publishes its ports");
        }
        if shared && !(self.dns.is_empty() && self.extra_hosts.is_empty()) {
            return bad("--dns", "names are looked up as in the container whose network is shared");
        }
        if self.mode.network().is_none() && !self.more.is_empty() {
            return bad("--network", "this mode cannot be combined with networks");
        }
        let mut names: Vec<String> = self.connections().into_iter().map(|connection| connection.network).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(crate::error::Error::bad("--network", pair[0].clone(), "the network is named twice")),
            None => Ok(()),
        }
    }
}

/// What a name of `--add-host` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostAddress {
    /// An address.
    Address(IpAddr),
    /// `host-gateway`: the machine itself, as the container reaches it.
    Gateway,
}

/// Docker's word for the machine itself.
const HOST_GATEWAY: &str = "host-gateway";

impl From<HostAddress> for String {
    fn from(address: HostAddress) -> Self {
        match address {
            HostAddress::Address(address) => address.to_string(),
            HostAddress::Gateway => HOST_GATEWAY.to_owned(),
        }
    }
}

impl TryFrom<String> for HostAddress {
    type Error = crate::error::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::str::FromStr for HostAddress {
    type Err = crate::error::Error;

    /// An IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == HOST_GATEWAY {
            return Ok(Self::Gateway);
        }
        let address = text.trim_start_matches('[').trim_end_matches(']').parse();
        address.map(Self::Address).map_err(|_| Self::Err::bad("--add-host", text, "it is no IP address"))
    }
}

/// `--network`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The default network `bridge`.
    #[default]
    Bridge,
    /// The host's own network namespace.
    Host,
    /// A namespace with nothing but its loopback.
    None,
    /// A network that was made with `network create`.
    Named(String),
    /// The network namespace of another container, by its name or id.
    Container(String),
}

impl NetworkMode {
    /// The network to join, if there is one.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some("bridge"),
            Self::Named(name) => Some(name),
            Self::Host | Self::None | Self::Container(_) => None,
        }
    }

    /// As `docker inspect` shows it in `HostConfig.NetworkMode`; another container is given with `container:` before it
    /// by [`Display`](std::fmt::Display).
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
            Self::Named(name) | Self::Container(name) => name,
        }
    }
}

impl std::fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container:{name}"),
            mode => f.write_str(mode.as_str()),
        }
    }
}

impl std::str::FromStr for NetworkMode {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "default" | "bridge" => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            name => match other_container("--network", name)? {
                Some(other) => Ok(Self::Container(other)),
                None => crate::id::check_name("--network", name).map(|()| Self::Named(name.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn more(name: &str) -> Vec<Connection> {
        vec![Connection { network: name.to_owned(), ..Connection::default() }]
    }

    #[test]
    fn what_contradicts_itself_is_found() {
        assert!(Network { more: more("web"), ..Network::default() }.check().is_ok());
        assert!(Network { more: more("bridge"), ..Network::default() }.check().is_err());
        assert!(Network { more: more("bridge"), left_first: true, ..Network::default() }.check().is_ok());
        let host = Network { mode: NetworkMode::Host, more: more("web"), ..Network::default() };
        assert!(host.check().is_err());
        let shared = Network { mode: "container:web".parse().unwrap(), ..Network::default() };
        assert!(shared.check().is_ok() && shared.connections().is_empty());
        assert!(Network { publish: network::port::parse("80").unwrap(), ..shared }.check().is_err());
    }

    #[test]
    fn the_hosts_own_address_may_be_meant_without_being_known() {
        assert_eq!("host-gateway".parse::<HostAddress>().unwrap(), HostAddress::Gateway);
        let address: HostAddress = "[::1]".parse().unwrap();
        assert_eq!(String::from(address), "::1");
        assert!("gateway".parse::<HostAddress>().is_err());
    }
}
