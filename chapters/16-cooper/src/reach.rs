//! How registries are reached: the flags that every command has which talks to one, and the client that they make.

use anyhow::Context as _;
use clap::Args;
use distribution::{Client, Credentials, Options};
use images::Platform;

/// How strict to be with a registry.
#[derive(Args, Debug, Clone)]
pub(crate) struct Reach {
    /// Require https and a certificate that somebody vouches for; registries on this machine and those that
    /// registries.conf calls insecure are exempt
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    tls_verify: bool,
}

impl Reach {
    /// Strict.
    pub(crate) fn strict() -> Self {
        Self { tls_verify: true }
    }

    /// Not at all strict, if the flag of an older command says so.
    pub(crate) fn insecure(insecure: bool) -> Self {
        Self { tls_verify: !insecure }
    }

    /// Refuses what a daemon cannot be told: whose certificates count is its own affair.
    ///
    /// # Errors
    /// The flag was given.
    pub(crate) fn refuse_elsewhere(&self) -> anyhow::Result<()> {
        match self.tls_verify {
            true => Ok(()),
            false => anyhow::bail!("--tls-verify=false cannot be sent to a daemon: its own settings decide"),
        }
    }

    /// What the library is told.
    pub(crate) fn options(&self) -> Options {
        let insecure = if self.tls_verify { Vec::new() } else { vec!["*".to_owned()] };
        Options { insecure, ..Options::default() }
    }

    /// A client with the logins of docker's configuration.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_for(None)
    }

    /// [`client`](Self::client), for images of another platform.
    pub(crate) fn client_for(&self, platform: Option<&Platform>) -> anyhow::Result<Client> {
        let credentials = Credentials::from_docker_config().context("read the logins")?;
        let mut options = self.options();
        if let Some(platform) = platform {
            options.platform = platform.clone();
        }
        Ok(Client::new(credentials, options))
    }
}
