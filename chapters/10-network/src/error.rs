//! The chapter's error: what went wrong with a network, and what would help.

use std::net::IpAddr;
use std::path::PathBuf;

use process::CallError;

use crate::name::NetworkName;
use crate::port::{PortMapping, Protocol};

/// What a network operation can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call or a netlink request failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No network of that name exists.
    #[error("network {0:?} does not exist")]
    NoSuchNetwork(String),
    /// A network of that name exists already.
    #[error("network {0:?} exists already")]
    NetworkExists(NetworkName),
    /// The default network always exists.
    #[error("network {0:?} is built in and cannot be removed")]
    BuiltIn(NetworkName),
    /// Containers still hold addresses in the network.
    #[error("network {network:?} is in use by {}", holders.join(", "))]
    NetworkInUse {
        /// The network.
        network: NetworkName,
        /// Names of the containers that are connected.
        holders: Vec<String>,
    },
    /// A text that should name a network, a container or a device does not.
    #[error("{what} {text:?}: {reason}")]
    BadName {
        /// What the text should have named: `network name`, `container id`...
        what: &'static str,
        /// The text as given.
        text: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A port mapping that does not read as one.
    #[error("port mapping {text:?}: {reason}")]
    BadPort {
        /// The text as given to `-p`.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A subnet or gateway that cannot be used.
    #[error("subnet {subnet}: {reason}")]
    BadSubnet {
        /// The subnet as asked for.
        subnet: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every subnet that the engine may choose from is taken.
    #[error("no free subnet in 172.17.0.0/16 to 172.31.0.0/16 or 192.168.0.0/20 to 192.168.240.0/20")]
    NoFreeSubnet,
    /// Every address of the network is leased.
    #[error("network {0:?} has no free address")]
    NoFreeAddress(NetworkName),
    /// An asked-for address cannot be had.
    #[error("address {address} in network {network:?}: {reason}")]
    BadAddress {
        /// The network.
        network: NetworkName,
        /// The address asked for.
        address: IpAddr,
        /// Why not.
        reason: String,
    },
    /// The container is in that network already.
    #[error("container {container:?} is connected to network {network:?} already")]
    AlreadyConnected {
        /// The container's id.
        container: String,
        /// The network.
        network: NetworkName,
    },
    /// Somebody listens on that port of this machine already.
    #[error("port {}/{protocol} is already in use on this machine", std::net::SocketAddr::new(*address, *port))]
    PortInUse {
        /// The host's address, 0.0.0.0 for every one.
        address: IpAddr,
        /// The host's port.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// The host's port could not be reserved for another reason.
    #[error("reserve port {mapping}: {reason}")]
    PortRefused {
        /// The mapping as asked for.
        mapping: PortMapping,
        /// What the kernel said.
        reason: CallError,
    },
    /// The firewall program is missing or refused a ruleset.
    #[error("{operation}: {message}")]
    Firewall {
        /// What was tried.
        operation: String,
        /// What `nft` printed, or why it could not be started.
        message: String,
    },
    /// A state file does not read as what it should be.
    #[error("{}: {message}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The container is not in that network.
    #[error("container {container:?} is not connected to network {network:?}")]
    NotConnected {
        /// The container's id.
        container: String,
        /// The network.
        network: NetworkName,
    },
    /// An option of a new network that this engine does not know, or whose value makes no sense.
    #[error("network option {key}={value}: {reason}")]
    BadOption {
        /// Its name.
        key: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bridge of that name is there, and it is not the network's own.
    #[error("bridge {0} exists already and is not this network's")]
    ForeignBridge(crate::name::DeviceName),
    /// A plugin refused, or is missing.
    #[error("CNI plugin {plugin} ({command}): {message}")]
    Cni {
        /// Its name.
        plugin: String,
        /// `ADD` or `DEL`.
        command: &'static str,
        /// What it said.
        message: String,
    },
    /// A container cannot be given a network without root, for the reason told.
    #[error("network without root: {0}")]
    Rootless(crate::rootless::Unavailable),
}

// By hand: `#[from]` would make it a source, whose words the message holds already.
impl From<crate::rootless::Unavailable> for Error {
    fn from(reason: crate::rootless::Unavailable) -> Self {
        Self::Rootless(reason)
    }
}

impl Error {
    /// What the user could do about it, if anything is known to help. Printed by binaries, once.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PortInUse { port, protocol, .. } => Some(format!(
                "see who has it with `ss -lnp 'sport = :{port}'`, publish another host port \
                 (-p OTHER:PORT/{protocol}), or leave the host port out to get a free one"
            )),
            Self::PortRefused { reason, .. } if reason.errno() == nix::errno::Errno::EACCES => Some(
                "ports below net.ipv4.ip_unprivileged_port_start (1024 unless changed) need root: choose a higher one"
                    .to_owned(),
            ),
            Self::PortRefused { reason, .. } if reason.errno() == nix::errno::Errno::EADDRNOTAVAIL => {
                Some("the host address must be one that this machine has: see `ip -br address`".to_owned())
            }
            Self::NetworkInUse { .. } => Some("remove or disconnect those containers first".to_owned()),
            Self::NoFreeSubnet => Some("remove a network, or name a subnet yourself with --subnet".to_owned()),
            Self::Firewall { .. } => Some(
                "published ports and the way out need `nft` (Debian: apt install nftables) and the kernel's nf_tables"
                    .to_owned(),
            ),
            Self::Cni { message, .. } if message.starts_with("there is no such plugin") => {
                Some("Debian: apt install containernetworking-plugins".to_owned())
            }
            Self::Rootless(unavailable) => Some(unavailable.hint()),
            _ => None,
        }
    }
}

/// The chapter's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
