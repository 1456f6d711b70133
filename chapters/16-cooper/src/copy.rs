//! `cp`: files between a container and here, both ways.
//!
//! Both ways are one: something is packed at one end and laid out at the other. What is decided here is the name under
//! which it arrives, by the rules of cp(1) as docker has them.

use std::io::{IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use containers::{Container, Engine, NewOwner};
use daemon::copy::{kind, name_in_archive};
use daemon::words;
use layers::{Place, Unpacking, look, pack, unpack};
use rootfs::Root;
use rustix::fs::FileType;

use crate::cli::Place as Where;

/// Copy files/folders between a container and the local filesystem
///
/// Use '-' as the source to read a tar archive from stdin and extract it to a directory of a container, and as the
/// destination to stream a tar archive of a container's files to stdout.
#[derive(Args, Debug)]
#[command(override_usage = "cooper cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       \
                            cooper cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH")]
pub(crate) struct Cp {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    /// From where
    source: String,
    /// To where
    destination: String,
}

/// One end of a copy: files that are reached through a root.
struct End<'a> {
    /// The container; none for this machine's own files.
    container: Option<(&'a Engine, Container)>,
    /// As it was written, absolute.
    path: PathBuf,
    text: String,
}

/// What is packed.
struct Source {
    path: PathBuf,
    name: PathBuf,
    is_directory: bool,
}

impl Cp {
    pub(crate) fn run(&self, place: &Where) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let (from, to) = (container_of(&self.source), container_of(&self.destination));
        let size = match (from, to) {
            (Some(_), Some(_)) => bail!("copying between containers is not supported"),
            (None, None) => bail!("must specify at least one container source"),
            (Some((container, path)), None) if self.destination == "-" => {
                self.to_stdout(&End::of(&engine, container, path)?)?
            }
            (None, Some((container, path))) if self.source == "-" => {
                from_stdin(&End::of(&engine, container, path)?, self.owner())?
            }
            (Some((container, path)), None) => {
                self.copy(&End::of(&engine, container, path)?, &End::here(&self.destination)?)?
            }
            (None, Some((container, path))) => {
                self.copy(&End::here(&self.source)?, &End::of(&engine, container, path)?)?
            }
        };
        if let (false, Some(size)) = (self.quiet, size) {
            eprintln!("Successfully copied {} to {}", words::size(size), self.destination);
        }
        Ok(0)
    }

    fn owner(&self) -> NewOwner {
        if self.archive { NewOwner::User } else { NewOwner::Archive }
    }

    fn to_stdout(&self, from: &End<'_>) -> anyhow::Result<Option<u64>> {
        if std::io::stdout().is_terminal() {
            bail!("refusing to write a tar archive to a terminal: redirect stdout");
        }
        let source = from.source(self.follow_link)?;
        from.pack(&source, &source.name, std::io::BufWriter::with_capacity(1 << 16, std::io::stdout()))?;
        Ok(None)
    }

    /// Packs at one end and lays out at the other, both at once.
    fn copy(&self, from: &End<'_>, to: &End<'_>) -> anyhow::Result<Option<u64>> {
        let source = from.source(self.follow_link)?;
        let (directory, name) = to.destination(&source)?;
        let (mut reader, writer) = std::io::pipe().context("make a pipe")?;
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| from.pack(&source, &name, std::io::BufWriter::with_capacity(1 << 16, writer)));
            let laid = to.unpack(&directory, &mut reader, self.owner());
            // Whoever packs does not wait for a reader that has given up.
            drop(reader);
            let packed = packing.join().unwrap_or_else(|_| bail!("the copying thread ended early"));
            match (packed, laid) {
                // A pipe that broke is the other side's doing.
                (Err(error), Err(_))
                    if !format!("{error:#}").contains("EPIPE") && !format!("{error:#}").contains("roken pipe") =>
                {
                    Err(error)
                }
                (_, Err(error)) => Err(error),
                (packed, Ok(())) => packed.map(Some),
            }
        })
    }
}

/// `CONTAINER:PATH`; a path with a slash before the colon, or a bare `-`, is one of this machine.
fn container_of(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':').filter(|(container, _)| !container.contains('/'))
}

fn from_stdin(to: &End<'_>, owner: NewOwner) -> anyhow::Result<Option<u64>> {
    let place = to.look(&to.path)?;
    let place = to.look(&place.target)?;
    if kind(&place) != FileType::Directory {
        bail!("destination {:?} must be a directory", to.text);
    }
    to.unpack(&place.target, &mut std::io::stdin(), owner)?;
    Ok(None)
}

impl<'a> End<'a> {
    fn of(engine: &'a Engine, container: &str, path: &str) -> anyhow::Result<Self> {
        let text = format!("{container}:{path}");
        // Relative to the container's root, whatever its working directory is: docker's rule.
        Ok(Self { container: Some((engine, engine.find(container)?)), path: Path::new("/").join(path), text })
    }

    fn here(text: &str) -> anyhow::Result<Self> {
        let absolute = std::path::absolute(text).with_context(|| format!("find {text:?}"))?;
        // The last slash and dot say something, and are not to be cleaned away.
        let end = if text.ends_with("/.") || text == "." {
            "/."
        } else if text.ends_with('/') {
            "/"
        } else {
            ""
        };
        let clean = absolute.to_string_lossy().trim_end_matches("/.").trim_end_matches('/').to_owned();
        Ok(Self { container: None, path: PathBuf::from(format!("{clean}{end}")), text: text.to_owned() })
    }

    fn look(&self, path: &Path) -> anyhow::Result<Place> {
        Ok(match &self.container {
            Some((engine, container)) => engine.look_at(container.id(), path)?,
            None => look(&Root::open(Path::new("/"))?, path)?,
        })
    }

    /// What is to be packed, and under which name.
    fn source(&self, follow: bool) -> anyhow::Result<Source> {
        let place = self.look(&self.path).with_context(|| format!("no such path: {}", self.text))?;
        let name = name_in_archive(&self.path);
        // A slash at its end asks for the directory that a link leads to.
        let follow = follow || self.path.to_string_lossy().ends_with(['/', '.']);
        let (path, place) = match kind(&place) == FileType::Symlink && follow {
            true => (place.target.clone(), self.look(&place.target)?),
            false => (self.path.clone(), place),
        };
        let is_directory = kind(&place) == FileType::Directory;
        if !is_directory && self.path.to_string_lossy().ends_with('/') {
            bail!("{}: not a directory", self.text);
        }
        Ok(Source { path, name, is_directory })
    }

    /// The directory that the source is laid into, and the name that it gets there.
    fn destination(&self, source: &Source) -> anyhow::Result<(PathBuf, PathBuf)> {
        let wants_directory =
            self.path.to_string_lossy().ends_with(['/']) || self.path.to_string_lossy().ends_with("/.");
        let link = self.look(&self.path).ok();
        let target = link.as_ref().map_or_else(|| self.path.clone(), |place| place.target.clone());
        let place = link.and_then(|_| self.look(&target).ok());
        match place.as_ref().map(|place| kind(place) == FileType::Directory) {
            Some(true) => return Ok((target, source.name.clone())),
            Some(false) if source.is_directory => bail!("cannot copy a directory to a file: {}", self.text),
            Some(false) if wants_directory => bail!("{}: not a directory", self.text),
            None if !source.is_directory && wants_directory => bail!("no such directory: {}", self.text),
            _ => {}
        }
        let name = target.file_name().with_context(|| format!("{}: no name to copy to", self.text))?;
        let parent = target.parent().unwrap_or(Path::new("/")).to_path_buf();
        let above = self.look(&parent).with_context(|| format!("no such directory: {}", parent.display()))?;
        Ok((above.target, PathBuf::from(name)))
    }

    fn pack(&self, source: &Source, name: &Path, out: impl Write + Send) -> anyhow::Result<u64> {
        Ok(match &self.container {
            Some((engine, container)) => engine.copy_out(container.id(), &source.path, name, out)?,
            None => pack(&Root::open(Path::new("/"))?, &source.path, name, out)?,
        })
    }

    fn unpack(&self, directory: &Path, archive: &mut (dyn Read + Send), owner: NewOwner) -> anyhow::Result<()> {
        match &self.container {
            Some((engine, container)) => engine.copy_in(container.id(), directory, archive, owner)?,
            None => {
                // Whoever copies something out gets it; with -a it stays whose it was.
                let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
                let owner = (owner == NewOwner::Archive).then_some(me);
                unpack(archive, &Root::open(Path::new("/"))?, directory, Unpacking { owner })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_container_unless_a_slash_comes_first() {
        assert_eq!(container_of("web:/etc"), Some(("web", "/etc")));
        assert_eq!(container_of("web:etc/x:y"), Some(("web", "etc/x:y")));
        assert_eq!([container_of("./a:b"), container_of("/a:b"), container_of("a/b:c"), container_of("-")], [None; 4]);
    }
}
