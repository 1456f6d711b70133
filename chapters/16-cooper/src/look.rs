//! `ps`, `inspect`, `port`, `top`, `diff`: what is there.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use containers::{Engine, MountKind, Status, processes};
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
    all: bool,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[command(flatten)]
    listing: Listing,
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
        let mut rows = summary::list(&engine, survey.sound, self.all || last.is_some(), &filters).map_err(message)?;
        rows.truncate(last.unwrap_or(usize::MAX));
        crate::stdout::print(format_args!("{}", render_containers(&engine, &rows, self, Timestamp::now())?));
        Ok(0)
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

fn render_containers(engine: &Engine, rows: &[Summary], ps: &Ps, now: Timestamp) -> anyhow::Result<String> {
    let listing = &ps.listing;
    let id = |row: &Summary| listing.id(row.container.id().as_str());
    if listing.quiet {
        return Ok(rows.iter().map(|row| id(row) + "\n").collect());
    }
    let mut listed = Rows::new(if ps.size { &SHOWN_WITH_SIZE } else { &SHOWN }, &MORE);
    for row in rows {
        let mut fields = container_json(row, id(row), now, listing.no_trunc);
        // Counting takes a walk over files: only for who wants to see it.
        let size = ps.size.then(|| daemon::summary::size(engine, &row.container)).transpose().map_err(message)?;
        fields["Size"] = size.unwrap_or_else(|| "0B".to_owned()).into();
        listed.add(fields, &row.container.record().settings.labels);
    }
    listed.render(&listing.format)
}

fn container_json(row: &Summary, id: String, now: Timestamp, whole: bool) -> Value {
    let record = row.container.record();
    let labels: Vec<String> = record.settings.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let command = if whole { row.command() } else { ellipsis(&row.command(), 20) };
    let mounts = row.mounts();
    let volumes = record.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { .. })).count();
    let mounts: Vec<String> = mounts.iter().map(|name| if whole { name.clone() } else { ellipsis(name, 15) }).collect();
    json!({
        "Command": format!("{command:?}"),
        "CreatedAt": record.created.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        "ID": id,
        "Image": record.options.image,
        "Labels": labels.join(","),
        "LocalVolumes": volumes.to_string(),
        "Mounts": mounts.join(","),
        "Names": record.name,
        "Networks": row.networks(),
        "Ports": row.ports(),
        "RunningFor": format!("{} ago", words::duration(words::since(record.created, now))),
        "State": row.life.status.as_str(),
        "Status": row.status(now),
    })
}

/// Return low-level information on containers and images
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Only inspect objects of the given type
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Format of the output: json, or a template ('{{.State.Status}}')
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    format: Option<Format>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
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
    container: String,
    /// A port of the container, with or without /tcp or /udp
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

impl Port {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let container = place.engine()?.find(&self.container)?;
        let life = container.life()?;
        let asked = self.port.as_ref().map(|port| match port.contains('/') {
            true => port.clone(),
            false => format!("{port}/tcp"),
        });
        let ports = life.ports.iter().filter(|port| asked.as_ref().is_none_or(|a| *a == summary::target_of(port)));
        let lines: Vec<String> = ports
            .map(|port| match asked {
                Some(_) => port.host().to_string(),
                None => format!("{} -> {}", summary::target_of(port), port.host()),
            })
            .collect();
        match (lines.is_empty(), &asked) {
            (true, Some(asked)) => bail!("no public port '{asked}' published for {}", self.container),
            (true, None) if life.status != Status::Running => Ok(0),
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
    container: String,
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
    container: String,
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
