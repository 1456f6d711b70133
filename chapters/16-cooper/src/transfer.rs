//! `pull`, `push`, `login`, `logout`: other machines.

use std::io::{BufRead as _, Write as _};
use std::os::fd::AsFd;

use anyhow::{Context as _, bail};
use clap::Args;
use containers::{Engine, Event, ImageEvent};
use distribution::{Client, Login as Credential};
use images::{Platform, Reference};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};

use crate::acquire;
use crate::cli::Place;
use crate::failure::LoginRefused;
use crate::flags;
use crate::reach::Reach;
use crate::stdout::say;

/// The registry that a name without one means.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Download an image from a registry
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Download all tagged images in the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// The machine that the image is for: OS/ARCHITECTURE[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) image: Reference,
}

impl Pull {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let client = self.reach.client_for(self.platform.as_ref())?;
        if !self.all_tags {
            return self.one(&engine, &client, &self.image);
        }
        if self.image.to_string() != format!("{}:latest", self.image.name()) {
            bail!("--all-tags takes a name without a tag or digest: {}", self.image.familiar());
        }
        for tag in distribution::tags(&client, &self.image)? {
            self.one(&engine, &client, &self.image.with_tag(&tag)?)?;
        }
        Ok(0)
    }

    fn one(&self, engine: &Engine, client: &Client, name: &Reference) -> anyhow::Result<u8> {
        let before = engine.store().target(name)?;
        let progress = if self.quiet { acquire::quiet() } else { acquire::progress() };
        let image = acquire::fetch(engine, client, name, &*progress)?;
        if !self.quiet {
            let familiar = name.familiar();
            eprintln!("Digest: {}", image.target.digest);
            match before.is_some_and(|before| before.digest == image.target.digest) {
                true => eprintln!("Status: Image is up to date for {familiar}"),
                false => eprintln!("Status: Downloaded newer image for {familiar}"),
            }
        }
        say!("{name}");
        Ok(0)
    }
}

/// Upload an image to a registry
#[derive(Args, Debug)]
pub(crate) struct Push {
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// The image; its name says where to
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) image: Reference,
}

impl Push {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let client = self.reach.client()?;
        if !self.all_tags {
            return self.one(&engine, &client, &self.image);
        }
        if self.image.to_string() != format!("{}:latest", self.image.name()) {
            bail!("--all-tags takes a name without a tag: {}", self.image.familiar());
        }
        let all = engine.store().list()?.into_iter().filter_map(|named| named.reference);
        let mut all = all.filter(|name| name.name() == self.image.name() && name.tag().is_some()).peekable();
        if all.peek().is_none() {
            bail!("An image does not exist locally with the tag: {}", self.image.familiar_name());
        }
        all.try_fold(0, |_, name| self.one(&engine, &client, &name))
    }

    fn one(&self, engine: &Engine, client: &Client, name: &Reference) -> anyhow::Result<u8> {
        let image = acquire::image(engine, &name.familiar(), flags::Pull::Never)?;
        let progress = if self.quiet { acquire::quiet() } else { acquire::progress() };
        let pushed = distribution::push(client, name, engine.store(), &image, &*progress)?;
        engine.events().record(&Event::of_image(&image, ImageEvent::Push(name)));
        match self.quiet {
            true => say!("{name}"),
            false => {
                let tag = name.tag().unwrap_or("latest");
                say!("{tag}: digest: {} size: {}", pushed.digest, pushed.size);
            }
        }
        Ok(0)
    }
}

/// Authenticate to a registry
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// Username
    #[arg(short, long)]
    username: Option<String>,
    /// Password or Personal Access Token (visible to every user of this machine: prefer --password-stdin)
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    reach: Reach,
    /// The registry; docker.io if none is given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Login {
    pub(crate) fn run(&self, _place: &Place) -> anyhow::Result<u8> {
        let server = self.server.as_deref().unwrap_or(DEFAULT_REGISTRY);
        let username = match &self.username {
            Some(name) => name.clone(),
            None => ask("Username: ", Echo::On)?,
        };
        let password = match (&self.password, self.password_stdin) {
            (Some(password), _) => {
                eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
                password.clone()
            }
            (None, true) => line()?,
            (None, false) => ask("Password: ", Echo::Off)?,
        };
        let login = distribution::login(server, &Credential::new(username, password), self.reach.options());
        let kept = login.map_err(|error| match error {
            refused @ distribution::Error::Unauthorized { .. } => LoginRefused(refused).into(),
            other => anyhow::Error::from(other),
        })?;
        eprintln!("Your credentials are kept in {kept}");
        say!("Login Succeeded");
        Ok(0)
    }
}

/// Log out from a registry
#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// The registry; docker.io if none is given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Logout {
    pub(crate) fn run(&self, _place: &Place) -> anyhow::Result<u8> {
        let server = self.server.as_deref().unwrap_or(DEFAULT_REGISTRY);
        match distribution::logout(server)? {
            true => say!("Removing login credentials for {server}"),
            false => say!("Not logged in to {server}"),
        }
        Ok(0)
    }
}

/// Whether typed characters are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

fn ask(prompt: &str, echo: Echo) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !isatty(&stdin) {
        bail!("login from a script needs --username and --password-stdin");
    }
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    if echo == Echo::On {
        return line();
    }
    let before = tcgetattr(stdin.as_fd()).context("read the terminal's settings")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent).context("hide the password")?;
    let read = line();
    tcsetattr(stdin.as_fd(), OptionalActions::Flush, &before).context("restore the terminal's settings")?;
    eprintln!();
    read
}

fn line() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_line(&mut text).context("read stdin")?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
