//! `system df`, `system prune`, `image prune`: disk, and giving it back.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::Args;
use containers::Engine;
use daemon::disk::{self, DiskUsage, PRUNE_FILTERS, Unused};
use daemon::{Filters, catalogue, words};
use serde_json::json;

use crate::cli::Place;
use crate::look::message;
use crate::stdout::say;
use crate::table::{Filtered, Format, Rows, Table, parse_format};

/// Show disk usage
///
/// As du counts it: an image takes its archives and its extracted layers, what two images share counts once.
#[derive(Args, Debug)]
pub(crate) struct Df {
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
    /// Format of the output: table, json (one object a line), or a template
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    format: Format,
}

impl Df {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let usage = disk::usage(&place.engine()?).map_err(message)?;
        match self.verbose {
            true => verbose(&usage),
            false => self.summary(&usage)?,
        }
        Ok(0)
    }

    fn summary(&self, usage: &DiskUsage) -> anyhow::Result<()> {
        let live = usage.containers.iter().filter(|used| used.live);
        let idle: u64 = usage.containers.iter().filter(|used| !used.live).map(|used| used.size).sum();
        let unused: u64 = usage.volumes.iter().filter(|used| used.users == 0).map(|used| used.size).sum();
        let rows = [
            (
                "Images",
                usage.images.len(),
                usage.images.iter().filter(|used| used.containers > 0).count(),
                usage.images_size,
                usage.images_reclaimable,
            ),
            (
                "Containers",
                usage.containers.len(),
                live.count(),
                usage.containers.iter().map(|used| used.size).sum(),
                idle,
            ),
            (
                "Local Volumes",
                usage.volumes.len(),
                usage.volumes.iter().filter(|used| used.users > 0).count(),
                usage.volumes.iter().map(|used| used.size).sum(),
                unused,
            ),
            ("Build Cache", usize::from(usage.build_cache > 0), 0, usage.build_cache, usage.build_cache),
        ];
        let mut listed = Rows::new(
            &[
                ("Type", "TYPE"),
                ("TotalCount", "TOTAL"),
                ("Active", "ACTIVE"),
                ("Size", "SIZE"),
                ("Reclaimable", "RECLAIMABLE"),
            ],
            &[],
        );
        for (kind, total, active, size, reclaimable) in rows {
            let share = (reclaimable * 100).checked_div(size).map_or(String::new(), |share| format!(" ({share}%)"));
            let row = json!({
                "Active": active.to_string(), "Reclaimable": format!("{}{share}", words::size(reclaimable)),
                "Size": words::size(size), "TotalCount": total.to_string(), "Type": kind,
            });
            listed.add(row, &BTreeMap::new());
        }
        crate::stdout::print(format_args!("{}", listed.render(&self.format)?));
        Ok(())
    }
}

fn verbose(usage: &DiskUsage) {
    let mut images = Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]);
    for used in &usage.images {
        for (repository, tag) in crate::image::names(&used.listed) {
            let sizes = [used.size, used.shared, used.size - used.shared].map(words::size);
            let id = used.listed.image.id.short().to_owned();
            images.row([repository, tag, id].into_iter().chain(sizes).chain([used.containers.to_string()]));
        }
    }
    let mut containers = Table::new(&["CONTAINER ID", "IMAGE", "LOCAL VOLUMES", "SIZE", "STATUS", "NAMES"]);
    for used in &usage.containers {
        let record = used.container.record();
        let volumes = record.mounts.iter().filter(|mount| matches!(mount.kind, containers::MountKind::Volume { .. }));
        let status = if used.live { "running" } else { "stopped" };
        let (image, volumes) = (record.options.image.clone(), volumes.count().to_string());
        let id = used.container.id().short().to_owned();
        containers.row([id, image, volumes, words::size(used.size), status.to_owned(), record.name.clone()]);
    }
    let mut volumes = Table::new(&["VOLUME NAME", "LINKS", "SIZE"]);
    for used in &usage.volumes {
        volumes.row([used.volume.name.clone(), used.users.to_string(), words::size(used.size)]);
    }
    say!("Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}");
    say!("Local Volumes space usage:\n\n{volumes}\nBuild cache usage: {}", words::size(usage.build_cache));
}

/// Remove unused images
#[derive(Args, Debug)]
pub(crate) struct PruneImages {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Provide filter values (e.g. "dangling=true")
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl PruneImages {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        // `--filter label!=KEY` has its own key in Docker's API, too: `label!`.
        let filters = Filtered::of(&self.filter).filters(&PRUNE_FILTERS)?;
        let what = match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        if !self.force && !confirmed(&format!("WARNING! This will remove {what}."))? {
            return Ok(0);
        }
        let engine = place.engine()?;
        let reclaimed = prune_images(&engine, self.all, &filters)?;
        say!("Total reclaimed space: {}", words::size(reclaimed));
        Ok(0)
    }
}

fn prune_images(engine: &Engine, all: bool, filters: &Filters) -> anyhow::Result<u64> {
    let unused = if all { Unused::All } else { Unused::Dangling };
    let pruned = disk::prune_images(engine, unused, filters).map_err(message)?;
    if !pruned.removed.is_empty() {
        say!("Deleted Images:");
        pruned.removed.iter().for_each(|removed| say!("{removed}"));
        say!("");
    }
    Ok(pruned.bytes)
}

/// Remove stopped containers, unused networks and images, and whatever a crash left behind
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let question = format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n\
             {}  - {}\n  - the build cache",
            if self.volumes { "  - all anonymous volumes not used by at least one container\n" } else { "" },
            match self.all {
                true => "all images without at least one container associated to them",
                false => "all dangling images",
            }
        );
        if !self.force && !confirmed(&question)? {
            return Ok(0);
        }
        let engine = place.engine()?;
        let pruned = engine.prune()?;
        deleted("Containers", &pruned.containers);
        deleted("Networks", &engine.networks().prune()?);
        let mut bytes = pruned.bytes;
        if self.volumes {
            bytes += prune_volumes(&engine, Unused::Dangling)?;
        }
        bytes += prune_images(&engine, self.all, &Filters::default())?;
        let collected = catalogue::collect(&engine, None).map_err(message)?;
        if collected.postponed {
            eprintln!("cooper: a pull, build or load is going on: what no image needs was left for the next prune");
        }
        say!("Total reclaimed space: {}", words::size(bytes + collected.bytes));
        Ok(0)
    }
}

/// Remove all stopped containers
#[derive(Args, Debug)]
pub(crate) struct PruneContainers {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl PruneContainers {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if !self.force && !confirmed("WARNING! This will remove all stopped containers.")? {
            return Ok(0);
        }
        let pruned = place.engine()?.prune()?;
        deleted("Containers", &pruned.containers);
        say!("Total reclaimed space: {}", words::size(pruned.bytes));
        Ok(0)
    }
}

/// Remove unused local volumes
#[derive(Args, Debug)]
pub(crate) struct PruneVolumes {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl PruneVolumes {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let what = if self.all { "all" } else { "anonymous" };
        let question = format!("WARNING! This will remove {what} local volumes not used by at least one container.");
        if !self.force && !confirmed(&question)? {
            return Ok(0);
        }
        let unused = if self.all { Unused::All } else { Unused::Dangling };
        let bytes = prune_volumes(&place.engine()?, unused)?;
        say!("Total reclaimed space: {}", words::size(bytes));
        Ok(0)
    }
}

/// Volumes that no container uses: bytes that came back.
fn prune_volumes(engine: &Engine, unused: Unused) -> anyhow::Result<u64> {
    let (gone, bytes) = daemon::volume::prune_volumes(engine, unused, &Filters::default()).map_err(message)?;
    deleted("Volumes", &gone);
    Ok(bytes)
}

fn deleted(what: &str, names: &[impl std::fmt::Display]) {
    if !names.is_empty() {
        say!("Deleted {what}:");
        names.iter().for_each(|name| say!("{name}"));
        say!("");
    }
}

pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    eprint!("{question}\n\nAre you sure you want to continue? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
