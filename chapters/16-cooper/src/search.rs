//! `search` and `manifest inspect`: what a registry has, without bringing it here.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use daemon::Filters;
use distribution::Found;
use images::Reference;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::reach::Reach;
use crate::stdout::say;
use crate::table::{Listing, Rows, ellipsis};

/// The registry that a word without one is looked for in.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Characters of a description that a line has room for.
const DESCRIPTION: usize = 45;

/// Search a registry for images
#[derive(Args, Debug)]
pub(crate) struct Search {
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    reach: Reach,
    /// Max number of search results
    #[arg(long, default_value_t = 25, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    /// List the tags of the repository that TERM names
    #[arg(long)]
    list_tags: bool,
    /// A word, after the registry if that is not docker.io: localhost:5000/app
    #[arg(value_name = "TERM")]
    term: String,
}

impl Search {
    pub(crate) fn run(&self, _place: &Place) -> anyhow::Result<u8> {
        let client = self.reach.client()?;
        if self.list_tags {
            return self.tags(&distribution::tags(&client, &self.term.parse()?)?);
        }
        let (registry, term) = match self.term.split_once('/') {
            Some((host, term)) if host.contains(['.', ':']) || host == "localhost" => (host, term),
            _ => (DEFAULT_REGISTRY, self.term.as_str()),
        };
        let filters = self.listing.filters(&["is-official", "stars"])?;
        let mut rows = Rows::new(
            &[("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")],
            &[],
        );
        for one in distribution::search(&client, registry, term, self.limit.into())? {
            if !passes(&one, &filters)? {
                continue;
            }
            // What a search shows is what a pull takes.
            let name = if registry == DEFAULT_REGISTRY { one.name } else { format!("{registry}/{}", one.name) };
            if self.listing.quiet {
                say!("{name}");
                continue;
            }
            let whole = self.listing.no_trunc;
            let description = if whole { one.description } else { ellipsis(&one.description, DESCRIPTION) };
            let official = if one.official { "[OK]" } else { "" };
            let fields = json!({ "Name": name, "Description": description, "StarCount": one.stars.to_string(),
                                 "IsOfficial": official });
            rows.add(fields, &BTreeMap::new());
        }
        self.show(&rows)
    }

    fn tags(&self, tags: &[String]) -> anyhow::Result<u8> {
        let repository = self.term.parse::<Reference>()?.familiar_name();
        let mut rows = Rows::new(&[("Name", "NAME"), ("Tag", "TAG")], &[]);
        let most = if self.listing.no_trunc { usize::MAX } else { self.limit.into() };
        for tag in tags.iter().take(most) {
            match self.listing.quiet {
                true => say!("{repository}:{tag}"),
                false => rows.add(json!({ "Name": repository, "Tag": tag }), &BTreeMap::new()),
            }
        }
        self.show(&rows)
    }

    fn show(&self, rows: &Rows) -> anyhow::Result<u8> {
        if !self.listing.quiet {
            crate::stdout::print(format_args!("{}", rows.render(&self.listing.format)?));
        }
        Ok(0)
    }
}

/// Whether the filters let something through. A value that is none is an error, once there is something to compare it with.
fn passes(found: &Found, filters: &Filters) -> anyhow::Result<bool> {
    let wrong = Cell::new(None);
    let note = |reason: &'static str| {
        wrong.set(Some(reason));
        false
    };
    let stars =
        |text: &str| text.parse::<u64>().map_or_else(|_| note("stars is a number"), |least| found.stars >= least);
    let official = |text: &str| {
        text.parse::<bool>().map_or_else(|_| note("is-official is true or false"), |it| found.official == it)
    };
    let passed = filters.pass("stars", stars) && filters.pass("is-official", official);
    match wrong.get() {
        Some(reason) => bail!("--filter: {reason}"),
        None => Ok(passed),
    }
}

/// Look at manifests in a registry
#[derive(Subcommand, Debug)]
pub(crate) enum Manifest {
    /// Display an image manifest, or manifest list
    Inspect(Inspect),
}

/// Display an image manifest, or manifest list
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
    /// The image; nothing but its manifest is fetched
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: Reference,
}

impl Manifest {
    pub(crate) fn run(&self, _place: &Place) -> anyhow::Result<u8> {
        let Self::Inspect(Inspect { insecure, image }) = self;
        let (_, bytes) = distribution::document(&Reach::insecure(*insecure).client()?, image)?;
        let document: Value = serde_json::from_slice(&bytes).context("the manifest")?;
        say!("{}", serde_json::to_string_pretty(&document)?);
        Ok(0)
    }
}
