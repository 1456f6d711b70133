//! The firewall's part: the way out, the published ports, and the walls between networks.
//!
//! One nftables table a network, loaded whole in one transaction, readable with `nft list table ip NAME`. A published port
//! is **one element in a map**: the rules that look into the map never change, and a packet costs the same with one
//! published port and with a thousand.
//!
//! ```text
//!  from outside        prerouting: to this host? port in the map? -> rewrite the destination to the container
//!  from this host      output:     the same, also for 127.0.0.1
//!  through this host   forward:    into the network only what was asked for by it, or was published
//!  on the way out      postrouting: a container's own address means nothing outside: use this host's
//! ```
//!
//! A table can only let pass what no other table drops: where the administrator's own rules drop forwarded packets, they
//! stay dropped, and that is as it should be.
//!
//! # References
//! nft(8), "STATEMENTS": dnat, masquerade, map; <https://wiki.nftables.org>, "Netfilter hooks"

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use process::step;

use crate::error::{Error, Result};
use crate::name::{NetworkName, short_hash};
use crate::network::Network;
use crate::port::{PortMapping, Protocol};

/// A published port and the container behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The container's address.
    pub address: Ipv4Addr,
    /// Which port leads to which.
    pub mapping: PortMapping,
}

/// A network's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
}

impl Table {
    /// The table of a network of the engine whose data live in `root`: `cooper-`, eight hex digits, the network's name.
    pub fn of(root: &Path, network: &NetworkName) -> Self {
        Self { name: format!("cooper-{}-{network}", short_hash(&[root.as_os_str().as_encoded_bytes()], 8)) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole table as `nft` reads it, replacing an older one of the same name.
    pub fn ruleset(&self, network: &Network, published: &[Published]) -> String {
        let (name, subnet, bridge) = (&self.name, network.subnet, &network.bridge);
        let maps = MAPS.map(|map| declaration(map, published)).concat();
        let way_out = if network.internal {
            String::new()
        } else {
            format!(
                "    # the way out: the world knows this host's address, not the container's\n    ip saddr {subnet} oifname != \"{bridge}\" masquerade\n"
            )
        };
        let no_way_out = if network.internal {
            format!("    # internal: nothing leaves\n    iifname \"{bridge}\" oifname != \"{bridge}\" drop\n")
        } else {
            String::new()
        };
        format!(
            r#"table ip {name} {{}}
delete table ip {name}
table ip {name} {{
{maps}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }}
  chain published {{
    dnat ip to ip daddr . tcp dport map @tcp_ports_at
    dnat ip to ip daddr . udp dport map @udp_ports_at
    dnat ip to tcp dport map @tcp_ports
    dnat ip to udp dport map @udp_ports
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    # the bridge may carry packets from 127.0.0.1 to a published port; none may come the other way
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
    iifname "{bridge}" ip saddr 127.0.0.0/8 drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
{no_way_out}    # from elsewhere into the network: answers, and what was published; other networks stay out
    iifname != "{bridge}" oifname "{bridge}" ct state established,related accept
    iifname != "{bridge}" oifname "{bridge}" ct status dnat accept
    iifname != "{bridge}" oifname "{bridge}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{way_out}    # 127.0.0.1 is somebody else inside the container: answers must find back to this host
    ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
    # a container that calls a published port of its own network: answers must pass here to be rewritten back
    ip saddr {subnet} oifname "{bridge}" ct status dnat masquerade
  }}
}}
"#
        )
    }

    /// Loads the whole table: all of it takes effect, or nothing does.
    ///
    /// # Errors
    /// [`Error::Firewall`] with what `nft` printed.
    pub fn load(&self, network: &Network, published: &[Published]) -> Result<()> {
        step!(10, "nft", "nft(8)", "load the network's rules: the way out, ports, walls", "table ip {}", self.name);
        Transaction::begin(&format!("load table {:?}", self.name), &self.ruleset(network, published))?.finish()
    }

    /// Publishes ports: an element each.
    ///
    /// # Errors
    /// [`Error::Firewall`]; none is published then. So it is when the table is gone: load it.
    pub fn publish(&self, published: &[Published]) -> Result<()> {
        for port in published {
            step!(10, "nft", "nft(8)", "publish: one element in the map", "{} is {}", port.mapping, port.address);
        }
        self.elements("add", published, Published::element)?.finish()
    }

    /// Begins to take published ports back.
    ///
    /// # Errors
    /// [`Error::Firewall`], now or when it is finished; all are still published then. So it is when one of them never was.
    pub fn unpublish(&self, published: &[Published]) -> Result<Transaction> {
        for port in published {
            step!(10, "nft", "nft(8)", "unpublish: take the element away", "{}", port.mapping);
        }
        self.elements("delete", published, Published::key)
    }

    /// Begins to remove the table; fine if there is none.
    ///
    /// # Errors
    /// [`Error::Firewall`], now or when it is finished.
    pub fn remove(&self) -> Result<Transaction> {
        let name = &self.name;
        step!(10, "nft", "nft(8)", "remove the network's rules", "table ip {name}");
        Transaction::begin(
            &format!("remove table {name:?}"),
            &format!("table ip {name} {{}}\ndelete table ip {name}\n"),
        )
    }

    fn elements(&self, verb: &str, published: &[Published], text: fn(&Published) -> String) -> Result<Transaction> {
        let mut commands = String::new();
        for map in MAPS {
            let inside: Vec<_> = published.iter().filter(|port| map.holds(&port.mapping)).map(text).collect();
            if !inside.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(commands, "{verb} element ip {} {} {{ {} }}", self.name, map.name, inside.join(", "));
            }
        }
        Transaction::begin(&format!("{verb} published ports in table {:?}", self.name), &commands)
    }
}

/// A map from what a packet is addressed to, to where it shall go.
#[derive(Clone, Copy)]
struct Map {
    name: &'static str,
    protocol: Protocol,
    /// Whether the host's address is part of the key.
    at_address: bool,
}

impl Map {
    fn holds(self, mapping: &PortMapping) -> bool {
        mapping.protocol == self.protocol && mapping.host_ip.is_unspecified() != self.at_address
    }
}

const MAPS: [Map; 4] = [
    Map { name: "tcp_ports", protocol: Protocol::Tcp, at_address: false },
    Map { name: "udp_ports", protocol: Protocol::Udp, at_address: false },
    Map { name: "tcp_ports_at", protocol: Protocol::Tcp, at_address: true },
    Map { name: "udp_ports_at", protocol: Protocol::Udp, at_address: true },
];

fn declaration(map: Map, published: &[Published]) -> String {
    let key = if map.at_address { "ipv4_addr . inet_service" } else { "inet_service" };
    let elements: Vec<_> = published.iter().filter(|port| map.holds(&port.mapping)).map(Published::element).collect();
    let elements =
        if elements.is_empty() { String::new() } else { format!("    elements = {{ {} }}\n", elements.join(", ")) };
    format!("  map {} {{\n    type {key} : ipv4_addr . inet_service\n{elements}  }}\n", map.name)
}

impl Published {
    /// `8000`, or `127.0.0.1 . 8000` where only one of the host's addresses is published on.
    fn key(&self) -> String {
        let PortMapping { host_ip, host_port, .. } = self.mapping;
        if host_ip.is_unspecified() { host_port.to_string() } else { format!("{host_ip} . {host_port}") }
    }

    fn element(&self) -> String {
        format!("{} : {} . {}", self.key(), self.address, self.mapping.container_port)
    }
}

/// Commands that `nft` is at work on: all of them take effect, or none does.
///
/// Whatever is taken away from the kernel's network is waited for until nobody can be using it any more, which takes
/// milliseconds. So whoever cleans up begins here, takes the links away meanwhile, and only then finishes.
#[derive(Debug)]
#[must_use = "only finish() tells whether it worked"]
pub struct Transaction {
    nft: Child,
    operation: String,
}

impl Transaction {
    fn begin(operation: &str, commands: &str) -> Result<Self> {
        let failed = |message: String| Error::Firewall { operation: operation.to_owned(), message };
        let program =
            process::needs::find_program("nft").ok_or_else(|| failed("the program nft was not found".into()))?;
        let mut nft = Command::new(&program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("start {}: {error}", program.display())))?;
        // Where nft ended without reading all of it, what it printed says why, better than the broken pipe would.
        let _ = nft.stdin.take().map(|mut stdin| stdin.write_all(commands.as_bytes()));
        Ok(Self { nft, operation: operation.to_owned() })
    }

    /// Waits until the commands have taken effect.
    ///
    /// # Errors
    /// [`Error::Firewall`] with what `nft` printed; nothing has changed then.
    pub fn finish(self) -> Result<()> {
        let failed = |message: String| Error::Firewall { operation: self.operation, message };
        match self.nft.wait_with_output() {
            Err(error) => Err(failed(error.to_string())),
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let message = String::from_utf8_lossy(&output.stderr);
                Err(failed(message.lines().take(4).collect::<Vec<_>>().join("; ")))
            }
        }
    }
}
