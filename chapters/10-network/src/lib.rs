//! Chapter 10: a network: cables, a switch, a way out, ports that the world can reach, and names.
//!
//! A fresh network namespace has one device, loopback, and that is switched off: the quietest place on the
//! machine. This chapter wires it up. A *veth* cable leads from the container to a *bridge* on the host; the
//! container gets an address and a default route; the firewall lends it the host's own address on the way out, and
//! rewrites what arrives at a published port to where the container listens; a small resolver tells containers each other's names.
//!
//! Nothing here is a program that copies bytes: once [`Networks::connect`] has returned, the kernel alone carries every packet.
//!
//! # Reading order
//! 1. [`netlink`]: how to talk to the kernel's network stack; then [`link`] and [`route`], what to say
//! 2. [`namespace`]: the door into the container's side
//! 3. [`name`], [`address`], [`address6`], [`network`], [`lease`], [`networks`]: what is decided, and the files that remember it
//! 4. [`endpoint`]: connecting a container, which is the chapter's spine; [`bridge`] and [`departure`]: before it and after it
//! 5. [`port`], [`firewall`], [`ruleset`]: published ports and the rules behind them
//! 6. [`host_files`], [`dns`]: names
//! 7. [`rootless`]: all of this for somebody who may not make bridges; [`cni`]: all of this made by somebody else's program
//!
//! Beside them stand [`error`], what can go wrong and what would help, and `sys`, the two calls that need `unsafe`.

pub mod address;
pub mod address6;
pub mod bridge;
pub mod cni;
pub mod departure;
pub mod dns;
pub mod endpoint;
pub mod error;
pub mod firewall;
pub mod host_files;
pub mod lease;
pub mod link;
pub mod name;
pub mod namespace;
pub mod netlink;
pub mod network;
pub mod networks;
pub mod port;
pub mod rootless;
pub mod route;
pub mod ruleset;
mod sys;

pub use address::Mac;
pub use departure::Departure;
pub use endpoint::{EndpointOptions, raise_loopback};
pub use error::{Error, Result};
pub use host_files::{RESOLVER, ResolvConf, hosts, resolv_conf, resolv_conf_for_resolver};
pub use lease::{Endpoint, Lease, Place6};
pub use name::{DeviceName, NetworkName};
pub use network::{Driver, Network, NetworkSpec};
pub use networks::Networks;
pub use port::{Family, PortMapping, Protocol, Reservation};
