//! `daemon`: Docker's API on a unix socket.

use anyhow::Context as _;
use clap::Args;
use images::ImageConfig;

use crate::cli::Place;

/// Serve Docker's Engine API on a unix socket
///
/// The real docker client then talks to this engine: DOCKER_HOST=unix://PATH docker run --rm hello.
/// Whoever may write to the socket is as powerful as the engine, so it is made for this user alone.
#[derive(Args, Debug)]
pub(crate) struct Daemon {
    /// Where to listen (default: docker.sock in the engine's run directory)
    #[arg(short = 'H', long = "host", value_name = "unix://PATH")]
    host: Option<String>,
}

impl Daemon {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let paths = place.paths();
        let default = || paths.run.join("docker.sock").to_string_lossy().into_owned();
        let socket = self.host.clone().unwrap_or_else(default);
        let exe = std::env::current_exe().context("find this program's own file")?;
        let amend = |config: &mut ImageConfig, changes: &[String]| {
            ::build::amend(config, changes).map_err(|error| error.to_string())
        };
        ::daemon::run(::daemon::Config { socket, paths, root: place.root(), exe, amend })?;
        Ok(0)
    }
}
