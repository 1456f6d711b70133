//! `save` and `load`: images as one file.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use daemon::catalogue;
use images::archive;

use crate::cli::Place;
use crate::look::message;
use crate::stdout::say;

/// Save one or more images to a tar archive
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Save {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if self.output.is_none() && io::stdout().is_terminal() {
            bail!("cowardly refusing to save to a terminal: use -o, or redirect");
        }
        let engine = place.engine()?;
        let saved = catalogue::saved(&engine, &self.images).map_err(message)?;
        let Some(path) = &self.output else {
            archive::save(engine.store(), &saved, io::stdout().lock())?;
            return Ok(0);
        };
        // Beside its place until it is whole: an archive that broke off must not look like one.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        let file = tempfile::NamedTempFile::new_in(directory).with_context(|| format!("create {path:?}"))?;
        archive::save(engine.store(), &saved, file.as_file())?;
        file.persist(path).with_context(|| format!("write {path:?}"))?;
        Ok(0)
    }
}

/// Load an image from a tar archive or STDIN
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Suppress the progress (there is none: only the names are printed, as docker does with it)
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let (store, snapshots) = (engine.store(), engine.snapshots());
        let all = match &self.input {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("open {path:?}"))?;
                archive::load(store, snapshots, file)?
            }
            None if io::stdin().is_terminal() => bail!("requested load from stdin, but stdin is empty"),
            None => archive::load(store, snapshots, io::stdin().lock())?,
        };
        for loaded in &all {
            if loaded.names.is_empty() {
                say!("Loaded image ID: {}", loaded.image.id);
            }
            loaded.names.iter().for_each(|name| say!("Loaded image: {}", name.familiar()));
        }
        Ok(0)
    }
}
