//! A network's rules as text: what `nft` reads, and `nft list table inet NAME` shows again.
//!
//! Pure functions: the same network and the same ports give the same text, and a test looks at it.

use crate::firewall::Published;
use crate::network::Network;
use crate::port::{PortMapping, Protocol};

/// A map from what a packet is addressed to, to where it shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) ipv6: bool,
    /// Whether the host's address is part of the key.
    pub(crate) at_address: bool,
}

impl Map {
    pub(crate) fn holds(self, mapping: &PortMapping) -> bool {
        mapping.protocol == self.protocol
            && mapping.host_ip.is_ipv6() == self.ipv6
            && mapping.host_ip.is_unspecified() != self.at_address
    }
}

pub(crate) const MAPS: [Map; 8] = [
    Map { name: "tcp_ports", protocol: Protocol::Tcp, ipv6: false, at_address: false },
    Map { name: "udp_ports", protocol: Protocol::Udp, ipv6: false, at_address: false },
    Map { name: "tcp_ports_at", protocol: Protocol::Tcp, ipv6: false, at_address: true },
    Map { name: "udp_ports_at", protocol: Protocol::Udp, ipv6: false, at_address: true },
    Map { name: "tcp_ports6", protocol: Protocol::Tcp, ipv6: true, at_address: false },
    Map { name: "udp_ports6", protocol: Protocol::Udp, ipv6: true, at_address: false },
    Map { name: "tcp_ports6_at", protocol: Protocol::Tcp, ipv6: true, at_address: true },
    Map { name: "udp_ports6_at", protocol: Protocol::Udp, ipv6: true, at_address: true },
];

/// The maps that a network needs: those of IPv6 only where it has that.
pub(crate) fn maps(network: &Network) -> impl Iterator<Item = Map> {
    let ipv6 = network.ipv6.is_some();
    MAPS.into_iter().filter(move |map| ipv6 || !map.ipv6)
}

/// The whole table.
pub(crate) fn ruleset(name: &str, network: &Network, published: &[Published]) -> String {
    let bridge = &network.bridge;
    let maps: String = maps(network).map(|map| declaration(map, published)).collect();
    let (look_up, way_out, hairpin) = (look_up(network), way_out(network), hairpin(network));
    let no_way_out = match network.internal {
        true => format!("    # internal: nothing leaves\n    iifname \"{bridge}\" oifname != \"{bridge}\" drop\n"),
        false => String::new(),
    };
    format!(
        r#"table inet {name} {{
{maps}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    fib daddr type local jump published
  }}
  chain published {{
{look_up}  }}
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
{hairpin}  }}
}}
"#
    )
}

fn look_up(network: &Network) -> String {
    let mut text = String::from(
        "    dnat ip to ip daddr . tcp dport map @tcp_ports_at\n    dnat ip to ip daddr . udp dport map @udp_ports_at\n    \
         meta nfproto ipv4 dnat ip to tcp dport map @tcp_ports\n    meta nfproto ipv4 dnat ip to udp dport map @udp_ports\n",
    );
    if network.ipv6.is_some() {
        text.push_str(
            "    dnat ip6 to ip6 daddr . tcp dport map @tcp_ports6_at\n    dnat ip6 to ip6 daddr . udp dport map @udp_ports6_at\n    \
             meta nfproto ipv6 dnat ip6 to tcp dport map @tcp_ports6\n    meta nfproto ipv6 dnat ip6 to udp dport map @udp_ports6\n",
        );
    }
    text
}

/// `ip saddr SUBNET`, for each kind of address that the network has.
fn sources(network: &Network) -> Vec<String> {
    let six = network.ipv6.map(|pool| format!("ip6 saddr {}", pool.subnet));
    [format!("ip saddr {}", network.subnet)].into_iter().chain(six).collect()
}

fn way_out(network: &Network) -> String {
    if network.internal || network.routed {
        return String::new();
    }
    let bridge = &network.bridge;
    let rules: String =
        sources(network).iter().map(|source| format!("    {source} oifname != \"{bridge}\" masquerade\n")).collect();
    format!("    # the way out: the world knows this host's address, not the container's\n{rules}")
}

fn hairpin(network: &Network) -> String {
    let bridge = &network.bridge;
    let rule = |source: &String| format!("    {source} oifname \"{bridge}\" ct status dnat masquerade\n");
    sources(network).iter().map(rule).collect()
}

fn declaration(map: Map, published: &[Published]) -> String {
    let address = if map.ipv6 { "ipv6_addr" } else { "ipv4_addr" };
    let key = if map.at_address { format!("{address} . inet_service") } else { "inet_service".to_owned() };
    let elements: Vec<_> = published.iter().filter(|port| map.holds(&port.mapping)).map(Published::element).collect();
    let elements =
        if elements.is_empty() { String::new() } else { format!("    elements = {{ {} }}\n", elements.join(", ")) };
    format!("  map {} {{\n    type {key} : {address} . inet_service\n{elements}  }}\n", map.name)
}

impl Published {
    /// `8000`, or `127.0.0.1 . 8000` where only one of the host's addresses is published on.
    pub(crate) fn key(&self) -> String {
        let PortMapping { host_ip, host_port, .. } = self.mapping;
        if host_ip.is_unspecified() { host_port.to_string() } else { format!("{host_ip} . {host_port}") }
    }

    pub(crate) fn element(&self) -> String {
        format!("{} : {} . {}", self.key(), self.address, self.mapping.container_port)
    }
}
