//! `save` and `load`: images as one file; `export` and `import`: a container's files, and an image made of files.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use containers::{ImageEvent, Meanwhile};
use daemon::catalogue;
use images::{ImageConfig, Imported, Platform, Reference, archive};

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
        let code = into(self.output.as_deref(), |out| Ok(archive::save(engine.store(), &saved, out)?))?;
        catalogue::record_all(&engine, saved.iter().map(|saved| &saved.image), ImageEvent::Save);
        Ok(code)
    }
}

/// Lets `write` write to a file, or to standard output.
fn into(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let Some(path) = path else {
        write(&mut io::stdout().lock())?;
        return Ok(0);
    };
    // Not what can be replaced by a file beside it: a device, a pipe.
    if path.exists() && !path.is_file() {
        let mut file = File::options().write(true).open(path).with_context(|| format!("open {path:?}"))?;
        write(&mut file)?;
        return Ok(0);
    }
    // Beside its place until it is whole: an archive that broke off must not look like one.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let file = tempfile::NamedTempFile::new_in(directory).with_context(|| format!("create {path:?}"))?;
    write(&mut file.as_file())?;
    file.persist(path).with_context(|| format!("write {path:?}"))?;
    Ok(0)
}

/// Export a container's filesystem as a tar archive
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Export {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if self.output.is_none() && io::stdout().is_terminal() {
            bail!("cowardly refusing to save to a terminal: use -o, or redirect");
        }
        let engine = place.engine()?;
        let container = engine.find(&self.container)?;
        into(self.output.as_deref(), |out| Ok(engine.export(container.id(), out)?))
    }
}

/// Import the contents from a tarball to create a filesystem image
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Set platform if the image is for another one than this machine (OS/ARCHITECTURE[/VARIANT])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// A file, or - for standard input; plain, or compressed with gzip or zstd
    #[arg(value_name = "FILE|-")]
    source: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<Reference>,
}

impl Import {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if self.source.contains("://") {
            bail!("import {:?}: no URLs; fetch it first: curl -fL URL | cooper import - NAME", self.source);
        }
        let mut config = ImageConfig::default();
        ::build::amend(&mut config, &self.change)?;
        let about = Imported {
            created: jiff::Timestamp::now().to_string(),
            message: self.message.clone().unwrap_or_else(|| format!("Imported from {}", self.source)),
            platform: self.platform.clone().unwrap_or_else(Platform::host),
            name: self.name.clone(),
            config,
        };
        let engine = place.engine()?;
        let image = match self.source.as_str() {
            "-" => images::import(engine.store(), engine.snapshots(), io::stdin().lock(), about)?,
            path => {
                let file = File::open(path).with_context(|| format!("open {path:?}"))?;
                images::import(engine.store(), engine.snapshots(), file, about)?
            }
        };
        catalogue::record_import(&engine, &image, self.name.as_ref());
        say!("{}", image.id);
        Ok(0)
    }
}

/// Create a new image from a container's changes
#[derive(Args, Debug)]
pub(crate) struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, value_name = "BOOL")]
    pause: bool,
    /// Name or id
    container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<Reference>,
}

impl Commit {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let container = engine.find(&self.container)?;
        let amend = |config: &mut ImageConfig| ::build::amend(config, &self.change).map_err(|error| error.to_string());
        let how = containers::Commit {
            name: self.name.clone(),
            author: self.author.clone(),
            message: self.message.clone(),
            meanwhile: if self.pause { Meanwhile::Paused } else { Meanwhile::Running },
            amend: &amend,
        };
        say!("{}", engine.commit(container.id(), &how)?.id);
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
        catalogue::record_all(&engine, all.iter().map(|loaded| &loaded.image), ImageEvent::Load);
        for loaded in &all {
            if loaded.names.is_empty() {
                say!("Loaded image ID: {}", loaded.image.id);
            }
            loaded.names.iter().for_each(|name| say!("Loaded image: {}", name.familiar()));
        }
        Ok(0)
    }
}
