//! `up`: from what the file says to what runs.
//!
//! `up` compares and then does only what is missing: a container whose configuration is still the same stays
//! as it is, even running; one that differs is replaced. So `up` after an edit restarts just what
//! the edit touched, and `up` twice does nothing the second time.

use std::collections::BTreeMap;
use std::io::Write;

use containers::{
    All, Attachment, Container, CreateOptions, Engine, Network, NetworkMode, RemoveOptions, StartOptions,
};
use images::Image;
use network::{NetworkName, NetworkSpec};

use crate::error::Error;
use crate::foreground::{self, Voice};
use crate::image::{self, Rebuild};
use crate::labels;
use crate::model::{Attached, Project, Service, Shared};
use crate::order::start_order;

/// How `up` goes about it.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// `-d`: return when everything has started.
    pub detach: bool,
    /// `--build`: build images even if they are there.
    pub build: bool,
    /// Only these services and what they depend on; all if empty.
    pub services: Vec<String>,
}

/// Brings the project up. Without `detach` it prints the services' output to `out` until all have ended, or
/// until an interrupt, which stops them.
///
/// The returned exit code is 0, or in the foreground that of the first service that failed.
///
/// # Errors
/// Those of building, pulling, creating and starting. What was started before stays, for `down` to take away.
///
/// # References
/// <https://docs.docker.com/reference/cli/docker/compose/up/>
// spine
pub fn up(engine: &Engine, project: &Project, options: &UpOptions, out: &mut dyn Write) -> Result<u8, Error> {
    for warning in &project.warnings {
        say(out, &format!("warning: {warning}"));
    }
    let services = start_order(project, &options.services)?;
    let rebuild = if options.build { Rebuild::Always } else { Rebuild::IfMissing };
    // Every image first: a build that fails must not leave half a project running.
    let mut images = BTreeMap::new();
    for service in &services {
        images.insert(&service.name, image::bring(engine, service, rebuild, out)?);
    }
    for service in &services {
        if let Attached::Network { network, .. } = &service.network {
            ensure_network(engine, project, network, &project.networks[network], out)?;
        }
    }
    for volume in project.volumes.values() {
        ensure_volume(engine, volume)?;
    }
    let mut voices = Vec::new();
    for service in &services {
        let container = ensure_container(engine, project, service, &images[&service.name], out)?;
        let attachment = ensure_running(engine, &container, options.detach, out)?;
        let name = format!("{}-1", service.name);
        voices.extend(attachment.map(|attachment| Voice::new(name, container, attachment)));
    }
    match options.detach {
        true => Ok(0),
        false => foreground::listen(engine, voices, out),
    }
}

/// Prints a line of progress. A reader that went away must not stop the work half-way.
pub(crate) fn say(out: &mut dyn Write, line: &str) {
    writeln!(out, " {line}").and_then(|()| out.flush()).ok();
}

fn ensure_network(
    engine: &Engine,
    project: &Project,
    key: &str,
    wanted: &Shared,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let during = || format!("network {}", wanted.name);
    let name: NetworkName = wanted.name.parse().map_err(|error| Error::engine(during(), Box::new(error)))?;
    if engine.networks().list().map_err(|error| Error::engine(during(), error))?.iter().any(|known| known.name == name)
    {
        return Ok(());
    }
    if wanted.external {
        return Err(Error::Asked(format!("network {} declared as external, but could not be found", wanted.name)));
    }
    let mut spec = NetworkSpec::named(name);
    spec.internal = wanted.internal;
    spec.labels = wanted.labels.clone();
    spec.labels.insert(labels::PROJECT.to_owned(), project.name.clone());
    spec.labels.insert(labels::NETWORK.to_owned(), key.to_owned());
    engine.networks().create(spec).map_err(|error| Error::engine(during(), error))?;
    say(out, &format!("Network {}  Created", wanted.name));
    Ok(())
}

fn ensure_volume(engine: &Engine, wanted: &Shared) -> Result<(), Error> {
    if wanted.external {
        engine.volumes().find(&wanted.name).map_err(|_| {
            Error::Asked(format!("volume {} declared as external, but could not be found", wanted.name))
        })?;
        return Ok(());
    }
    let made = engine.volumes().ensure(Some(&wanted.name));
    made.map(|_| ()).map_err(|error| Error::engine(format!("volume {}", wanted.name), error))
}

/// The service's container: the one that is there if it still fits, or a new one in its place.
fn ensure_container(
    engine: &Engine,
    project: &Project,
    service: &Service,
    image: &Image,
    out: &mut dyn Write,
) -> Result<Container, Error> {
    let name = service.container(&project.name);
    let during = |what: &str| format!("{what} container {name}");
    let mut options = create_options(project, service);
    let hash = labels::config_hash(&options, image);
    options.labels = labels::of_container(project, service, &hash);
    let mut replaced = false;
    for (owner, container) in labels::containers(engine, &project.name, All::Yes)? {
        if owner != service.name {
            continue;
        }
        let same = container.record().settings.labels.get(labels::CONFIG_HASH) == Some(&hash);
        if same && container.name() == name {
            return Ok(container);
        }
        engine.stop(container.id(), None).map_err(|error| Error::engine(during("stop"), error))?;
        // Its anonymous volumes go with it; named ones outlive it, which is what names are for.
        let remove = RemoveOptions { force: true, volumes: true };
        engine.remove(container.id(), remove).map_err(|error| Error::engine(during("remove"), error))?;
        replaced = true;
    }
    let container = engine.create(image, options).map_err(|error| Error::engine(during("create"), error))?;
    say(out, &format!("Container {name}  {}", if replaced { "Recreated" } else { "Created" }));
    Ok(container)
}

/// Starts the container unless it runs. In the foreground its streams come along.
fn ensure_running(
    engine: &Engine,
    container: &Container,
    detach: bool,
    out: &mut dyn Write,
) -> Result<Option<Attachment>, Error> {
    let during = |what: &str| format!("{what} container {}", container.name());
    let life = container.life().map_err(|error| Error::engine(during("read"), error))?;
    if life.status.is_live() {
        say(out, &format!("Container {}  Running", container.name()));
        if detach {
            return Ok(None);
        }
        return engine.attach(container.id()).map(Some).map_err(|error| Error::engine(during("attach to"), error));
    }
    let options = StartOptions { attach: !detach, ..StartOptions::default() };
    let running = engine.start(container.id(), &options).map_err(|error| Error::engine(during("start"), error))?;
    say(out, &format!("Container {}  Started", container.name()));
    Ok(running.attachment)
}

/// What a service asks of its container, in the engine's own words.
fn create_options(project: &Project, service: &Service) -> CreateOptions {
    let mut aliases = vec![service.name.clone()];
    let mode = match &service.network {
        Attached::Network { network, aliases: more } => {
            aliases.extend(more.iter().cloned());
            NetworkMode::Named(project.networks[network].name.clone())
        }
        Attached::Host => NetworkMode::Host,
        Attached::None => NetworkMode::None,
    };
    if !matches!(service.network, Attached::Network { .. }) {
        aliases.clear();
    }
    CreateOptions {
        name: Some(service.container(&project.name)),
        image: service.image.clone(),
        command: service.command.clone().unwrap_or_default(),
        entrypoint: service.entrypoint.clone(),
        env: service.environment.clone(),
        workdir: service.working_dir.clone(),
        user: service.user.clone(),
        hostname: service.hostname.clone(),
        terminal: service.terminal,
        interactive: service.interactive,
        read_only: service.read_only,
        mounts: service.mounts.clone(),
        network: Network { mode, aliases, publish: service.ports.clone(), ..Network::default() },
        ..CreateOptions::default()
    }
}
