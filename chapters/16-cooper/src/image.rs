//! `images`, `rmi`, `tag`, `history`, and the same under `image`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use daemon::catalogue::{self, Listed};
use daemon::words;
use images::Reference;
use jiff::Timestamp;
use serde_json::json;

use crate::acquire;
use crate::anatomy;
use crate::archive;
use crate::cli::Place;
use crate::disk;
use crate::explore;
use crate::failure::each;
use crate::flags::Pull;
use crate::later::Later;
use crate::look::{json_only, message, print_documents};
use crate::stdout::say;
use crate::table::{Format, Listing, Rows, ellipsis, parse_format};
use crate::transfer;

/// Manage images
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List images
    #[command(visible_alias = "list")]
    Ls(Later<Ls>),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(Later<Rm>),
    /// Build an image from a Dockerfile
    Build(Later<crate::build::Build>),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(Later<Tag>),
    /// Display detailed information on one or more images
    Inspect(Later<Inspect>),
    /// Show the history of an image
    History(Later<History>),
    /// Save one or more images to a tar archive
    Save(Later<archive::Save>),
    /// Load an image from a tar archive or STDIN
    Load(Later<archive::Load>),
    /// Import the contents from a tarball to create a filesystem image
    Import(Later<archive::Import>),
    /// Remove unused images
    Prune(Later<disk::PruneImages>),
    /// Show what each layer of an image adds, changes and hides, and what is wasted
    Tree(Later<anatomy::Tree>),
    /// Walk through the layers of an image in the terminal
    Explore(Later<explore::Explore>),
    /// Download an image from a registry
    Pull(Later<transfer::Pull>),
    /// Upload an image to a registry
    Push(Later<transfer::Push>),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Ls(command) => command.run(place),
            Self::Rm(command) => command.run(place),
            Self::Build(command) => command.run(place),
            Self::Tag(command) => command.run(place),
            Self::Inspect(command) => command.run(place),
            Self::History(command) => command.run(place),
            Self::Save(command) => command.run(place),
            Self::Load(command) => command.run(place),
            Self::Import(command) => command.run(place),
            Self::Prune(command) => command.run(place),
            Self::Tree(command) => command.run(place),
            Self::Explore(command) => command.run(place),
            Self::Pull(command) => command.run(place),
            Self::Push(command) => command.run(place),
        }
    }
}

/// List images
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Show all images (there are no hidden ones: the same as without)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    /// Only images of this repository
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) repository: Option<String>,
}

impl Ls {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let mut filters = self.listing.filters(&["reference", "dangling", "label"])?;
        if let Some(repository) = &self.repository {
            filters.add("reference", repository);
        }
        let catalogue::Survey { sound: all, damaged } = catalogue::survey(&place.engine()?).map_err(message)?;
        for (named, error) in damaged {
            let name = named.reference.map_or("<none>".to_owned(), |name| name.familiar());
            eprintln!(
                "cooper: {name}: {error} (`cooper system check --repair` pulls it again, `cooper rmi` removes it)"
            );
        }
        let shown: Vec<_> = all.into_iter().filter(|listed| daemon::image::passes(listed, &filters)).collect();
        let rows: Vec<_> = shown.iter().map(ImageRow::of).collect();
        crate::stdout::print(format_args!("{}", self.render(&rows, Timestamp::now())?));
        Ok(0)
    }

    /// The listing, of images of whichever engine.
    pub(crate) fn render(&self, images: &[ImageRow], now: Timestamp) -> anyhow::Result<String> {
        if self.listing.quiet {
            return Ok(images.iter().map(|image| self.listing.id(&image.id) + "\n").collect());
        }
        let mut rows = match self.digests {
            true => Rows::new(&SHOWN_WITH_DIGEST, &MORE),
            false => Rows::new(&SHOWN, &MORE),
        };
        for image in images {
            let created = created(image.created, now);
            let (id, size) = (self.listing.id(&image.id), words::size(image.size));
            for (repository, tag) in &image.names {
                let row = json!({
                    "Containers": "N/A", "CreatedAt": image.created.to_string(), "CreatedSince": created,
                    "Digest": image.digest, "ID": id, "Repository": repository, "Size": size, "Tag": tag,
                });
                rows.add(row, &BTreeMap::new());
            }
        }
        rows.render(&self.listing.format)
    }
}

/// What `images` shows of an image.
#[derive(Debug)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) size: u64,
    pub(crate) digest: String,
    /// Repository and tag: a line each.
    pub(crate) names: Vec<(String, String)>,
}

impl ImageRow {
    fn of(listed: &Listed) -> Self {
        Self {
            id: listed.image.id.to_string(),
            created: listed.created(),
            size: listed.size,
            digest: listed.image.target.digest.to_string(),
            names: names(listed),
        }
    }
}

/// The columns of `images`.
const SHOWN: [(&str, &str); 5] =
    [("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("Size", "SIZE")];
/// The same with `--digests`.
const SHOWN_WITH_DIGEST: [(&str, &str); 6] = [SHOWN[0], SHOWN[1], ("Digest", "DIGEST"), SHOWN[2], SHOWN[3], SHOWN[4]];
/// What only JSON and templates show.
const MORE: [(&str, &str); 3] = [("Containers", "CONTAINERS"), ("CreatedAt", "CREATED AT"), ("Digest", "DIGEST")];

/// "3 weeks ago"; an image that was made to be the same everywhere does not say when it was made.
fn created(created: Timestamp, now: Timestamp) -> String {
    match created == Timestamp::UNIX_EPOCH {
        true => "N/A".to_owned(),
        false => format!("{} ago", words::duration(words::since(created, now))),
    }
}

/// A line for each name; one of `<none>` for an image without any.
pub(crate) fn names(listed: &Listed) -> Vec<(String, String)> {
    let none = || "<none>".to_owned();
    let named = |name: &Reference| (name.familiar_name(), name.tag().map_or_else(none, str::to_owned));
    match listed.names.is_empty() {
        true => vec![(none(), none())],
        false => listed.names.iter().map(named).collect(),
    }
}

/// Remove one or more images
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Force removal of the image
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

impl Rm {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        each(&self.images, |name| {
            for removed in catalogue::remove(&engine, name, self.force).map_err(message)? {
                say!("{removed}");
            }
            Ok(())
        })
    }
}

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// Name or id
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub(crate) source: String,
    /// The new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    pub(crate) target: Reference,
}

impl Tag {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let image = acquire::image(&engine, &self.source, Pull::Never)?;
        catalogue::tag(&engine, &image, &self.target).map_err(message)?;
        Ok(0)
    }
}

/// Display detailed information on one or more images
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        print_documents(&self.images, self.format.as_ref(), |name| {
            daemon::image::inspect(&engine, name).map_err(message)
        })
    }
}

/// Show the history of an image
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Format of the output: table, or json (one object a line)
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    pub(crate) format: Format,
    /// Name or id
    pub(crate) image: String,
}

impl History {
    /// The newest step first. Only that one has an image of its own; those in between are `<missing>`, as docker says.
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let image = acquire::image(&engine, &self.image, Pull::Never)?;
        let id = if self.no_trunc { image.id.to_string() } else { image.id.short().to_owned() };
        let ids = std::iter::once(id).chain(std::iter::repeat("<missing>".to_owned()));
        let mut rows = Rows::new(
            &[
                ("ID", "IMAGE"),
                ("CreatedSince", "CREATED"),
                ("CreatedBy", "CREATED BY"),
                ("Size", "SIZE"),
                ("Comment", "COMMENT"),
            ],
            &[("CreatedAt", "CREATED AT")],
        );
        for (step, id) in daemon::image::history(&engine, &image).map_err(message)?.into_iter().zip(ids) {
            let by = if self.no_trunc { step.created_by.clone() } else { ellipsis(&step.created_by, 45) };
            if self.quiet {
                say!("{id}");
                continue;
            }
            let row = json!({
                "Comment": step.comment, "CreatedAt": step.created.to_string(), "CreatedBy": by,
                "CreatedSince": created(step.created, Timestamp::now()), "ID": id, "Size": words::size(step.size),
            });
            rows.add(row, &BTreeMap::new());
        }
        if !self.quiet {
            crate::stdout::print(format_args!("{}", rows.render(&self.format)?));
        }
        Ok(0)
    }
}
