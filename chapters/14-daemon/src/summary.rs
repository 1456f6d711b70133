//! A container in one line: what `ps` shows, here and through the API.

use std::collections::BTreeMap;

use containers::{All, Container, ContainerId, Engine, HealthStatus, Life, MountKind, PortMapping, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::query::Filters;
use crate::words;

/// The filters that a listing of containers understands.
pub const FILTERS: [&str; 10] =
    ["id", "name", "status", "health", "label", "ancestor", "exited", "network", "volume", "publish"];

/// A container and where it is in its life.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The container.
    pub container: Container,
    /// Its state when it was asked.
    pub life: Life,
    /// Whether it was well then, where that is checked.
    pub health: Option<HealthStatus>,
}

impl Summary {
    /// A container as it is now.
    ///
    /// # Errors
    /// State that cannot be read. A container that is removed meanwhile is no error: it was created, and nothing more is known.
    pub fn of(engine: &Engine, container: Container) -> Result<Self, ApiError> {
        let life = engine.life(&container)?;
        let health = container.health()?.map(|health| health.status);
        Ok(Self { container, life, health })
    }

    /// Whether a listing shows it: without `all` only while it is live, unless a filter asks for a status.
    pub fn is_listed(&self, all: All, filters: &Filters) -> bool {
        let all = all == All::Yes || filters.has("status") || filters.has("exited");
        (all || self.life.status.is_live()) && self.passes(filters)
    }

    /// "Up 19 seconds", "Exited (0) 2 minutes ago", "Created".
    pub fn status(&self, now: Timestamp) -> String {
        let ago = |then: Option<Timestamp>| then.map_or(String::new(), |then| words::duration(words::since(then, now)));
        match self.life.status {
            Status::Created => "Created".to_owned(),
            Status::Running => format!("Up {}{}", ago(self.life.started_at), self.wellness()),
            Status::Restarting => {
                let code = self.life.exit_code.unwrap_or_default();
                format!("Restarting ({code}) {} ago", ago(self.life.finished_at))
            }
            Status::Paused => format!("Up {} (Paused)", ago(self.life.started_at)),
            Status::Exited => {
                // An exit that nobody saw has no code; it is not made up.
                let code = self.life.exit_code.map_or("unknown".to_owned(), |code| code.to_string());
                match self.life.finished_at {
                    Some(_) => format!("Exited ({code}) {} ago", ago(self.life.finished_at)),
                    None => format!("Exited ({code})"),
                }
            }
        }
    }

    /// ` (healthy)` and its like; nothing where nothing is checked.
    fn wellness(&self) -> &'static str {
        match self.health {
            None => "",
            Some(HealthStatus::Starting) => " (health: starting)",
            Some(HealthStatus::Healthy) => " (healthy)",
            Some(HealthStatus::Unhealthy) => " (unhealthy)",
        }
    }

    /// The program and its arguments in one line.
    pub fn command(&self) -> String {
        self.container.record().settings.args().join(" ")
    }

    /// The PORTS column: `0.0.0.0:8000->8000/tcp, 9000/tcp`.
    pub fn ports(&self) -> String {
        let mut all: Vec<String> = self.life.ports.iter().map(ToString::to_string).collect();
        if self.life.status.is_live() {
            all.extend(self.unpublished().map(str::to_owned));
        }
        all.join(", ")
    }

    /// What is mounted: volumes by name, everything else by where it comes from.
    pub fn mounts(&self) -> Vec<String> {
        let mounts = self.container.record().mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some(name.clone()),
            MountKind::Bind => Some(mount.source.display().to_string()),
            MountKind::Tmpfs { .. } => None,
        });
        mounts.collect()
    }

    /// The networks' names, or the mode where it is in none.
    pub fn networks(&self) -> String {
        self.network_names().join(",")
    }

    fn network_names(&self) -> Vec<String> {
        let wanted = &self.container.record().options.network;
        match wanted.mode.network() {
            Some(_) => wanted.connections().into_iter().map(|connection| connection.network).collect(),
            None => vec![wanted.mode.to_string()],
        }
    }

    /// The entry of `GET /containers/json`.
    pub fn json(&self, now: Timestamp) -> Value {
        let record = self.container.record();
        let mode = record.options.network.mode.to_string();
        json!({
            "Id": record.id,
            "Names": [format!("/{}", record.name)],
            "Image": record.options.image,
            "ImageID": record.image_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            "Command": self.command(),
            "Created": record.created.as_second(),
            "Ports": self.ports_json(),
            "Labels": record.settings.labels,
            "State": self.life.status.as_str(),
            "Status": self.status(now),
            "HostConfig": { "NetworkMode": mode },
            "NetworkSettings": { "Networks": self.networks_json() },
            "Mounts": self.container.record().mounts.iter().map(containers::mount_document).collect::<Vec<_>>(),
        })
    }

    fn ports_json(&self) -> Vec<Value> {
        let published = self.life.ports.iter().map(|port| {
            json!({
                "IP": port.host_ip,
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.protocol.to_string(),
            })
        });
        let unpublished = self.unpublished().filter_map(|target| {
            let (port, protocol) = target.split_once('/')?;
            Some(json!({ "PrivatePort": port.parse::<u16>().ok()?, "Type": protocol }))
        });
        published.chain(unpublished).collect()
    }

    fn networks_json(&self) -> BTreeMap<String, Value> {
        let attached = self.life.endpoints.iter().map(|endpoint| {
            let document = json!({
                "IPAddress": endpoint.address,
                "IPPrefixLen": endpoint.prefix_length,
                "Gateway": endpoint.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
                "EndpointID": endpoint.id(),
                "GlobalIPv6Address": endpoint.ipv6.map(|six| six.address.to_string()).unwrap_or_default(),
                "GlobalIPv6PrefixLen": endpoint.ipv6.map_or(0, |six| six.prefix_length),
                "MacAddress": endpoint.mac.to_string(),
            });
            (endpoint.network.to_string(), document)
        });
        // A network that it is in only while it runs is named all the same.
        let wanted = self.network_names().into_iter().map(|name| (name, json!({ "IPAddress": "", "EndpointID": "" })));
        wanted.chain(attached).collect()
    }

    /// Ports that the container expects to serve and the host does not publish.
    fn unpublished(&self) -> impl Iterator<Item = &str> {
        let exposed = self.container.record().settings.exposed_ports.iter().map(String::as_str);
        exposed.filter(|target| !self.life.ports.iter().any(|port| target_of(port) == **target))
    }

    fn passes(&self, filters: &Filters) -> bool {
        let record = self.container.record();
        let options = &record.options;
        filters.pass("id", |id| record.id.as_str().starts_with(id))
            && filters
                .pass("name", |name| record.name.contains(name.trim_start_matches(['/', '^']).trim_end_matches('$')))
            && filters.pass("status", |status| self.life.status.as_str() == status)
            && filters.pass("health", |health| self.health.map_or("none", HealthStatus::as_str) == health)
            && filters.pass_labels(&record.settings.labels)
            && filters.pass("ancestor", |image| {
                options.image == image
                    || options.image.strip_suffix(":latest") == Some(image)
                    || record.image_id.as_ref().is_some_and(|id| id.to_string() == image || id.hex().starts_with(image))
            })
            && filters.pass("exited", |code| {
                self.life.status == Status::Exited && self.life.exit_code.is_some_and(|have| have.to_string() == code)
            })
            && filters.pass("network", |network| self.network_names().iter().any(|name| name == network))
            && filters.pass("volume", |volume| {
                record.mounts.iter().any(|mount| {
                    matches!(&mount.kind, MountKind::Volume { name, .. } if name == volume)
                        || mount.target == std::path::Path::new(volume)
                })
            })
            && filters.pass("publish", |port| self.life.ports.iter().any(|have| have.host_port.to_string() == port))
    }
}

/// `ps -s`: what a container has written, and with its image's layers: `1.2kB (virtual 5.6MB)`.
///
/// # Errors
/// A layer that is not here any more.
pub fn size(engine: &Engine, id: &ContainerId) -> Result<String, ApiError> {
    let (own, all) = engine.size(id)?;
    Ok(size_words(own, all))
}

/// What a container has written, and all of its files, bytes: `1.2kB (virtual 5.6MB)`.
pub fn size_words(own: u64, all: u64) -> String {
    format!("{} (virtual {})", words::size(own), words::size(all))
}

/// `80/tcp`.
pub fn target_of(port: &PortMapping) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}
