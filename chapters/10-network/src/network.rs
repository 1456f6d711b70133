//! A network: what was asked for, and what was decided.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::address::{Pool, check_subnet, choose_subnet};
use crate::address6::Pool6;
use crate::error::{Error, Result};
use crate::link::Isolation;
use crate::name::{DeviceName, NetworkName};

/// What a new network should be like. Whatever is `None` is chosen.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// How it is made.
    pub driver: Driver,
    /// Its addresses.
    pub subnet: Option<Ipv4Net>,
    /// The host's own address in it, which containers use as their way out.
    pub gateway: Option<Ipv4Addr>,
    /// The part of the subnet from which unasked-for addresses come; all of it if not said.
    pub ip_range: Option<Ipv4Net>,
    /// Whether it has IPv6 addresses besides.
    pub ipv6: bool,
    /// Those.
    pub subnet6: Option<Ipv6Net>,
    /// The host's own among them.
    pub gateway6: Option<Ipv6Addr>,
    /// Without a way out: containers reach each other and nobody else.
    pub internal: bool,
    /// The largest packet, in bytes; 1500 if not said.
    pub mtu: Option<u32>,
    /// The driver's options, checked one by one when the network is planned: see [`OPTIONS`].
    pub options: BTreeMap<String, String>,
    /// The user's own notes.
    pub labels: BTreeMap<String, String>,
}

/// The driver's options that are known, by docker's names: the largest packet in bytes, the bridge's name, whether
/// containers are hidden behind the host's address, whether containers of the network reach each other.
pub const OPTIONS: [&str; 4] = [
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.enable_icc",
];

impl NetworkSpec {
    /// A network of that name, everything else chosen.
    pub fn named(name: NetworkName) -> Self {
        Self {
            name,
            driver: Driver::Bridge,
            subnet: None,
            gateway: None,
            ip_range: None,
            ipv6: false,
            subnet6: None,
            gateway6: None,
            internal: false,
            mtu: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Adds one of the user's subnets, of either kind: one of each may be given.
    ///
    /// # Errors
    /// [`Error::BadSubnet`] for a second one of a kind, and for a gateway or range of the other kind.
    pub fn add_subnet(&mut self, subnet: IpNet, gateway: Option<std::net::IpAddr>, range: Option<IpNet>) -> Result<()> {
        let bad = |reason: &str| Err(Error::BadSubnet { subnet: subnet.to_string(), reason: reason.to_owned() });
        match (subnet, gateway, range) {
            (IpNet::V4(_), ..) if self.subnet.is_some() => bad("a network has one IPv4 subnet"),
            (IpNet::V6(_), ..) if self.subnet6.is_some() => bad("a network has one IPv6 subnet"),
            (IpNet::V4(subnet), None | Some(std::net::IpAddr::V4(_)), None | Some(IpNet::V4(_))) => {
                self.subnet = Some(subnet);
                self.gateway = gateway.and_then(|it| if let std::net::IpAddr::V4(it) = it { Some(it) } else { None });
                self.ip_range = range.and_then(|it| if let IpNet::V4(it) = it { Some(it) } else { None });
                Ok(())
            }
            (IpNet::V6(subnet), None | Some(std::net::IpAddr::V6(_)), None) => {
                self.subnet6 = Some(subnet);
                self.gateway6 = gateway.and_then(|it| if let std::net::IpAddr::V6(it) = it { Some(it) } else { None });
                Ok(())
            }
            (IpNet::V6(_), _, Some(_)) => {
                bad("a range of IPv6 addresses is not supported: they follow from the IPv4 ones")
            }
            _ => bad("its gateway and range must be of its own kind"),
        }
    }
}

/// A network as its file, `networks/NAME.json`, holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// 64 hexadecimal digits, random.
    pub id: String,
    /// Its name.
    pub name: NetworkName,
    /// How it is made.
    pub driver: Driver,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The part of the subnet from which unasked-for addresses come; all of it if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Ipv4Net>,
    /// Its IPv6 side, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Pool6>,
    /// The name of its switch, which exists while a container is connected and for a moment after the last.
    pub bridge: DeviceName,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether its containers are to be kept from each other.
    #[serde(default)]
    pub isolated: bool,
    /// Whether the world sees its containers' own addresses: somebody else routes to them.
    #[serde(default)]
    pub routed: bool,
    /// The largest packet, in bytes; the kernel's 1500 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The driver's options as they were given.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The user's own notes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// How a network is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Driver {
    /// A bridge on this host, a cable to each container.
    Bridge,
    /// A program that speaks the Container Network Interface, by its name: see [`cni`](crate::cni).
    Cni(String),
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::Cni(plugin) => write!(f, "cni:{plugin}"),
        }
    }
}

impl From<Driver> for String {
    fn from(driver: Driver) -> Self {
        driver.to_string()
    }
}

impl TryFrom<String> for Driver {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::str::FromStr for Driver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("cni:") {
            Some(plugin) => crate::name::check_program(plugin).map(|()| Self::Cni(plugin.to_owned())),
            None if matches!(text, "" | "bridge" | "default") => Ok(Self::Bridge),
            None => {
                let reason = "the drivers are bridge and cni:PLUGIN";
                Err(Error::BadName { what: "network driver", text: text.to_owned(), reason })
            }
        }
    }
}

/// The subnets that a new network must not touch: the host's routes and addresses, and those of other networks.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// IPv4.
    pub four: Vec<Ipv4Net>,
    /// IPv6.
    pub six: Vec<Ipv6Net>,
}

impl Network {
    /// Decides everything that the spec leaves open. `root` is the engine's data directory, which the bridge's name is
    /// derived from.
    ///
    /// # Errors
    /// [`Error::BadSubnet`], [`Error::NoFreeSubnet`], [`Error::BadOption`]; [`Error::Call`] if the kernel has no
    /// randomness to give.
    pub fn plan(spec: NetworkSpec, root: &Path, taken: &Taken) -> Result<Self> {
        let subnet = spec.subnet.map_or_else(|| choose_subnet(&taken.four), Ok)?;
        let (subnet, gateway) = check_subnet(subnet, spec.gateway, &taken.four)?;
        if let Some(range) = spec.ip_range.filter(|range| !subnet.contains(range)) {
            let reason = format!("the range {range} is no part of it");
            return Err(Error::BadSubnet { subnet: subnet.to_string(), reason });
        }
        let ipv6 = (spec.ipv6 || spec.subnet6.is_some())
            .then(|| Pool6::plan(root, &spec.name, spec.subnet6, spec.gateway6, &taken.six))
            .transpose()?;
        let mut network = Self {
            id: random_id()?,
            bridge: DeviceName::bridge(root, &spec.name),
            name: spec.name,
            driver: spec.driver,
            subnet,
            gateway,
            ip_range: spec.ip_range,
            ipv6,
            internal: spec.internal,
            isolated: false,
            routed: false,
            mtu: spec.mtu,
            options: BTreeMap::new(),
            labels: spec.labels,
            created: Timestamp::now(),
        };
        for (key, value) in &spec.options {
            // A plugin's options are its own business.
            if network.driver == Driver::Bridge {
                network.set(key, value)?;
            }
        }
        network.options = spec.options;
        if let Some(mtu) = network.mtu.filter(|mtu| !(68..=65535).contains(mtu) || ipv6.is_some() && *mtu < 1280) {
            let reason = format!("an MTU of {mtu} is not between 68 (IPv6: 1280) and 65535");
            return Err(Error::BadSubnet { subnet: subnet.to_string(), reason });
        }
        Ok(network)
    }

    /// Where its IPv4 addresses come from.
    pub fn pool(&self) -> Pool {
        Pool { subnet: self.subnet, gateway: self.gateway, range: self.ip_range.unwrap_or(self.subnet) }
    }

    /// Whether the bridge's ports are kept from each other.
    pub(crate) fn isolation(&self) -> Isolation {
        if self.isolated { Isolation::Yes } else { Isolation::No }
    }

    /// Obeys one of the [`OPTIONS`].
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let bad =
            |reason: &str| Error::BadOption { key: key.to_owned(), value: value.to_owned(), reason: reason.to_owned() };
        let flag = || value.parse::<bool>().map_err(|_| bad("it is true or false"));
        match key {
            "com.docker.network.driver.mtu" | "mtu" => {
                self.mtu = Some(value.parse().map_err(|_| bad("it is a number of bytes"))?);
            }
            "com.docker.network.bridge.name" => self.bridge = value.parse()?,
            "com.docker.network.bridge.enable_ip_masquerade" => self.routed = !flag()?,
            "com.docker.network.bridge.enable_icc" => self.isolated = !flag()?,
            _ => return Err(bad(&format!("it is not supported; those that are: {}", OPTIONS.join(", ")))),
        }
        Ok(())
    }
}

fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| process::CallError::refused("getrandom", "", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
