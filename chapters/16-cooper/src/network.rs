//! `network`: who can reach whom.

use ::network::{Driver, NetworkName, NetworkSpec};
use anyhow::bail;
use clap::{Args, Subcommand};
use containers::Connection;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::failure::each;
use crate::later::Later;
use crate::look::{json_only, message, print_documents};
use crate::stdout::say;
use crate::table::{Filtered, Format, Listing, Rows};
use crate::values;

/// Manage networks
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Connect a container to a network
    Connect(Later<Connect>),
    /// Create a network
    Create(Later<Create>),
    /// Disconnect a container from a network
    Disconnect(Later<Disconnect>),
    /// Display detailed information on one or more networks
    Inspect(Later<Inspect>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Later<Ls>),
    /// Remove all unused networks
    Prune(Later<Prune>),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(Later<Rm>),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Connect(command) => command.run(place),
            Self::Create(command) => command.run(place),
            Self::Disconnect(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::Ls(command) => command.run(place),
            Self::Prune(command) => command.run(place),
            Self::Rm(command) => command.run(place),
        }
    }
}

/// Create a network
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Driver to manage the Network: bridge, or cni:PLUGIN
    #[arg(short, long, default_value = "bridge")]
    pub(crate) driver: Driver,
    /// Subnet in CIDR format that represents a network segment: one of IPv4, one of IPv6
    #[arg(long)]
    pub(crate) subnet: Vec<ipnet::IpNet>,
    /// Gateway for the subnet
    #[arg(long, requires = "subnet")]
    pub(crate) gateway: Vec<std::net::IpAddr>,
    /// Allocate container ip from a sub-range
    #[arg(long, requires = "subnet", value_name = "CIDR")]
    pub(crate) ip_range: Vec<ipnet::IpNet>,
    /// Enable IPv6 networking
    #[arg(long)]
    ipv6: bool,
    /// Restrict external access to the network
    #[arg(long)]
    pub(crate) internal: bool,
    /// Set driver specific options
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
    /// Set metadata on a network
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// The network's name
    #[arg(value_name = "NETWORK")]
    pub(crate) name: NetworkName,
}

impl Create {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let spec = self.spec()?;
        let engine = place.engine()?;
        let network = engine.networks().create(spec)?;
        say!("{}", network.id);
        Ok(0)
    }

    /// The network that is asked for.
    ///
    /// # Errors
    /// A gateway or a range that lies in none of the subnets.
    pub(crate) fn spec(&self) -> anyhow::Result<NetworkSpec> {
        let mut spec = NetworkSpec {
            driver: self.driver.clone(),
            ipv6: self.ipv6,
            internal: self.internal,
            options: values::labels(&self.opt),
            labels: values::labels(&self.label),
            ..NetworkSpec::named(self.name.clone())
        };
        let (mut gateways, mut ranges) = (self.gateway.clone(), self.ip_range.clone());
        for subnet in &self.subnet {
            let gateway = gateways.iter().position(|gateway| subnet.contains(gateway)).map(|at| gateways.remove(at));
            let range = ranges.iter().position(|range| subnet.contains(range)).map(|at| ranges.remove(at));
            spec.add_subnet(*subnet, gateway, range)?;
        }
        if let Some(gateway) = gateways.first() {
            bail!("no matching subnet for gateway {gateway}");
        }
        if let Some(range) = ranges.first() {
            bail!("no matching subnet for range {range}");
        }
        Ok(spec)
    }
}

/// Connect a container to a network
#[derive(Args, Debug)]
pub(crate) struct Connect {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::Ipv4Addr>,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<std::net::Ipv6Addr>,
    /// Name or id of the network
    pub(crate) network: String,
    /// Name or id of the container
    pub(crate) container: String,
}

impl Connect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let network = daemon::network::name_of(&engine, &self.network).map_err(message)?;
        let connection =
            Connection { network, aliases: self.alias.clone(), ip: self.ip, ip6: self.ip6, ..Connection::default() };
        engine.connect_network(engine.find(&self.container)?.id(), connection)?;
        Ok(0)
    }
}

/// Disconnect a container from a network
#[derive(Args, Debug)]
pub(crate) struct Disconnect {
    /// Force the container to disconnect from a network: the same, for nobody is asked
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Name or id of the network
    pub(crate) network: String,
    /// Name or id of the container
    pub(crate) container: String,
}

impl Disconnect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        // A network that was removed by hand can still be left.
        let network = match daemon::network::name_of(&engine, &self.network) {
            Err(_) if self.force => self.network.clone(),
            found => found.map_err(message)?,
        };
        engine.disconnect_network(engine.find(&self.container)?.id(), &network)?;
        Ok(0)
    }
}

/// Remove all unused networks
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Provide filter values (e.g. "label=KEY=VALUE")
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let filters = Filtered::of(&self.filter).filters(&["label"])?;
        let question = "WARNING! This will remove all custom networks not used by at least one container.";
        if !self.force && !crate::disk::confirmed(question)? {
            return Ok(0);
        }
        let removed = daemon::network::prune_networks(&place.engine()?, &filters).map_err(message)?;
        if !removed.is_empty() {
            say!("Deleted Networks:");
            removed.iter().for_each(|name| say!("{name}"));
            say!("");
        }
        Ok(0)
    }
}

/// Display detailed information on one or more networks
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
    /// Show the rules that the firewall has for the network
    #[arg(long, conflicts_with = "format")]
    pub(crate) firewall: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

impl Inspect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        if self.firewall {
            return each(&self.networks, |name| {
                let rules = daemon::network::firewall(&engine, name).map_err(message)?;
                crate::stdout::print(format_args!("{rules}"));
                Ok(())
            });
        }
        print_documents(&self.networks, self.format.as_ref(), |name| {
            daemon::network::find(&engine, name).map_err(message)
        })
    }
}

/// List networks
#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) listing: Listing,
}

impl Ls {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let filters = self.listing.filters(&daemon::network::FILTERS)?;
        let all = daemon::network::documents(&place.engine()?).map_err(message)?;
        let shown: Vec<_> = all.into_iter().filter(|network| daemon::network::passes(network, &filters)).collect();
        self.print(&shown)
    }

    /// The listing of networks in the API's shape.
    pub(crate) fn print(&self, shown: &[Value]) -> anyhow::Result<u8> {
        let mut rows = Rows::new(
            &[("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE")],
            &[("CreatedAt", "CREATED AT"), ("IPv6", "IPV6"), ("Internal", "INTERNAL"), ("Labels", "LABELS")],
        );
        for network in shown {
            let id = self.listing.id(network["Id"].as_str().unwrap_or_default());
            match self.listing.quiet {
                true => say!("{id}"),
                false => {
                    rows.add(line(network, &id), &serde_json::from_value(network["Labels"].clone()).unwrap_or_default())
                }
            }
        }
        if !self.listing.quiet {
            crate::stdout::print(format_args!("{}", rows.render(&self.listing.format)?));
        }
        Ok(0)
    }
}

fn line(network: &Value, id: &str) -> Value {
    json!({
        "CreatedAt": network["Created"], "Driver": network["Driver"], "ID": id, "IPv6": network["EnableIPv6"].to_string(),
        "Internal": network["Internal"].to_string(), "Labels": labels(network), "Name": network["Name"], "Scope": network["Scope"],
    })
}

/// `a=b,c=d`.
fn labels(network: &Value) -> String {
    let pairs = network["Labels"].as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

/// Remove one or more networks
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

impl Rm {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        each(&self.networks, |name| {
            daemon::network::remove_network(&engine, name).map_err(message)?;
            say!("{name}");
            Ok(())
        })
    }
}
