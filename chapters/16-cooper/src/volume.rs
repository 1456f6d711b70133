//! `volume`: directories that outlive containers.

use clap::{Args, Subcommand};
use containers::VolumeRequest;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::failure::each;
use crate::later::Later;
use crate::look::{json_only, print_documents};
use crate::stdout::say;
use crate::table::{Format, Listing, Rows};
use crate::values;

/// Manage volumes
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a volume
    Create(Later<Create>),
    /// Display detailed information on one or more volumes
    Inspect(Later<Inspect>),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Later<Ls>),
    /// Remove unused local volumes
    Prune(Later<crate::disk::PruneVolumes>),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Later<Rm>),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Create(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::Ls(command) => command.run(place),
            Self::Prune(command) => command.run(place),
            Self::Rm(command) => command.run(place),
        }
    }
}

/// Create a volume
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Specify volume driver name
    #[arg(short, long, default_value = containers::LOCAL)]
    pub(crate) driver: String,
    /// Set driver specific options
    #[arg(short, long = "opt", value_name = "NAME=VALUE")]
    pub(crate) options: Vec<String>,
    /// Set metadata for a volume
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// The volume's name; a random one if none is given
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
}

impl Create {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let request = VolumeRequest {
            name: self.name.clone(),
            driver: Some(self.driver.clone()),
            options: values::labels(&self.options),
            labels: values::labels(&self.label),
        };
        let (volume, _new) = place.engine()?.volumes().make(&request)?;
        say!("{}", volume.name);
        Ok(0)
    }
}

/// Display detailed information on one or more volumes
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) volumes: Vec<String>,
}

impl Inspect {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        print_documents(&self.volumes, self.format.as_ref(), |name| {
            Ok(daemon::volume::document(&engine, &engine.volumes().find(name)?))
        })
    }
}

/// List volumes
#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) listing: Listing,
}

impl Ls {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let filters = self.listing.filters(&daemon::volume::FILTERS)?;
        let engine = place.engine()?;
        let shown = engine.volumes().list()?.into_iter().filter(|v| daemon::volume::passes(v, &filters));
        self.print(&shown.map(|volume| daemon::volume::document(&engine, &volume)).collect::<Vec<_>>())
    }

    /// The listing of volumes in the API's shape.
    pub(crate) fn print(&self, shown: &[Value]) -> anyhow::Result<u8> {
        let mut rows = Rows::new(
            &[("Driver", "DRIVER"), ("Name", "VOLUME NAME")],
            &[("Mountpoint", "MOUNTPOINT"), ("Scope", "SCOPE")],
        );
        for volume in shown {
            if self.listing.quiet {
                say!("{}", volume["Name"].as_str().unwrap_or_default());
                continue;
            }
            let fields = json!({ "Driver": volume["Driver"], "Mountpoint": volume["Mountpoint"], "Name": volume["Name"],
                                 "Scope": volume["Scope"] });
            rows.add(fields, &std::collections::BTreeMap::new());
        }
        if !self.listing.quiet {
            crate::stdout::print(format_args!("{}", rows.render(&self.listing.format)?));
        }
        Ok(0)
    }
}

/// Remove one or more volumes
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) volumes: Vec<String>,
}

impl Rm {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        each(&self.volumes, |name| {
            engine.remove_volume(name)?;
            say!("{name}");
            Ok(())
        })
    }
}
