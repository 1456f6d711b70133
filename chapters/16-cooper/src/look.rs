//! `ps`, `inspect`, `port`, `top`, `diff`: what is there.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use containers::{All, MountKind, Status, processes};
use daemon::summary::{self, Summary};
use daemon::{Filters, words};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

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
        let all = if self.all || last.is_some() { All::Yes } else { All::No };
        let mut rows = Vec::new();
        for found in engine.each()? {
            match found {
                Ok(container) => {
                    let summary = Summary::of(&engine, container).map_err(message)?;
                    let row = || ContainerRow::of(&summary, Timestamp::now());
                    rows.extend(summary.is_listed(all, &filters).then(row));
                }
                Err((id, error)) => {
                    eprintln!("cooper: container {}: {error}", id.short());
                    eprintln!("hint: `cooper rm -f {}` removes it", id.short());
                }
            }
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.created));
        rows.truncate(last.unwrap_or(usize::MAX));
        if self.size {
            // Counting takes a walk over files: only for who wants to see it.
            for row in &mut rows {
                row.size = Some(summary::size(&engine, &row.id.parse()?).map_err(message)?);
            }
        }
        crate::stdout::print(format_args!("{}", self.render(&rows, Timestamp::now())?));
        Ok(0)
    }

    /// The listing, of containers of whichever engine.
    pub(crate) fn render(&self, rows: &[ContainerRow], now: Timestamp) -> anyhow::Result<String> {
        let listing = &self.listing;
        if listing.quiet {
            return Ok(rows.iter().map(|row| listing.id(&row.id) + "\n").collect());
        }
        let shown: &[_] = if self.size { &SHOWN_WITH_SIZE } else { &SHOWN };
        let zone = TimeZone::system();
        let field = |row: &ContainerRow, name: &str| row.field(name, listing, now, &zone);
        if listing.format == Format::Table {
            // A thousand rows of text need not be documents first.
            let mut table = Table::new(&shown.iter().map(|(_, heading)| *heading).collect::<Vec<_>>());
            rows.iter().for_each(|row| table.row(shown.iter().map(|(name, _)| field(row, name))));
            return Ok(table.to_string());
        }
        let mut listed = Rows::new(shown, &MORE);
        let names = listed.names();
        for row in rows {
            let fields = names.iter().map(|name| ((*name).to_owned(), field(row, name).into()));
            listed.add(Value::Object(fields.collect()), &row.labels);
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
    fn of(summary: &Summary, now: Timestamp) -> Self {
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
            size: None,
        }
    }

    /// One of its fields, as text. Most listings show half of them.
    fn field(&self, name: &str, listing: &Listing, now: Timestamp, zone: &TimeZone) -> String {
        let cut = |text: &str, most| if listing.no_trunc { text.to_owned() } else { ellipsis(text, most) };
        match name {
            "Command" => format!("{:?}", cut(&self.command, 20)),
            "CreatedAt" => self.created.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
            "ID" => listing.id(&self.id),
            "Image" => self.image.clone(),
            "Labels" => self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
            "LocalVolumes" => self.volumes.to_string(),
            "Mounts" => self.mounts.iter().map(|name| cut(name, 15)).collect::<Vec<_>>().join(","),
            "Names" => self.names.clone(),
            "Networks" => self.networks.clone(),
            "Ports" => self.ports.clone(),
            "RunningFor" => format!("{} ago", words::duration(words::since(self.created, now))),
            "Size" => self.size.clone().unwrap_or_else(|| "0B".to_owned()),
            "State" => self.state.clone(),
            "Status" => self.status.clone(),
            other => unreachable!("no column of ps is called {other}"),
        }
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
