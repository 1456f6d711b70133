//! The flags about networks, turned into what the engine is asked.

use anyhow::{anyhow, bail};
use containers::{Connection, HostAddress};

use crate::flags::Network;

impl Network {
    /// What the flags ask for.
    ///
    /// # Errors
    /// The first value that is none, named with its flag.
    pub(crate) fn options(&self) -> anyhow::Result<containers::Network> {
        let mut publish = Vec::new();
        for text in &self.publish {
            publish.extend(network::port::parse(text)?);
        }
        let mut connections = self.network.iter().map(|text| connection(text)).collect::<Result<Vec<_>, _>>()?;
        if connections.is_empty() {
            connections.push(Connection { network: "bridge".to_owned(), ..Connection::default() });
        }
        // What has a flag of its own is about the first network.
        let first = connections.remove(0);
        let aliases: Vec<String> = first.aliases.into_iter().chain(self.network_alias.iter().cloned()).collect();
        let options = containers::Network {
            mode: first.network.parse()?,
            aliases,
            ip: one("ip", first.ip, self.ip)?,
            ip6: one("ip6", first.ip6, self.ip6)?,
            mac: one("mac-address", first.mac, self.mac_address.clone())?,
            more: connections,
            left_first: false,
            publish,
            expose: self.expose.clone(),
            publish_all: self.publish_all,
            extra_hosts: self.add_host.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
            dns: self.dns.clone(),
            dns_search: self.dns_search.clone(),
            dns_options: self.dns_option.clone(),
        };
        let asks =
            !options.aliases.is_empty() || options.ip.is_some() || options.ip6.is_some() || options.mac.is_some();
        if options.mode.network().is_none() && asks {
            bail!("--network {}: addresses and aliases need a network of the container's own", options.mode);
        }
        options.check()?;
        Ok(options)
    }
}

/// The one value of a thing that two flags can say.
fn one<T>(what: &str, first: Option<T>, second: Option<T>) -> anyhow::Result<Option<T>> {
    match (first, second) {
        (Some(_), Some(_)) => bail!("--network and --{what} both say it: give one of them"),
        (first, second) => Ok(first.or(second)),
    }
}

/// `NAME`, podman's `NAME:ip=ADDRESS,alias=NAME`, or docker's `name=NAME,ip=ADDRESS,alias=NAME`.
fn connection(text: &str) -> anyhow::Result<Connection> {
    let mut connection = Connection::default();
    let fields = match text.split_once(':') {
        _ if text.starts_with("container:") => "",
        Some((name, fields)) => {
            connection.network = name.to_owned();
            fields
        }
        None if text.contains('=') => text,
        None => "",
    };
    if fields.is_empty() {
        connection.network = text.to_owned();
        return Ok(connection);
    }
    for field in fields.split(',') {
        let bad = |reason: &str| anyhow!("--network {text:?}: {field:?}: {reason}");
        let (key, value) = field.split_once('=').ok_or_else(|| bad("write KEY=VALUE"))?;
        match key {
            "name" => connection.network = value.to_owned(),
            "alias" => connection.aliases.push(value.to_owned()),
            "ip" => connection.ip = Some(value.parse().map_err(|_| bad("no IPv4 address"))?),
            "ip6" => connection.ip6 = Some(value.parse().map_err(|_| bad("no IPv6 address"))?),
            "mac" | "mac-address" => connection.mac = Some(value.to_owned()),
            _ => return Err(bad("the keys are name, alias, ip, ip6 and mac-address")),
        }
    }
    if connection.network.is_empty() {
        bail!("--network {text:?}: which network? write name=NAME");
    }
    Ok(connection)
}

/// `--add-host NAME:ADDRESS`, where an IPv6 address may stand in brackets and `host-gateway` is the machine itself.
fn host(text: &str) -> anyhow::Result<(String, HostAddress)> {
    let (name, address) =
        text.split_once([':', '=']).ok_or_else(|| anyhow!("--add-host {text:?}: write NAME:ADDRESS"))?;
    Ok((name.to_owned(), address.parse()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_is_named_with_what_it_should_give() {
        let plain = connection("web").unwrap();
        assert_eq!((plain.network.as_str(), plain.ip), ("web", None));
        assert_eq!(connection("container:x").unwrap().network, "container:x");
        for text in ["web:ip=10.0.0.2,alias=a,alias=b", "name=web,ip=10.0.0.2,alias=a,alias=b"] {
            let full = connection(text).unwrap();
            assert_eq!((full.network.as_str(), full.aliases.len()), ("web", 2), "{text}");
            assert_eq!(full.ip, Some([10, 0, 0, 2].into()));
        }
        for text in ["ip=10.0.0.2", "web:ip", "web:ip=x", "web:moon=full"] {
            assert!(connection(text).is_err(), "{text}");
        }
    }
}
