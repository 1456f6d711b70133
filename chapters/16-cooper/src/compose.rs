//! `compose`: the services of a file, together.

use std::path::PathBuf;

use ::compose::{DownOptions, Project, UpOptions};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use containers::All;

use crate::cli::Place;
use crate::stdout::say;
use crate::table::Table;

/// Run the services of a compose file
#[derive(Args, Debug)]
pub(crate) struct Compose {
    /// Compose configuration files (default: compose.yaml or docker-compose.yml, here or above)
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Project name
    #[arg(short, long, value_name = "NAME")]
    project_name: Option<String>,
    /// Alternate working directory
    #[arg(long, value_name = "DIR")]
    project_directory: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Create and start containers
    Up(Up),
    /// Stop and remove containers, networks
    Down(Down),
    /// List containers
    Ps(Ps),
}

/// Create and start containers
#[derive(Args, Debug)]
struct Up {
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    detach: bool,
    /// Build images before starting containers
    #[arg(long)]
    build: bool,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Stop and remove containers, networks
#[derive(Args, Debug)]
struct Down {
    /// Remove named volumes declared in the "volumes" section of the file, and anonymous ones
    #[arg(short, long)]
    volumes: bool,
}

/// List containers
#[derive(Args, Debug)]
struct Ps {
    /// Show all stopped containers
    #[arg(short, long)]
    all: bool,
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
}

impl Compose {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let here = std::env::current_dir().context("find the working directory")?;
        let directory = self.project_directory.as_deref().unwrap_or(&here);
        let project = Project::load(directory, &self.file, self.project_name.as_deref())?;
        let engine = place.engine()?;
        let mut out = std::io::stderr();
        match &self.command {
            Command::Up(up) => {
                let services = up.services.clone();
                let options = UpOptions { detach: up.detach, build: up.build, services };
                Ok(::compose::up(&engine, &project, &options, &mut out)?)
            }
            Command::Down(down) => {
                ::compose::down(&engine, &project, &DownOptions { volumes: down.volumes }, &mut out)?;
                Ok(0)
            }
            Command::Ps(ps) => {
                let all = if ps.all { All::Yes } else { All::No };
                let rows = ::compose::ps(&engine, &project, all)?;
                if ps.quiet {
                    rows.iter().for_each(|row| say!("{}", row.name));
                    return Ok(0);
                }
                let mut table = Table::new(&["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
                for row in rows {
                    table.row([row.name, row.image, row.command, row.service, row.created, row.status, row.ports]);
                }
                crate::stdout::print(format_args!("{table}"));
                Ok(0)
            }
        }
    }
}
