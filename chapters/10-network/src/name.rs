//! Names: of networks, and of the kernel's devices that belong to them.
//!
//! A network's name is the user's and may be long; a device's name is the kernel's and has room for
//! fifteen bytes ([`IFNAMSIZ`](https://man7.org/linux/man-pages/man7/netdevice.7.html) less the NUL). So devices
//! are named by short hashes, and the hash includes the engine's root: two engines on one machine
//! never fight over a bridge.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The name of a network, as given to `--network`.
///
/// One to 64 ASCII letters, digits, `_`, `.` and `-`, of which the first is a letter or digit. It becomes part of
/// a file's and of an nftables table's name, which is why nothing else may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

/// The longest name of a network, in bytes.
const LONGEST: usize = 64;

impl NetworkName {
    /// The network that containers join when no other was asked for.
    pub fn default_bridge() -> Self {
        Self("bridge".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadName { what: "network name", text: text.to_owned(), reason };
        if matches!(text, "host" | "none" | "default" | "container") {
            return Err(bad("that word means a mode, not a network"));
        }
        check_word(text, LONGEST).map_err(bad)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NetworkName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a container's id before it becomes part of a file name.
///
/// # Errors
/// [`Error::BadName`] for anything but letters, digits, `_`, `.`, `-` (128 at most, the first a letter or digit).
pub fn check_container_id(id: &str) -> Result<(), Error> {
    check_word(id, 128).map_err(|reason| Error::BadName { what: "container id", text: id.to_owned(), reason })
}

/// Checks the name of a program that is looked for in fixed directories: nothing in it may lead out of them.
///
/// # Errors
/// [`Error::BadName`].
pub fn check_program(name: &str) -> Result<(), Error> {
    check_word(name, 64).map_err(|reason| Error::BadName { what: "network plugin", text: name.to_owned(), reason })
}

fn check_word(text: &str, longest: usize) -> Result<(), &'static str> {
    let first = text.bytes().next().ok_or("it is empty")?;
    if text.len() > longest {
        return Err("it is too long");
    }
    if !first.is_ascii_alphanumeric() {
        return Err("it must begin with a letter or a digit");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Err("only letters, digits, '_', '.' and '-' may stand in it");
    }
    Ok(())
}

/// The name of a network device: 1 to 15 bytes, no slash, colon or space.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// The bridge of network `network` in the engine whose data live in `root`: `co-` and ten hex digits.
    pub fn bridge(root: &Path, network: &NetworkName) -> Self {
        Self(format!("co-{}", short_hash(&[root.as_os_str().as_encoded_bytes(), network.as_str().as_bytes()], 10)))
    }

    /// The host's end of a container's `index`th cable: `cv-`, eight digits of the container's id, the index.
    ///
    /// An id that is not hexadecimal (a name given to the OCI runtime by hand) is hashed first.
    pub fn host_end(container_id: &str, index: u8) -> Self {
        let hexadecimal = container_id.len() >= 12 && container_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let short = if hexadecimal { container_id[..8].to_owned() } else { short_hash(&[container_id.as_bytes()], 8) };
        Self(format!("cv-{short}-{index}"))
    }

    /// The container's end: `eth0`, `eth1`...
    pub fn container_end(index: u8) -> Self {
        Self(format!("eth{index}"))
    }

    /// The loopback device, which every network namespace has.
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadName { what: "device name", text: text.to_owned(), reason };
        if text.is_empty() || text.len() > 15 || text == "." || text == ".." {
            return Err(bad("it must have 1 to 15 bytes"));
        }
        if text.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b'/' || byte == b':' || byte == 0) {
            return Err(bad("no space, slash or colon may stand in it"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DeviceName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first `digits` hexadecimal digits of a SHA-256 over the parts, each ended by a NUL.
pub(crate) fn short_hash(parts: &[&[u8]], digits: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hash[..digits.min(hash.len())].to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for text in ["", ".", "..", "a/b", "-a", "a b", "host", "none", "ä", "a\n", &"x".repeat(65)] {
            assert!(text.parse::<NetworkName>().is_err(), "{text:?}");
        }
        assert_eq!("my_net-1.2".parse::<NetworkName>().unwrap().as_str(), "my_net-1.2");
    }

    #[test]
    fn two_roots_have_two_bridges_and_both_fit_the_kernel() {
        let name = NetworkName::default_bridge();
        let (one, other) = (DeviceName::bridge(Path::new("/a"), &name), DeviceName::bridge(Path::new("/b"), &name));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 13);
        assert!(one.as_str().parse::<DeviceName>().is_ok());
    }

    #[test]
    fn the_hosts_end_is_named_after_the_container() {
        assert_eq!(DeviceName::host_end("3f2a9c0112345678", 0).as_str(), "cv-3f2a9c01-0");
        assert!(DeviceName::host_end(&"z".repeat(128), 255).as_str().len() <= 15);
    }
}
