//! Networks and volumes at a daemon.

use distribution::address::percent_encoded;
use serde_json::{Value, json};

use super::client::Client;
use super::look::{filters, inspect, text};
use crate::failure::each;
use crate::look::Kind;
use crate::stdout::say;
use crate::values::labels;
use crate::{network, volume};

/// Removes each, and prints its name.
fn remove(far: &Client, kind: &str, names: &[String]) -> anyhow::Result<u8> {
    each(names, |name| {
        far.delete(&format!("/{kind}/{}", percent_encoded(name)), &[])?;
        say!("{name}");
        Ok(())
    })
}

impl network::Create {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        // Which gateway and range belong to which subnet is decided here, as at home.
        let spec = self.spec()?;
        let mut pools = Vec::new();
        for (subnet, gateway, range) in [
            (
                spec.subnet.map(|it| it.to_string()),
                spec.gateway.map(|it| it.to_string()),
                spec.ip_range.map(|it| it.to_string()),
            ),
            (spec.subnet6.map(|it| it.to_string()), spec.gateway6.map(|it| it.to_string()), None),
        ] {
            if let Some(subnet) = subnet {
                let text = |part: Option<String>| part.unwrap_or_default();
                pools.push(json!({ "Subnet": subnet, "Gateway": text(gateway), "IPRange": text(range) }));
            }
        }
        let body = json!({
            "Name": spec.name.as_str(),
            "CheckDuplicate": true,
            "Driver": spec.driver.to_string(),
            "Internal": spec.internal,
            "EnableIPv6": spec.ipv6,
            "IPAM": { "Driver": "default", "Config": pools },
            "Options": spec.options,
            "Labels": spec.labels,
        });
        say!("{}", text(&far.post("/networks/create", &[], Some(&body))?["Id"]));
        Ok(0)
    }
}

impl network::Connect {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { alias, ip, ip6, network, container } = self;
        let address = |text: Option<String>| text.unwrap_or_default();
        let (four, six) = (address(ip.map(|ip| ip.to_string())), address(ip6.map(|ip| ip.to_string())));
        let endpoint = json!({ "Aliases": alias, "IPAMConfig": { "IPv4Address": four, "IPv6Address": six } });
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        far.post(&format!("/networks/{}/connect", percent_encoded(network)), &[], Some(&body))?;
        Ok(0)
    }
}

impl network::Disconnect {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { force, network, container } = self;
        let body = json!({ "Container": container, "Force": force });
        far.post(&format!("/networks/{}/disconnect", percent_encoded(network)), &[], Some(&body))?;
        Ok(0)
    }
}

impl network::Inspect {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { format, firewall, networks } = self;
        if *firewall {
            anyhow::bail!("--firewall cannot be sent to a daemon: its API has no word for it");
        }
        inspect(far, networks, format.as_ref(), &[Kind::Network])
    }
}

impl network::Ls {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let query = filters(&self.listing.filters(&daemon::network::FILTERS)?);
        let found = far.get("/networks", &query)?;
        let mut found: Vec<Value> = found.as_array().cloned().unwrap_or_default();
        found.sort_by_key(|network| text(&network["Name"]));
        self.print(&found)
    }
}

impl network::Rm {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { networks } = self;
        remove(far, "networks", networks)
    }
}

impl volume::Create {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { driver, options, label, name } = self;
        let body = json!({
            "Name": name.clone().unwrap_or_default(), "Driver": driver, "DriverOpts": labels(options), "Labels": labels(label),
        });
        say!("{}", text(&far.post("/volumes/create", &[], Some(&body))?["Name"]));
        Ok(0)
    }
}

impl volume::Inspect {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { format, volumes } = self;
        inspect(far, volumes, format.as_ref(), &[Kind::Volume])
    }
}

impl volume::Ls {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let query = filters(&self.listing.filters(&daemon::volume::FILTERS)?);
        let found = far.get("/volumes", &query)?;
        let mut found: Vec<Value> = found["Volumes"].as_array().cloned().unwrap_or_default();
        found.sort_by_key(|volume| text(&volume["Name"]));
        self.print(&found)
    }
}

impl volume::Rm {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { volumes } = self;
        remove(far, "volumes", volumes)
    }
}
