//! `stats` and `events`: what goes on.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use containers::events::Next;
use containers::{All, Container, Engine, Event, EventOptions, Status, Usage};
use daemon::words;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::stdout::say;
use crate::table::{Filtered, Format, Rows, parse_format, short_id};
use crate::values;

/// From one look to the next.
const TICK: Duration = Duration::from_secs(1);

/// Display a live stream of container(s) resource usage statistics
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Format of the output: table, json (one object a line), or a template
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    pub(crate) format: Format,
    /// Names or ids; all that run, if none is given
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// A container, and a look at what it uses: none where it does not run.
type Look = (Container, Option<Usage>);

/// What `stats` shows of a container.
#[derive(Debug)]
pub(crate) struct StatsRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// None where it does not run.
    pub(crate) figures: Option<Figures>,
}

/// What a running container uses, in bytes where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    /// Percent of one cpu, since the look before.
    pub(crate) cpu: f64,
    pub(crate) memory: u64,
    pub(crate) limit: u64,
    /// Received and sent.
    pub(crate) traffic: (u64, u64),
    /// Read and written.
    pub(crate) disk: (u64, u64),
    /// How many processes and threads.
    pub(crate) pids: u64,
}

impl Stats {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let mut before = self.look(&engine)?;
        self.show(|| {
            std::thread::sleep(TICK);
            let now = self.look(&engine)?;
            let rows = now.iter().map(|(container, usage)| {
                let earlier = before.iter().find(|(other, _)| other.id() == container.id());
                let earlier = earlier.and_then(|(_, usage)| usage.as_ref());
                StatsRow {
                    id: container.id().to_string(),
                    name: container.name().to_owned(),
                    labels: container.record().settings.labels.clone(),
                    figures: usage.as_ref().map(|usage| Figures::of(usage, earlier)),
                }
            });
            let rows = rows.collect();
            before = now;
            Ok(rows)
        })
    }

    /// Prints what `next` finds, once or again and again. It takes its time itself.
    pub(crate) fn show(&self, mut next: impl FnMut() -> anyhow::Result<Vec<StatsRow>>) -> anyhow::Result<u8> {
        loop {
            let text = self.rows(&next()?).render(&self.format)?;
            if self.no_stream {
                crate::stdout::print(format_args!("{text}"));
                return Ok(0);
            }
            // The screen is cleared only where there is one: whoever reads a pipe wants lines.
            let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
            crate::stdout::print(format_args!("{clear}{text}"));
        }
    }

    fn look(&self, engine: &Engine) -> anyhow::Result<Vec<Look>> {
        let containers = match self.containers.is_empty() {
            true => engine.list(if self.all { All::Yes } else { All::No })?,
            false => self.containers.iter().map(|name| engine.find(name)).collect::<Result<_, _>>()?,
        };
        let look = |container: Container| {
            let usage = match engine.usage(container.id()) {
                // It ended between the listing and the look.
                Err(containers::Error::WrongState { .. } | containers::Error::NoSuchContainer(_)) => None,
                Err(_) if container.life()?.status != Status::Running => None,
                usage => Some(usage?),
            };
            Ok((container, usage))
        };
        containers.into_iter().map(look).collect()
    }

    fn rows(&self, found: &[StatsRow]) -> Rows {
        let mut rows = Rows::new(
            &[
                ("ID", "CONTAINER ID"),
                ("Name", "NAME"),
                ("CPUPerc", "CPU %"),
                ("MemUsage", "MEM USAGE / LIMIT"),
                ("MemPerc", "MEM %"),
                ("NetIO", "NET I/O"),
                ("BlockIO", "BLOCK I/O"),
                ("PIDs", "PIDS"),
            ],
            &[("Container", "CONTAINER")],
        );
        for found in found {
            let id = if self.no_trunc { found.id.clone() } else { short_id(&found.id) };
            let mut row = row(found.figures.as_ref());
            row["Container"] = self.containers.iter().find(|name| **name == found.name).unwrap_or(&id).as_str().into();
            row["ID"] = id.into();
            row["Name"] = found.name.as_str().into();
            rows.add(row, &found.labels);
        }
        rows
    }
}

impl Figures {
    fn of(usage: &Usage, before: Option<&Usage>) -> Self {
        Self {
            cpu: before.map_or(0.0, |before| usage.cpu_percent(before)),
            memory: usage.memory(),
            limit: usage.memory_limit,
            traffic: usage.traffic(),
            disk: usage.disk(),
            pids: usage.counted.pids.current,
        }
    }
}

/// The cells; dashes where there is nothing to look at.
fn row(figures: Option<&Figures>) -> Value {
    let Some(it) = figures else {
        return json!({ "CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "NetIO": "-- / --",
                       "BlockIO": "-- / --", "PIDs": "--" });
    };
    let percent = |part: f64| format!("{part:.2}%");
    let pair = |(one, other): (u64, u64)| format!("{} / {}", words::size(one), words::size(other));
    json!({
        "CPUPerc": percent(it.cpu),
        "MemUsage": format!("{} / {}", words::binary_size(it.memory), words::binary_size(it.limit)),
        "MemPerc": percent(it.memory as f64 / it.limit.max(1) as f64 * 100.0),
        "NetIO": pair(it.traffic),
        "BlockIO": pair(it.disk),
        "PIDs": it.pids.to_string(),
    })
}

/// Get real time events from the engine
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Show all events created since timestamp (2013-01-02T13:23:37Z) or relative (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) filter: Filtered,
    /// Format of the output: json (one object a line), or a template
    #[arg(long, value_name = "FORMAT", value_parser = crate::look::json_only)]
    pub(crate) format: Option<Format>,
}

impl Events {
    /// When.
    ///
    /// # Errors
    /// A time that is none; an end before the beginning.
    pub(crate) fn options(&self) -> anyhow::Result<EventOptions> {
        let now = Timestamp::now();
        let moment = |text: &Option<String>| {
            let read = text.as_deref().map(|text| values::moment(text, now));
            read.transpose().map_err(|error| anyhow!(error))
        };
        let options = EventOptions { since: moment(&self.since)?, until: moment(&self.until)? };
        if let (Some(since), Some(until)) = (options.since, options.until)
            && since > until
        {
            bail!("--since is later than --until");
        }
        Ok(options)
    }

    /// Prints an event, of whichever engine.
    pub(crate) fn print(&self, event: &Event) -> anyhow::Result<()> {
        match &self.format {
            Some(format) => say!("{}", format.document(&daemon::events::document(event))?),
            None => say!("{}", line(event)),
        }
        Ok(())
    }

    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let options = self.options()?;
        let filters = self.filter.filters(&daemon::events::FILTERS)?;
        let mut events = place.engine()?.events().follow(options)?;
        loop {
            match events.within(Duration::from_secs(3600))? {
                Next::End => return Ok(0),
                Next::Event(event) if daemon::events::passes(&event, &filters) => self.print(&event)?,
                Next::Event(_) | Next::Quiet => {}
            }
        }
    }
}

/// `2026-01-02T03:04:05.678901234+01:00 container start 4f... (image=site, name=web)`
fn line(event: &Event) -> String {
    let time = event.at().to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z");
    let attributes = event.actor.attributes.iter().map(|(name, value)| format!("{name}={value}"));
    let attributes = attributes.collect::<Vec<_>>().join(", ");
    let attributes = if attributes.is_empty() { attributes } else { format!(" ({attributes})") };
    format!("{time} {} {} {}{attributes}", event.kind, event.action, event.actor.id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_is_one_line_as_docker_prints_it() {
        let event = Event::now("container", "start", "4f0c").with("name", "web").with("image", "site");
        let line = line(&event);
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(rest, "container start 4f0c (image=site, name=web)");
        assert_eq!(time.parse::<Timestamp>().unwrap(), event.at());
    }

    #[test]
    fn what_does_not_run_has_dashes() {
        assert_eq!(row(None)["MemUsage"], "-- / --");
    }
}
