//! `ps`, `inspect`, `port`, `top`, `diff`: what is there.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use containers::{MountKind, Status, processes};
use daemon::summary::{self, Summary};
use daemon::{Filters, words};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::failure::{Exit, render};
use crate::stdout::say;
use crate::table::{Format, Listing, Rows, Table, ellipsis, short_id};

/// List containers
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

impl Ps {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let filters = self.listing.filters(&summary::FILTERS)?;
        let last = self.last.or(self.latest.then_some(1));
        let engine = place.engine()?;
        let survey = engine.survey()?;
        for (id, error) in survey.damaged {
            eprintln!("cooper: container {}: {error}", id.short());
            eprintln!("hint: `cooper rm -f {}` removes it", id.short());
        }
        let mut found = summary::list(&engine, survey.sound, self.all || last.is_some(), &filters).map_err(message)?;
        found.truncate(last.unwrap_or(usize::MAX));
        let now = Timestamp::now();
        let rows = found.iter().map(|summary| {
            // Counting takes a walk over files: only for who wants to see it.
            let size = self.size.then(|| summary::size(&engine, &summary.container)).transpose().map_err(message)?;
            Ok(ContainerRow::of(summary, size, now))
        });
        crate::stdout::print(format_args!("{}", self.render(&rows.collect::<anyhow::Result<Vec<_>>>()?, now)?));
        Ok(0)
    }

    /// The listing, of containers of whichever engine.
    pub(crate) fn render(&self, rows: &[ContainerRow], now: Timestamp) -> anyhow::Result<String> {
        let listing = &self.listing;
        if listing.quiet {
            return Ok(rows.iter().map(|row| listing.id(&row.id) + "\n").collect());
        }
        let mut listed = Rows::new(if self.size { &SHOWN_WITH_SIZE } else { &SHOWN }, &MORE);
        for row in rows {
            listed.add(row.fields(listing, now), &row.labels);
        }
        listed.render(&listing.format)
    }
}

/// What `ps` shows of a container.
#[derive(Debug)]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) command: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    /// How many of the mounts are volumes.
    pub(crate) volumes: usize,
    pub(crate) mounts: Vec<String>,
    pub(crate) names: String,
    pub(crate) networks: String,
    pub(crate) ports: String,
    pub(crate) state: String,
    pub(crate) status: String,
    /// Of the files, if it was asked for.
    pub(crate) size: Option<String>,
}

impl ContainerRow {
    fn of(summary: &Summary, size: Option<String>, now: Timestamp) -> Self {
        let record = summary.container.record();
        Self {
            id: record.id.to_string(),
            image: record.options.image.clone(),
            command: summary.command(),
            created: record.created,
            labels: record.settings.labels.clone(),
            volumes: record.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { .. })).count(),
            mounts: summary.mounts(),
            names: record.name.clone(),
            networks: summary.networks(),
            ports: summary.ports(),
            state: summary.life.status.as_str().to_owned(),
            status: summary.status(now),
            size,
        }
    }

    fn fields(&self, listing: &Listing, now: Timestamp) -> Value {
        let whole = listing.no_trunc;
        let cut = |text: &str, most| if whole { text.to_owned() } else { ellipsis(text, most) };
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> = self.mounts.iter().map(|name| cut(name, 15)).collect();
        let created = self.created.to_zoned(TimeZone::system());
        json!({
            "Command": format!("{:?}", cut(&self.command, 20)),
            "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
            "ID": listing.id(&self.id),
            "Image": self.image,
            "Labels": labels.join(","),
            "LocalVolumes": self.volumes.to_string(),
            "Mounts": mounts.join(","),
            "Names": self.names,
            "Networks": self.networks,
            "Ports": self.ports,
            "RunningFor": format!("{} ago", words::duration(words::since(self.created, now))),
            "Size": self.size.as_deref().unwrap_or("0B"),
            "State": self.state,
            "Status": self.status,
        })
    }
}

/// The columns of `ps`.
const SHOWN: [(&str, &str); 7] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

/// The same with `-s`.
const SHOWN_WITH_SIZE: [(&str, &str); 8] =
    [SHOWN[0], SHOWN[1], SHOWN[2], SHOWN[3], SHOWN[4], SHOWN[5], SHOWN[6], ("Size", "SIZE")];

/// What only JSON and templates show.
const MORE: [(&str, &str); 7] = [
    ("CreatedAt", "CREATED AT"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("Size", "SIZE"),
    ("State", "STATE"),
];

/// Return low-level information on containers and images
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Only inspect objects of the given type
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(crate) kind: Option<Kind>,
    /// Format of the output: json, or a template ('{{.State.Status}}')
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

/// `--format` of `inspect` and its kin, which have no table.
pub(crate) fn json_only(text: &str) -> Result<Format, String> {
    match crate::table::parse_format(text)? {
        Format::Table | Format::Columns(_) => Err("there is no table of this: use json or a template".to_owned()),
        format => Ok(format),
    }
}

impl Inspect {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        print_documents(&self.names, self.format.as_ref(), |name| {
            let kinds = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];
            let kinds = self.kind.map_or(kinds.to_vec(), |kind| vec![kind]);
            let found = kinds.iter().find_map(|kind| match kind {
                Kind::Container => engine.find(name).ok().map(|c| engine.inspect(c.id()).map_err(Into::into)),
                Kind::Image => daemon::image::inspect(&engine, name).ok().map(Ok),
                Kind::Network => daemon::network::find(&engine, name).ok().map(Ok),
                Kind::Volume => engine.volumes().find(name).ok().map(|v| Ok(daemon::volume::document(&engine, &v))),
            });
            found.with_context(|| format!("no such object: {name}"))?
        })
    }
}

/// Prints documents as one JSON array, or as one line each; names that are none are reported after them.
pub(crate) fn print_documents(
    names: &[String],
    format: Option<&Format>,
    find: impl Fn(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<u8> {
    let (mut documents, mut failures) = (Vec::new(), String::new());
    for name in names {
        match find(name) {
            Ok(document) => documents.push(document),
            Err(error) => failures.push_str(&render(&error)),
        }
    }
    match format {
        Some(format) => {
            for document in &documents {
                say!("{}", format.document(document)?);
            }
        }
        None => say!("{}", pretty(&documents)?),
    }
    eprint!("{failures}");
    if failures.is_empty() { Ok(0) } else { Err(Exit(1).into()) }
}

/// JSON with docker's indentation.
fn pretty(documents: &[Value]) -> anyhow::Result<String> {
    use serde::Serialize as _;
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    documents.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))?;
    Ok(String::from_utf8(text)?)
}

/// List port mappings or a specific mapping for the container
#[derive(Args, Debug)]
pub(crate) struct Port {
    /// Name or id
    pub(crate) container: String,
    /// A port of the container, with or without /tcp or /udp
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub(crate) port: Option<String>,
}

impl Port {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let container = place.engine()?.find(&self.container)?;
        let life = container.life()?;
        let ports: Vec<_> = life.ports.iter().map(|port| (summary::target_of(port), port.host().to_string())).collect();
        self.print(&ports, life.status == Status::Running)
    }

    /// Prints those that were asked for: of each port of the container where it is published.
    pub(crate) fn print(&self, ports: &[(String, String)], running: bool) -> anyhow::Result<u8> {
        let asked = self.port.as_ref().map(|port| match port.contains('/') {
            true => port.clone(),
            false => format!("{port}/tcp"),
        });
        let ports = ports.iter().filter(|(target, _)| asked.as_ref().is_none_or(|asked| asked == target));
        let lines: Vec<String> = ports
            .map(|(target, host)| match asked {
                Some(_) => host.clone(),
                None => format!("{target} -> {host}"),
            })
            .collect();
        match (lines.is_empty(), &asked) {
            (true, Some(asked)) => bail!("no public port '{asked}' published for {}", self.container),
            (true, None) if !running => Ok(0),
            _ => {
                lines.iter().for_each(|line| say!("{line}"));
                Ok(0)
            }
        }
    }
}

/// Display the running processes of a container
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Name or id
    pub(crate) container: String,
}

impl Top {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let mut table = Table::new(&processes::TITLES);
        for row in engine.processes(engine.find(&self.container)?.id())? {
            table.row(row.cells(now, &zone));
        }
        crate::stdout::print(format_args!("{table}"));
        Ok(0)
    }
}

/// Inspect changes to files or directories on a container's filesystem
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// Name or id
    pub(crate) container: String,
}

impl Diff {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        engine.changes(engine.find(&self.container)?.id())?.iter().for_each(|change| say!("{change}"));
        Ok(0)
    }
}

/// The daemon's errors carry an HTTP status too; here the sentence is enough.
pub(crate) fn message(error: daemon::ApiError) -> anyhow::Error {
    anyhow::anyhow!(error.message)
}

impl Listing {
    /// The filters that were given.
    ///
    /// # Errors
    /// As [`Filtered::filters`](crate::table::Filtered::filters).
    pub(crate) fn filters(&self, known: &[&str]) -> anyhow::Result<Filters> {
        self.filter.filters(known)
    }

    /// An id as the listing shows it.
    pub(crate) fn id(&self, id: &str) -> String {
        match self.no_trunc {
            true => id.to_owned(),
            false => short_id(id),
        }
    }
}
