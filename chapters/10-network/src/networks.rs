//! The networks of an engine: what exists, as files.
//!
//! ```text
//! DATA/networks/bridge.json          a network, until it is removed        (lasts)
//! RUN/networks/bridge/               its leases, while containers run      (gone after a reboot)
//! RUN/networks/bridge/ready          the number of its bridge, once that has its rules
//! RUN/networks/lock                  held by whoever changes any of this, or a bridge, or a table
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use ipnet::Ipv6Net;
use nix::errno::Errno;
use process::During;
use process::state::{Lock, read_json, write_json};

use crate::dns::Resolver;
use crate::error::{Error, Result};
use crate::firewall::Table;
use crate::lease::{Endpoint, Leases};
use crate::name::NetworkName;
use crate::netlink::Socket;
use crate::network::{Network, NetworkSpec, Taken};
use crate::route;

/// The networks of one engine.
#[derive(Debug, Clone)]
pub struct Networks {
    root: PathBuf,
    files: PathBuf,
    run: PathBuf,
}

impl Networks {
    /// Opens the networks of the engine with these two directories, in each of which `networks/` is this chapter's.
    ///
    /// # Errors
    /// Those of making the directories.
    pub fn open(data_dir: &Path, run_dir: &Path) -> Result<Self> {
        let (files, run) = (data_dir.join("networks"), run_dir.join("networks"));
        for directory in [&files, &run] {
            fs::create_dir_all(directory).during("mkdir", directory.display())?;
        }
        // The bridges' names are derived from the root: one root must not have two spellings.
        let root = fs::canonicalize(data_dir).during("realpath", data_dir.display())?;
        Ok(Self { root, files, run })
    }

    /// Makes a network: its file. Nothing of the kernel's changes until a container connects.
    ///
    /// # Errors
    /// [`Error::NetworkExists`], and those of [`Network::plan`].
    pub fn create(&self, spec: NetworkSpec) -> Result<Network> {
        let _lock = self.lock()?;
        if self.read(&spec.name)?.is_some() {
            return Err(Error::NetworkExists(spec.name));
        }
        self.create_locked(spec)
    }

    /// The network of that name. The default network is made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`]; [`Error::State`] or [`Error::Call`] for a file that cannot be read.
    pub fn inspect(&self, name: &NetworkName) -> Result<Network> {
        if let Some(network) = self.read(name)? {
            return Ok(network);
        }
        let _lock = self.lock()?;
        self.inspect_locked(name)
    }

    /// Every network, by name.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect), for the first that cannot be read.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        for entry in fs::read_dir(&self.files).during("readdir", self.files.display())? {
            let name = entry.during("readdir", self.files.display())?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(Ok(name)) = name.map(str::parse) {
                networks.extend(self.read(&name)?);
            }
        }
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(networks)
    }

    /// Removes a network that no container is connected to.
    ///
    /// # Errors
    /// [`Error::BuiltIn`], [`Error::NoSuchNetwork`], [`Error::NetworkInUse`] with the holders' names.
    pub fn remove(&self, name: &NetworkName) -> Result<()> {
        if *name == NetworkName::default_bridge() {
            return Err(Error::BuiltIn(name.clone()));
        }
        let _lock = self.lock()?;
        let network = self.read(name)?.ok_or_else(|| Error::NoSuchNetwork(name.to_string()))?;
        let leases = self.leases(name);
        let holders = leases.all()?;
        if !holders.is_empty() {
            let holders = holders.into_iter().map(|lease| lease.names.into_iter().next().unwrap_or_default()).collect();
            return Err(Error::NetworkInUse { network: network.name, holders });
        }
        self.lower_if_idle(&mut Socket::open()?, &network)?;
        let file = self.file(name);
        fs::remove_file(&file).during("unlink", file.display())?;
        match fs::remove_dir_all(leases.directory()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => Ok(result.during("rmdir", leases.directory().display())?),
        }
    }

    /// Removes every network that no container is connected to, but the default one; returns their names.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), for the first that cannot be removed.
    pub fn prune(&self) -> Result<Vec<NetworkName>> {
        let mut removed = Vec::new();
        for Network { name, .. } in self.list()? {
            match self.remove(&name) {
                Err(Error::BuiltIn(_) | Error::NetworkInUse { .. } | Error::NoSuchNetwork(_)) => {}
                result => result.map(|()| removed.push(name))?,
            }
        }
        Ok(removed)
    }

    /// The leases of a network.
    pub fn leases(&self, name: &NetworkName) -> Leases {
        Leases::in_directory(self.run.join(name.as_str()))
    }

    /// The firewall table of a network.
    pub fn table(&self, name: &NetworkName) -> Table {
        Table::of(&self.root, name)
    }

    /// What that container finds when it asks for a name, in the networks that it is in at that moment.
    pub fn resolver(&self, container_id: &str) -> Resolver {
        Resolver::of_container(self.run.clone(), container_id)
    }

    /// The places of a container in all its networks, in the order of its devices.
    ///
    /// # Errors
    /// [`Error::State`] for a lease that does not read as one.
    pub fn endpoints(&self, container_id: &str) -> Result<Vec<Endpoint>> {
        let mut endpoints = Vec::new();
        for network in self.with_leases()? {
            endpoints.extend(self.leases(&network).of_container(container_id)?.map(|lease| lease.endpoint));
        }
        endpoints.sort_by(|one, other| one.interface.as_str().cmp(other.interface.as_str()));
        Ok(endpoints)
    }

    /// Where this boot's leases and marks are.
    pub(crate) fn run_directory(&self) -> &Path {
        &self.run
    }

    /// The engine's data directory, in its one spelling.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Networks that have leases, or had some: the directories under `RUN/networks`.
    pub(crate) fn with_leases(&self) -> Result<Vec<NetworkName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.run).during("readdir", self.run.display())? {
            let entry = entry.during("readdir", self.run.display())?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let (true, Some(Ok(name))) = (is_directory, entry.file_name().to_str().map(str::parse)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Waits for the right to change networks, leases, bridges and tables of this engine.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Ok(Lock::exclusive(&self.run.join("lock"))?)
    }

    pub(crate) fn inspect_locked(&self, name: &NetworkName) -> Result<Network> {
        match self.read(name)? {
            Some(network) => Ok(network),
            None if *name == NetworkName::default_bridge() => self.create_locked(NetworkSpec::named(name.clone())),
            None => Err(Error::NoSuchNetwork(name.to_string())),
        }
    }

    fn create_locked(&self, spec: NetworkSpec) -> Result<Network> {
        let network = Network::plan(spec, &self.root, &self.taken()?)?;
        write_json(&self.file(&network.name), &network)?;
        Ok(network)
    }

    /// The subnets that a new network must not touch: the host's routes, addresses, and our own networks.
    fn taken(&self) -> Result<Taken> {
        let mut socket = Socket::open()?;
        let mut taken = Taken::default();
        taken.four.extend(route::routes(&mut socket)?.into_iter().map(|route| route.destination));
        taken.four.extend(route::addresses(&mut socket)?.into_iter().map(|address| address.address));
        taken.six = route::routes6(&mut socket)?;
        for network in self.list()? {
            taken.four.push(network.subnet);
            taken.six.extend(network.ipv6.map(|pool| -> Ipv6Net { pool.subnet }));
        }
        Ok(taken)
    }

    fn read(&self, name: &NetworkName) -> Result<Option<Network>> {
        match read_json::<Network>(&self.file(name)) {
            Err(error) if error.errno() == Errno::ENOENT => Ok(None),
            Ok(network) if network.name != *name => Err(Error::State {
                path: self.file(name),
                message: format!("it says that it is network {:?}", network.name.as_str()),
            }),
            network => Ok(Some(network?)),
        }
    }

    fn file(&self, name: &NetworkName) -> PathBuf {
        self.files.join(format!("{name}.json"))
    }
}
