//! `build`: an image from a Dockerfile.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::build::{BuildOptions, CacheUse, Plain, Reasons, Silent};
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use images::Reference;

use crate::cli::Place;
use crate::stdout::say;
use crate::values;

/// Build an image from a Dockerfile
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// Name of the Dockerfile (default: PATH/Dockerfile)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name and optionally a tag (format: name:tag)
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<Reference>,
    /// Set build-time variables (NAME alone takes the value from here)
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set metadata for an image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
    /// Set the networking mode for the RUN instructions during build
    #[arg(long, default_value = "default", value_name = "NETWORK")]
    network: String,
    /// Write the image ID to the file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    quiet: bool,
    /// Say why each step was, or was not, taken from the cache
    #[arg(long)]
    why: bool,
    /// The directory whose files COPY and ADD may read
    #[arg(value_name = "PATH")]
    context: PathBuf,
}

impl Build {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let options = self.options()?;
        let engine = place.engine()?;
        let reasons = if self.why { Reasons::Show } else { Reasons::Hide };
        let image = match self.quiet {
            true => ::build::build(&engine, &options, &mut Silent)?,
            false => ::build::build(&engine, &options, &mut Plain::new(std::io::stderr(), reasons))?,
        };
        if let Some(path) = &self.iidfile {
            std::fs::write(path, image.id.to_string()).with_context(|| format!("write --iidfile {path:?}"))?;
        }
        if self.quiet {
            say!("{}", image.id);
        }
        Ok(0)
    }

    fn options(&self) -> anyhow::Result<BuildOptions> {
        if self.context.as_os_str() == "-" || self.context.to_string_lossy().contains("://") {
            bail!("context {:?}: only directories are supported", self.context);
        }
        let mut build_args = BTreeMap::new();
        for text in &self.build_arg {
            let read = values::variable(text, |name| std::env::var(name).ok());
            let read = read.map_err(|e| anyhow!("--build-arg {e}"))?;
            build_args.extend(read.as_deref().and_then(|pair| pair.split_once('=')).map(owned));
        }
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => Some(BuildOptions::parse_epoch(&text).map_err(|e| anyhow!(e))?),
            Err(_) => None,
        };
        Ok(BuildOptions {
            dockerfile: self.file.clone(),
            tags: self.tag.clone(),
            target: self.target.clone(),
            build_args,
            labels: values::labels(&self.label).into_iter().collect(),
            cache: if self.no_cache { CacheUse::Ignore } else { CacheUse::Reuse },
            pull: if self.pull { ::build::Pull::Always } else { ::build::Pull::Missing },
            network: self.network.parse()?,
            epoch,
            ..BuildOptions::new(&self.context)
        })
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
