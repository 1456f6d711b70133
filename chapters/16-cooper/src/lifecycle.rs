//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rename`, `rm`, `wait`: containers that exist already.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use containers::{Container, Engine, RemoveOptions, StartOptions};

use crate::cli::Place;
use crate::failure::{each, each_at_once};
use crate::run::{Console, follow};
use crate::stdout::say;

/// Start one or more stopped containers
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Attach container's STDIN
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[command(flatten)]
    pub(crate) console: Console,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Start {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let options = StartOptions { attach: self.attach || self.interactive, explain: place.explain() };
        if !options.attach {
            return each(&self.containers, |name| {
                let container = engine.find(name)?;
                if !container.life()?.status.is_live() {
                    engine.start(container.id(), &options)?;
                }
                say!("{name}");
                Ok(())
            });
        }
        let [name] = self.containers.as_slice() else {
            bail!("you cannot start and attach multiple containers at once");
        };
        let container = engine.find(name)?;
        let mut running = engine.start(container.id(), &options)?;
        let Some(attachment) = running.attachment.take() else {
            bail!("container {name} was started without its streams");
        };
        let console = self.console.options(self.interactive);
        follow(&engine, container.id(), attachment, &mut running, &console)
    }
}

/// Stop one or more running containers
#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// Seconds to wait before killing the container (10 unless it says otherwise itself)
    #[arg(short = 't', long = "timeout", visible_alias = "time", value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Stop {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let patience = self.timeout.map(Duration::from_secs);
        let engine = place.engine()?;
        each_at_once(&self.containers, |name| {
            let container = engine.find(name)?;
            if container.life()?.status.is_live() {
                engine.stop(container.id(), patience)?;
            }
            Ok(Some(name.to_owned()))
        })
    }
}

/// Kill one or more running containers
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// Signal to send to the container
    #[arg(short, long, default_value = "KILL", value_name = "SIGNAL")]
    pub(crate) signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Kill {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let signal = process::signals::parse(&self.signal)?;
        on_each(place, &self.containers, |engine, container| Ok(engine.kill(container.id(), signal)?))
    }
}

/// Restart one or more containers
#[derive(Args, Debug)]
pub(crate) struct Restart {
    /// Seconds to wait before killing the container (10 unless it says otherwise itself)
    #[arg(short = 't', long = "timeout", visible_alias = "time", value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Restart {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let patience = self.timeout.map(Duration::from_secs);
        let options = StartOptions { attach: false, explain: place.explain() };
        on_each(place, &self.containers, |engine, container| {
            engine.restart(container.id(), patience, &options)?;
            Ok(())
        })
    }
}

/// Pause all processes within one or more containers
#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Pause {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        on_each(place, &self.containers, |engine, container| Ok(engine.pause(container.id())?))
    }
}

/// Unpause all processes within one or more containers
#[derive(Args, Debug)]
pub(crate) struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Unpause {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        on_each(place, &self.containers, |engine, container| Ok(engine.unpause(container.id())?))
    }
}

/// Update configuration of one or more containers
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) resources: crate::flags::Resources,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "no|on-failure[:N]|always|unless-stopped")]
    pub(crate) restart: Option<containers::RestartPolicy>,
    /// Publish one more port, at once if the container runs
    #[arg(long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub(crate) publish_add: Vec<String>,
    /// Take back what is published of a port of the container
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    pub(crate) publish_rm: Vec<String>,
    /// Print usage
    #[arg(long, action = clap::ArgAction::HelpShort)]
    pub(crate) help: Option<bool>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Update {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let mut publish = Vec::new();
        for text in &self.publish_add {
            publish.extend(network::port::parse(text)?);
        }
        let (resources, unpublish) = (self.resources.options()?, self.publish_rm.clone());
        let update = containers::Update { resources, restart: self.restart, publish, unpublish };
        if update == containers::Update::default() {
            bail!("you must provide one or more flags when using this command");
        }
        on_each(place, &self.containers, |engine, container| Ok(engine.update(container.id(), &update)?))
    }
}

/// Rename a container
#[derive(Args, Debug)]
pub(crate) struct Rename {
    /// Name or id
    pub(crate) container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub(crate) name: String,
}

impl Rename {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        engine.rename(engine.find(&self.container)?.id(), &self.name)?;
        Ok(0)
    }
}

/// Remove one or more containers
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Rm {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let options = RemoveOptions { force: self.force, volumes: self.volumes };
        let engine = place.engine()?;
        each_at_once(&self.containers, |name| {
            // By its id: a container whose record is spoilt can still be removed.
            match engine.resolve(name).and_then(|id| engine.remove(&id, options)) {
                // Docker's rule: what is not there is as removed as one could wish. It is said all the same.
                Err(error @ containers::Error::NoSuchContainer(_)) if self.force => eprintln!("cooper: {error}"),
                removed => {
                    removed?;
                    return Ok(Some(name.to_owned()));
                }
            }
            Ok(None)
        })
    }
}

/// Block until one or more containers stop, then print their exit codes
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl Wait {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        each(&self.containers, |name| {
            let id = engine.find(name)?.id().clone();
            say!("{}", crate::run::code(&id, engine.wait(&id)?)?);
            Ok(())
        })
    }
}

/// Does something to each container, printing the names of those that it was done to.
fn on_each(
    place: &Place,
    names: &[String],
    act: impl Fn(&Engine, &Container) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let engine = place.engine()?;
    each(names, |name| {
        act(&engine, &engine.find(name)?)?;
        say!("{name}");
        Ok(())
    })
}
