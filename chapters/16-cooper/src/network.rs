//! `network`: who can reach whom.

use ::network::{NetworkName, NetworkSpec};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Place;
use crate::failure::each;
use crate::look::{json_only, message, print_documents};
use crate::stdout::say;
use crate::table::{Format, Listing, Rows};
use crate::values;

/// Manage networks
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a network
    Create(Create),
    /// Display detailed information on one or more networks
    Inspect(Inspect),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(Rm),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Create(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::Ls(command) => command.run(place),
            Self::Rm(command) => command.run(place),
        }
    }
}

/// Create a network
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Driver to manage the Network
    #[arg(short, long, default_value = "bridge", value_parser = ["bridge"])]
    driver: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long)]
    subnet: Option<ipnet::Ipv4Net>,
    /// IPv4 Gateway for the subnet
    #[arg(long, requires = "subnet")]
    gateway: Option<std::net::Ipv4Addr>,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// The network's name
    #[arg(value_name = "NETWORK")]
    name: NetworkName,
}

impl Create {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let spec = NetworkSpec {
            subnet: self.subnet,
            gateway: self.gateway,
            internal: self.internal,
            labels: values::labels(&self.label),
            ..NetworkSpec::named(self.name.clone())
        };
        let engine = place.engine()?;
        let network = engine.networks().create(spec)?;
        say!("{}", network.id);
        Ok(0)
    }
}

/// Display detailed information on one or more networks
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    format: Option<Format>,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Inspect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        print_documents(&self.networks, self.format.as_ref(), |name| {
            daemon::network::find(&engine, name).map_err(message)
        })
    }
}

/// List networks
#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    listing: Listing,
}

impl Ls {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let filters = self.listing.filters(&daemon::network::FILTERS)?;
        let all = daemon::network::documents(&place.engine()?).map_err(message)?;
        let shown = all.iter().filter(|network| daemon::network::passes(network, &filters));
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
        "CreatedAt": network["Created"], "Driver": network["Driver"], "ID": id, "IPv6": "false",
        "Internal": network["Internal"].to_string(), "Name": network["Name"], "Scope": network["Scope"],
    })
}

/// Remove one or more networks
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
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
