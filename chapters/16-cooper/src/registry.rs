//! `registry serve`: a registry of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Place;

/// Serve images to others
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve a registry until SIGTERM or SIGINT
    Serve(Serve),
}

/// Serve a registry until SIGTERM or SIGINT
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The address to listen on; port 0 lets the kernel choose
    #[arg(short, long, default_value = "127.0.0.1:5000", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The directory that holds everything (default: registry/ in the engine's own)
    #[arg(short, long, value_name = "DIR")]
    storage: Option<PathBuf>,
    /// Accounts, as `htpasswd -B` writes them; without them everybody may read and write
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let Self::Serve(serve) = self;
        let root = serve.storage.clone().unwrap_or_else(|| place.paths().data.join("registry"));
        ::registry::run(::registry::Config { listen: serve.listen, root, htpasswd: serve.htpasswd.clone() })?;
        Ok(0)
    }
}
