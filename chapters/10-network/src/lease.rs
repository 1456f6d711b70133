//! Leases: who holds which address, as files that a reader can `ls` and `cat`.
//!
//! ```text
//! RUN/networks/bridge/172.17.0.2@3f2a9c01...json
//!                     ^ the address  ^ the container that holds it
//! ```
//!
//! The name alone answers the two questions that are asked all the time, "which addresses are free?" and "which leases
//! does this container hold?", so that connecting the thousandth container reads a directory and not a thousand files.
//! The content is for the resolver, for cleaning up, and for people.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use process::{CallError, During, Pid};
use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::error::{Error, Result};
use crate::name::{DeviceName, NetworkName, check_container_id, short_hash};
use crate::port::PortMapping;

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkName,
    /// The container's id.
    pub container_id: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// How many leading bits of it are the network's.
    pub prefix_length: u8,
    /// The way out; none in an internal network.
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 side, in a network that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Place6>,
    /// The container's hardware address.
    pub mac: Mac,
    /// The device inside the container: `eth0`.
    pub interface: DeviceName,
    /// The other end of the cable, on the host.
    pub host_end: DeviceName,
}

impl Endpoint {
    /// 64 hexadecimal digits that stand for this place, as docker's clients want them.
    pub fn id(&self) -> String {
        let address = self.address.to_string();
        short_hash(&[self.network.as_str().as_bytes(), self.container_id.as_bytes(), address.as_bytes()], 64)
    }
}

/// A container's IPv6 place in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place6 {
    /// The container's address.
    pub address: Ipv6Addr,
    /// How many leading bits of it are the network's.
    pub prefix_length: u8,
    /// The way out; none in an internal network.
    pub gateway: Option<Ipv6Addr>,
}

/// An endpoint and what else is known of it; the content of a lease file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The endpoint itself.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// What other containers of the network may call it: name, short id, aliases; lower case.
    pub names: Vec<String>,
    /// The process whose network namespace holds the container's end, and when it started.
    pub owner: Owner,
    /// What is published of it.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
}

/// A process, named so that its number's next holder is not mistaken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its number.
    pub pid: Pid,
    /// When it started, in clock ticks after boot.
    pub start_time: u64,
}

impl Owner {
    /// Looks the process up.
    ///
    /// # Errors
    /// `ENOENT` when it has ended.
    pub fn of(pid: Pid) -> Result<Self, CallError> {
        Ok(Self { pid, start_time: pid.start_time()? })
    }

    /// Whether the process still is there.
    pub fn is_alive(&self) -> bool {
        self.pid.start_time().is_ok_and(|start| start == self.start_time)
    }
}

/// The leases of one network. Whoever changes them holds the networks' lock.
#[derive(Debug, Clone)]
pub struct Leases {
    directory: PathBuf,
}

impl Leases {
    /// The leases that live in `directory`, which need not exist yet.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every held address with its holder, from the names of the files alone.
    ///
    /// # Errors
    /// Those of reading a directory; one that does not exist holds no lease.
    pub fn holders(&self) -> Result<Vec<(Ipv4Addr, String)>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.during("readdir", self.directory.display())?,
        };
        let mut holders = Vec::new();
        for entry in entries {
            let entry = entry.during("readdir", self.directory.display())?;
            holders.extend(entry.file_name().to_str().and_then(parse_file_name));
        }
        holders.sort_unstable();
        Ok(holders)
    }

    /// The addresses in use.
    ///
    /// # Errors
    /// As [`holders`](Self::holders).
    pub fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>> {
        Ok(self.holders()?.into_iter().map(|(address, _)| address).collect())
    }

    /// The IPv6 addresses in use. Unlike the IPv4 ones they stand in the files, not in the files' names.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn addresses6(&self) -> Result<BTreeSet<Ipv6Addr>> {
        Ok(self.all()?.into_iter().filter_map(|lease| Some(lease.endpoint.ipv6?.address)).collect())
    }

    /// The lease of a container, if it has one here.
    ///
    /// # Errors
    /// [`Error::State`] for a file that does not read as a lease.
    pub fn of_container(&self, container_id: &str) -> Result<Option<Lease>> {
        let held = self.holders()?.into_iter().find(|(_, holder)| holder == container_id);
        held.map(|(address, holder)| self.read(address, &holder)).transpose()
    }

    /// Reads every lease.
    ///
    /// # Errors
    /// As [`of_container`](Self::of_container). A lease that goes away meanwhile is no error.
    pub fn all(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for (address, holder) in self.holders()? {
            match self.read(address, &holder) {
                Err(Error::Call(error)) if error.errno() == Errno::ENOENT => {}
                lease => leases.push(lease?),
            }
        }
        Ok(leases)
    }

    /// Writes a lease, new or changed.
    ///
    /// By rename, so that a reader sees all of it or nothing; without `fsync`, for a lease does not outlive the
    /// kernel that has the cable.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, lease: &Lease) -> Result<()> {
        check_container_id(&lease.endpoint.container_id)?;
        fs::create_dir_all(&self.directory).during("mkdir", self.directory.display())?;
        let path = self.path(lease.endpoint.address, &lease.endpoint.container_id);
        let fresh = path.with_extension("new");
        let mut bytes = serde_json::to_vec_pretty(lease)
            .map_err(|error| Error::State { path: path.clone(), message: error.to_string() })?;
        bytes.push(b'\n');
        fs::write(&fresh, bytes).during("write", fresh.display())?;
        fs::rename(&fresh, &path).during("rename", path.display())?;
        Ok(())
    }

    /// Gives an address back; fine if it was free.
    ///
    /// # Errors
    /// Those of the file system, but not `ENOENT`.
    pub fn remove(&self, address: Ipv4Addr, container_id: &str) -> Result<()> {
        let path = self.path(address, container_id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => Ok(result.during("unlink", path.display())?),
        }
    }

    fn path(&self, address: Ipv4Addr, container_id: &str) -> PathBuf {
        self.directory.join(format!("{address}@{container_id}.json"))
    }

    fn read(&self, address: Ipv4Addr, container_id: &str) -> Result<Lease> {
        let path = self.path(address, container_id);
        let bytes = fs::read(&path).during("read", path.display())?;
        let lease: Lease = serde_json::from_slice(&bytes)
            .map_err(|error| Error::State { path: path.clone(), message: error.to_string() })?;
        if lease.endpoint.address != address || lease.endpoint.container_id != container_id {
            return Err(Error::State { path, message: "its name and its content disagree".to_owned() });
        }
        Ok(lease)
    }
}

/// `172.17.0.2@3f2a.json` as its two halves; nothing for a file that is no lease.
fn parse_file_name(name: &str) -> Option<(Ipv4Addr, String)> {
    let (address, holder) = name.strip_suffix(".json")?.split_once('@')?;
    check_container_id(holder).ok()?;
    Some((address.parse().ok()?, holder.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lease(last: u8, container_id: &str) -> Lease {
        let address = Ipv4Addr::new(172, 17, 0, last);
        Lease {
            endpoint: Endpoint {
                network: NetworkName::default_bridge(),
                container_id: container_id.to_owned(),
                address,
                prefix_length: 16,
                gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
                ipv6: None,
                mac: Mac::of(address),
                interface: DeviceName::container_end(0),
                host_end: DeviceName::host_end(container_id, 0),
            },
            names: vec!["web".to_owned()],
            owner: Owner::of(Pid::this()).unwrap(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn a_lease_is_a_file_named_by_address_and_holder() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::in_directory(directory.path().join("bridge"));
        assert_eq!(leases.holders().unwrap(), []);
        let (one, other) = (lease(2, "abc"), lease(3, "def"));
        leases.write(&one).unwrap();
        leases.write(&other).unwrap();
        assert!(leases.directory().join("172.17.0.2@abc.json").is_file());
        assert_eq!(leases.addresses().unwrap().len(), 2);
        assert_eq!(leases.of_container("def").unwrap(), Some(other));
        leases.remove(one.endpoint.address, "abc").unwrap();
        leases.remove(one.endpoint.address, "abc").unwrap();
        assert_eq!(leases.all().unwrap().len(), 1);
    }

    #[test]
    fn a_lease_that_lies_about_itself_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::in_directory(directory.path().to_owned());
        leases.write(&lease(2, "abc")).unwrap();
        fs::rename(directory.path().join("172.17.0.2@abc.json"), directory.path().join("172.17.0.9@abc.json")).unwrap();
        let error = leases.all().unwrap_err().to_string();
        assert!(error.contains("172.17.0.9@abc.json: its name and its content disagree"), "{error}");
        fs::write(directory.path().join("172.17.0.9@abc.json"), "{").unwrap();
        assert!(leases.all().unwrap_err().to_string().contains("172.17.0.9@abc.json: EOF"));
    }

    #[test]
    fn a_process_that_ended_owns_nothing() {
        let mut owner = Owner::of(Pid::this()).unwrap();
        assert!(owner.is_alive());
        owner.start_time += 1;
        assert!(!owner.is_alive());
    }
}
