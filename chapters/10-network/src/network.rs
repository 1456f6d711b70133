//! A network: what was asked for, and what was decided.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::address::{check_subnet, choose_subnet};
use crate::error::{Error, Result};
use crate::name::{DeviceName, NetworkName};

/// What a new network should be like. Whatever is `None` is chosen.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// Its addresses.
    pub subnet: Option<Ipv4Net>,
    /// The host's own address in it, which containers use as their way out.
    pub gateway: Option<Ipv4Addr>,
    /// Without a way out: containers reach each other and nobody else.
    pub internal: bool,
    /// The largest packet, in bytes; 1500 if not said.
    pub mtu: Option<u32>,
    /// The user's own notes.
    pub labels: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// A network of that name, everything else chosen.
    pub fn named(name: NetworkName) -> Self {
        Self { name, subnet: None, gateway: None, internal: false, mtu: None, labels: BTreeMap::new() }
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
    /// How it is made; `bridge` is the one way so far.
    pub driver: Driver,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The name of its switch, which exists while a container is connected.
    pub bridge: DeviceName,
    /// Whether it has no way out.
    pub internal: bool,
    /// The largest packet, in bytes; the kernel's 1500 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The user's own notes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// How a network is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge on this host, a cable to each container.
    Bridge,
}

impl Network {
    /// Decides everything that the spec leaves open.
    ///
    /// `root` is the engine's data directory, which the bridge's name is derived from; `taken` are the subnets of the host's
    /// routes and of other networks.
    ///
    /// # Errors
    /// [`Error::BadSubnet`], [`Error::NoFreeSubnet`]; [`Error::Call`] if the kernel has no randomness to give.
    pub fn plan(spec: NetworkSpec, root: &Path, taken: &[Ipv4Net]) -> Result<Self> {
        let subnet = spec.subnet.map_or_else(|| choose_subnet(taken), Ok)?;
        let (subnet, gateway) = check_subnet(subnet, spec.gateway, taken)?;
        if let Some(mtu) = spec.mtu.filter(|mtu| !(68..=65535).contains(mtu)) {
            let reason = format!("an MTU of {mtu} is not between 68 and 65535");
            return Err(Error::BadSubnet { subnet: subnet.to_string(), reason });
        }
        Ok(Self {
            id: random_id()?,
            bridge: DeviceName::bridge(root, &spec.name),
            name: spec.name,
            driver: Driver::Bridge,
            subnet,
            gateway,
            internal: spec.internal,
            mtu: spec.mtu,
            labels: spec.labels,
            created: Timestamp::now(),
        })
    }
}

fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| process::CallError::refused("getrandom", "", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
