//! `down` and `ps`: what is there of a project, and taking it away.

use std::io::Write;

use containers::{All, Container, Engine, PortMapping, RemoveOptions, Status};
use jiff::Timestamp;

use crate::error::Error;
use crate::labels;
use crate::model::Project;
use crate::order::{depths, start_order};
use crate::up::say;

/// How `down` goes about it.
#[derive(Debug, Clone, Default)]
pub struct DownOptions {
    /// `-v`: the project's named volumes, too.
    pub volumes: bool,
}

/// A line of `compose ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The container's name.
    pub name: String,
    /// The image.
    pub image: String,
    /// What runs, quoted.
    pub command: String,
    /// The service.
    pub service: String,
    /// How long ago it was created.
    pub created: String,
    /// `Up 5 seconds`, `Exited (0) 2 minutes ago`.
    pub status: String,
    /// `0.0.0.0:8000->80/tcp`.
    pub ports: String,
}

/// Takes the project away: containers in the reverse of the order in which they start, then networks.
///
/// Services that do not depend on each other are stopped at the same time: each may take its ten seconds. Containers of services that the file no longer has are taken away too: they are found by their
/// labels. Going down twice is fine.
///
/// # Errors
/// Those of stopping and removing.
pub fn down(engine: &Engine, project: &Project, options: &DownOptions, out: &mut dyn Write) -> Result<(), Error> {
    let started = start_order(project, &[])?;
    let depths = depths(&started);
    // A service that the file no longer has comes first: nothing that is known depends on it.
    let depth = |service: &str| depths.get(service).copied().unwrap_or(usize::MAX);
    let mut containers = labels::containers(engine, &project.name, All::Yes)?;
    containers.sort_by_key(|(service, _)| std::cmp::Reverse(depth(service)));
    for wave in containers.chunk_by(|(one, _), (other, _)| depth(one) == depth(other)) {
        stop(engine, wave)?;
        for (_, container) in wave {
            let remove = RemoveOptions { force: true, volumes: true };
            let removed = engine.remove(container.id(), remove);
            removed.map_err(|error| Error::engine(format!("remove container {}", container.name()), error))?;
            say(out, &format!("Container {}  Removed", container.name()));
        }
    }
    let networks = engine.networks().list().map_err(|error| Error::engine("list the networks", error))?;
    for network in networks {
        if network.labels.get(labels::PROJECT) == Some(&project.name) {
            let removed = engine.networks().remove(&network.name);
            removed.map_err(|error| Error::engine(format!("remove network {}", network.name.as_str()), error))?;
            say(out, &format!("Network {}  Removed", network.name.as_str()));
        }
    }
    if options.volumes {
        for volume in project.volumes.values().filter(|volume| !volume.external) {
            if engine.volumes().find(&volume.name).is_ok() {
                let removed = engine.remove_volume(&volume.name);
                removed.map_err(|error| Error::engine(format!("remove volume {}", volume.name), error))?;
                say(out, &format!("Volume {}  Removed", volume.name));
            }
        }
    }
    Ok(())
}

/// Stops containers side by side, and waits for all; the first failure is told. A stop makes no process, so threads do no harm.
fn stop(engine: &Engine, wave: &[(String, Container)]) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let stops: Vec<_> =
            wave.iter().map(|(_, container)| (container, scope.spawn(|| engine.stop(container.id(), None)))).collect();
        let mut outcome = Ok(());
        for (container, stop) in stops {
            let stopped = stop.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let during = format!("stop container {}", container.name());
            outcome = outcome.and(stopped.map_err(|error| Error::engine(during, error)));
        }
        outcome
    })
}

/// What is there of the project, in the order of the file's services.
///
/// # Errors
/// Those of listing.
pub fn ps(engine: &Engine, project: &Project, all: All) -> Result<Vec<Row>, Error> {
    let place = |service: &str| project.services.get_index_of(service).unwrap_or(usize::MAX);
    let mut containers = labels::containers(engine, &project.name, all)?;
    containers.sort_by_key(|(service, _)| place(service));
    containers.iter().map(|(service, container)| row(service, container)).collect()
}

fn row(service: &str, container: &Container) -> Result<Row, Error> {
    let record = container.record();
    let life = container.life().map_err(|error| Error::engine(format!("read container {}", record.name), error))?;
    let ago = |time: Option<Timestamp>| time.map(since).unwrap_or_default();
    let status = match life.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", ago(life.started_at)),
        Status::Paused => format!("Up {} (Paused)", ago(life.started_at)),
        Status::Restarting => "Restarting".to_owned(),
        Status::Exited => {
            let code = life.exit_code.map_or("unknown".to_owned(), |code| code.to_string());
            format!("Exited ({code}) {} ago", ago(life.finished_at))
        }
    };
    Ok(Row {
        name: record.name.clone(),
        image: record.options.image.clone(),
        command: format!("{:?}", record.settings.args().join(" ")),
        service: service.to_owned(),
        created: format!("{} ago", since(record.created)),
        status,
        ports: life.ports.iter().map(port).collect::<Vec<_>>().join(", "),
    })
}

fn port(mapping: &PortMapping) -> String {
    mapping.to_string()
}

/// How long ago something was, in its largest unit.
fn since(time: Timestamp) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(time.as_second()).max(0);
    let (count, unit) = match seconds {
        0 => return "Less than a second".to_owned(),
        1..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let told = |seconds: i64| since(Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap());
        assert_eq!(told(-5), "Less than a second");
        assert_eq!(told(90), "1 minute");
        assert_eq!(told(2 * 86_400 + 5), "2 days");
    }
}
