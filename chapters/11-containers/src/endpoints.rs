//! A container's places in networks: taken when it starts, taken and given up while it runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use network::{Endpoint, EndpointOptions, Family, Mac, NetworkName, hosts};
use process::{During as _, Pid};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::id::ContainerId;
use crate::networking::{Connection, HostAddress, NetworkMode};
use crate::record::{Container, Life};

impl Engine {
    /// Connects a container to one more network: at once if it runs, and at every start from now on.
    ///
    /// # Errors
    /// [`Error::BadValue`] when it is in that network already, or shares somebody's; those of joining.
    pub fn connect_network(&self, id: &ContainerId, connection: Connection) -> Result<()> {
        let mut container = self.container(id)?;
        let _lock = container.lock()?;
        self.networks()
            .inspect(&connection.network.parse().doing("read", "network")?)
            .doing("connect", container.name())?;
        container.record.options.network.more.push(connection.clone());
        container.record.options.network.check()?;
        let life = container.life()?;
        if let Some(pid) = life.pid {
            self.needs_root("network connect")?;
            self.join(&container, pid, &connection)?;
        }
        let written = container.write_record();
        if let (Err(_), Some(_)) = (&written, life.pid) {
            // The first error is the one to tell.
            let name = connection.network.parse().doing("read", "network")?;
            let _ = self.networks().disconnect_from(&name, id.as_str());
        }
        written?;
        self.note_endpoints(&container, life)
    }

    /// Takes a container out of a network: at once if it runs, and for every start from now on.
    ///
    /// # Errors
    /// [`Error::BadValue`] when it is not in that network; those of leaving.
    pub fn disconnect_network(&self, id: &ContainerId, network: &str) -> Result<()> {
        let mut container = self.container(id)?;
        let _lock = container.lock()?;
        let wanted = &mut container.record.options.network;
        let before = wanted.connections().len();
        if wanted.mode.network() == Some(network) {
            wanted.left_first = true;
        }
        wanted.more.retain(|connection| connection.network != network);
        if wanted.connections().len() == before {
            let reason = format!("container {} is not connected to it", container.name());
            return Err(Error::bad("network", network, reason));
        }
        let life = container.life()?;
        if life.pid.is_some() {
            self.needs_root("network disconnect")?;
            let name: NetworkName = network.parse().doing("read", "network")?;
            match self.networks().disconnect_from(&name, id.as_str()) {
                // It never was in it: the record was ahead of a crash.
                Err(network::Error::NotConnected { .. }) => {}
                left => left.doing("disconnect", container.name())?,
            }
            self.networks().lower_idle().doing("clean up", "networks")?;
        }
        container.write_record()?;
        self.note_endpoints(&container, life)
    }

    /// Joins one network, for a container whose namespaces `pid` is in.
    pub(crate) fn join(&self, container: &Container, pid: Pid, wanted: &Connection) -> Result<Endpoint> {
        let network: NetworkName = wanted.network.parse().doing("read", "--network")?;
        let mut names = vec![container.name().to_owned()];
        names.extend(wanted.aliases.iter().cloned());
        let mac: Option<Mac> = wanted.mac.as_ref().map(|mac| mac.parse()).transpose().doing("read", "--mac-address")?;
        let options = EndpointOptions { names, address: wanted.ip, address6: wanted.ip6, mac };
        let joined = self.networks().connect(&network, container.id().as_str(), pid, &options);
        joined.doing("connect", container.name())
    }

    /// Whether any of these networks has IPv6.
    pub(crate) fn family(&self, connections: &[Connection]) -> Result<Family> {
        for connection in connections {
            let name = connection.network.parse().doing("read", "--network")?;
            let network = self.networks().inspect(&name).doing("inspect", &connection.network)?;
            // Ports are published where the way out is, which is the first network that has one.
            if !network.internal {
                return Ok(if network.ipv6.is_some() { Family::Both } else { Family::Four });
            }
        }
        Ok(Family::Four)
    }

    /// The network namespace of the container whose network this one shares.
    pub(crate) fn shared_network(&self, container: &Container) -> Result<Option<PathBuf>> {
        let NetworkMode::Container(other) = &container.record().options.network.mode else { return Ok(None) };
        let other = self.find(other)?;
        match other.life()?.pid {
            Some(pid) => Ok(Some(PathBuf::from(format!("/proc/{pid}/ns/net")))),
            None => Err(crate::lifecycle::wrong_state(&other, "sharing its network", "running")?),
        }
    }

    /// The text of a container's `/etc/hosts`.
    pub(crate) fn hosts_file(&self, container: &Container, endpoints: &[Endpoint]) -> Result<String> {
        let record = container.record();
        let wanted = &record.options.network;
        let mut extra = Vec::new();
        for (name, address) in &wanted.extra_hosts {
            let address = match address {
                HostAddress::Address(address) => *address,
                HostAddress::Gateway => self.host_gateway(&wanted.mode, endpoints)?,
            };
            extra.push((name.clone(), address));
        }
        let four = endpoints.iter().map(|endpoint| IpAddr::from(endpoint.address));
        let six = endpoints.iter().filter_map(|endpoint| Some(IpAddr::from(endpoint.ipv6?.address)));
        Ok(hosts(&record.settings.hostname, &four.chain(six).collect::<Vec<_>>(), &extra))
    }

    /// The machine itself, as a container with these networks reaches it.
    fn host_gateway(&self, mode: &NetworkMode, endpoints: &[Endpoint]) -> Result<IpAddr> {
        if *mode == NetworkMode::Host {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let gateway = endpoints.iter().find_map(|endpoint| endpoint.gateway);
        gateway.map(IpAddr::from).ok_or_else(|| {
            Error::bad(
                "--add-host",
                "host-gateway",
                "this container has no bridge through which it reaches the machine",
            )
        })
    }

    /// Writes down where a container is now: state.json, and its own hosts file, which it sees change.
    fn note_endpoints(&self, container: &Container, life: Life) -> Result<()> {
        if life.pid.is_none() {
            return Ok(());
        }
        let endpoints = self.networks().endpoints(container.id().as_str()).doing("inspect", container.name())?;
        let hosts = self.hosts_file(container, &endpoints)?;
        container.write_life(&Life { endpoints, ..life })?;
        // In place: the container has this very file mounted.
        let path = container.directory().join("hosts");
        Ok(std::fs::write(&path, hosts).during("write", path.display())?)
    }

    fn needs_root(&self, operation: &'static str) -> Result<()> {
        match namespaces::rootless::is_rootless() {
            true => Err(Error::bad("network", operation, "a running container's network can be changed by root alone")),
            false => Ok(()),
        }
    }

    /// `NetworkSettings.Networks` of a container, by network: where it is, and where it is to be when it runs.
    ///
    /// # References
    /// Docker Engine API, `EndpointSettings`
    pub fn endpoint_documents(&self, container: &Container, life: &Life) -> Value {
        let wanted = &container.record().options.network;
        let mut documents = Map::new();
        for connection in wanted.connections() {
            let endpoint = life.endpoints.iter().find(|endpoint| endpoint.network.as_str() == connection.network);
            documents.insert(connection.network.clone(), self.endpoint_document(container, &connection, endpoint));
        }
        if documents.is_empty() && wanted.mode.network().is_none() && !matches!(wanted.mode, NetworkMode::Container(_))
        {
            let connection = Connection { network: wanted.mode.as_str().to_owned(), ..Connection::default() };
            documents.insert(connection.network.clone(), self.endpoint_document(container, &connection, None));
        }
        Value::Object(documents)
    }

    fn endpoint_document(&self, container: &Container, wanted: &Connection, endpoint: Option<&Endpoint>) -> Value {
        let text = |value: Option<String>| value.unwrap_or_default();
        let network = wanted.network.parse().ok().and_then(|name| self.networks().inspect(&name).ok());
        let six = endpoint.and_then(|endpoint| endpoint.ipv6);
        let asked = wanted.ip.is_some() || wanted.ip6.is_some();
        let ipam = json!({ "IPv4Address": text(wanted.ip.map(|ip| ip.to_string())), "IPv6Address": text(wanted.ip6.map(|ip| ip.to_string())) });
        let aliases: Vec<&str> = wanted.aliases.iter().map(String::as_str).chain([container.id().short()]).collect();
        json!({
            "IPAMConfig": if asked { ipam } else { Value::Null },
            "Links": null,
            "Aliases": if wanted.network == "bridge" && wanted.aliases.is_empty() { Value::Null } else { json!(aliases) },
            "MacAddress": text(endpoint.map(|it| it.mac.to_string())),
            "NetworkID": text(network.map(|network| network.id)),
            "EndpointID": text(endpoint.map(Endpoint::id)),
            "Gateway": text(endpoint.and_then(|it| it.gateway).map(|it| it.to_string())),
            "IPAddress": text(endpoint.map(|it| it.address.to_string())),
            "IPPrefixLen": endpoint.map_or(0, |it| it.prefix_length),
            "IPv6Gateway": text(six.and_then(|it| it.gateway).map(|it| it.to_string())),
            "GlobalIPv6Address": text(six.map(|it| it.address.to_string())),
            "GlobalIPv6PrefixLen": six.map_or(0, |it| it.prefix_length),
            "DriverOpts": null,
        })
    }
}
