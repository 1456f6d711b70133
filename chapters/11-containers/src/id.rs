//! A container's id and name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A container's id: 64 lowercase hexadecimal digits, random.
///
/// An id becomes a directory's name, so nothing else is ever accepted as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// A new id from the kernel's random numbers.
    ///
    /// # Errors
    /// The kernel gave no random bytes.
    pub fn random() -> Result<Self> {
        random_hex().map(Self)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as listings show them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 64 || !hex {
            return Err(Error::bad("container id", text, "an id is 64 lowercase hexadecimal digits"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// 256 random bits in hexadecimal: ids of containers and of anonymous volumes.
pub(crate) fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; 32];
    fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::Call(process::CallError::refused("getrandom", "", format!("no random bytes: {error}"))))
}

/// Checks a name that somebody chose, for a container or a volume.
///
/// Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`. It is also what makes a name safe as a file's name.
///
/// # Errors
/// [`Error::BadValue`] naming `option`.
pub fn check_name(option: &'static str, name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if !first || !rest || name.len() < 2 || name.len() > 200 {
        return Err(Error::bad(option, name, "a name is 2 to 200 characters: [a-zA-Z0-9][a-zA-Z0-9_.-]+"));
    }
    Ok(())
}

/// A name for a container whose creator chose none: an adjective and a thing from the cooper's shop.
///
/// # Errors
/// The kernel gave no random bytes.
pub fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 4];
    fill(&mut bytes)?;
    let pick =
        |words: &[&'static str], high: u8, low: u8| words[usize::from(u16::from_be_bytes([high, low])) % words.len()];
    Ok(format!("{}_{}", pick(MANNERS, bytes[0], bytes[1]), pick(THINGS, bytes[2], bytes[3])))
}

const MANNERS: &[&str] = &[
    "able", "amber", "ample", "apt", "arched", "ashen", "blithe", "bold", "brave", "brisk", "bright", "broad", "calm",
    "careful", "clever", "coiled", "cosy", "crisp", "curved", "deft", "dry", "eager", "early", "earnest", "easy",
    "even", "fair", "fast", "fine", "firm", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "happy",
    "hardy", "hearty", "hollow", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow",
    "merry", "mild", "modest", "neat", "nimble", "noble", "oaken", "patient", "plain", "polite", "proud", "quick",
    "quiet", "ready", "round", "sealed", "seasoned", "serene", "sharp", "silent", "sleek", "smooth", "snug", "sober",
    "solid", "sound", "spruce", "steady", "still", "stout", "strong", "sturdy", "sunny", "swift", "tall", "tidy",
    "tight", "trim", "true", "trusty", "upright", "vivid", "warm", "wise", "witty", "zealous",
];

const THINGS: &[&str] = &[
    "adze",
    "anvil",
    "auger",
    "awl",
    "axe",
    "barrel",
    "basin",
    "bevel",
    "bilge",
    "block",
    "brace",
    "bucket",
    "bung",
    "butt",
    "cask",
    "cellar",
    "chime",
    "chisel",
    "churn",
    "clamp",
    "compass",
    "cooper",
    "croze",
    "cup",
    "dock",
    "dowel",
    "driver",
    "ewer",
    "firkin",
    "flagon",
    "flagship",
    "froe",
    "gauge",
    "gimlet",
    "grain",
    "grove",
    "hammer",
    "harbour",
    "head",
    "hogshead",
    "hold",
    "hoop",
    "horse",
    "jack",
    "jointer",
    "keel",
    "keg",
    "kilderkin",
    "knife",
    "ladle",
    "lathe",
    "level",
    "mallet",
    "mast",
    "maul",
    "mill",
    "oak",
    "pail",
    "pin",
    "pipe",
    "plane",
    "plumb",
    "puncheon",
    "quay",
    "rasp",
    "rivet",
    "rope",
    "rundlet",
    "saw",
    "scraper",
    "shave",
    "spigot",
    "spile",
    "stave",
    "stock",
    "tankard",
    "tap",
    "tierce",
    "timber",
    "tub",
    "tun",
    "vat",
    "vessel",
    "vice",
    "wedge",
    "willow",
    "windlass",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_that_could_be_a_path_is_refused() {
        for text in ["", "..", "../../etc", &"A".repeat(64), &"a".repeat(63), &format!("{}/", "a".repeat(63))] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
        assert_eq!(ContainerId::random().unwrap().as_str().len(), 64);
    }

    #[test]
    fn a_name_keeps_docker_s_rule() {
        for good in ["web", "a1", "my-app_1.x", &random_name().unwrap()] {
            assert!(check_name("--name", good).is_ok(), "{good:?}");
        }
        for bad in ["", "a", "-web", ".web", "a/b", "a b", "ä1", "..", &"a".repeat(201)] {
            assert!(check_name("--name", bad).is_err(), "{bad:?}");
        }
    }
}
