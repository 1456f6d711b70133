//! The name of a cgroup: a path in the tree, the same in every hierarchy.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A cgroup's path below the tree's base: `/cooper/4f1a...`. Never leads upwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath(String);

/// Deeper trees are refused: the kernel's cost of a charge grows with the depth.
const DEEPEST: usize = 16;

impl CgroupPath {
    /// The cgroup of a container of this engine: `/cooper/ID`.
    ///
    /// # Errors
    /// An id that is no single path component.
    pub fn of_container(id: &str) -> Result<Self, Error> {
        if id.contains('/') {
            return Err(Error::Path { path: id.to_owned(), reason: "an id is a single component" });
        }
        format!("/cooper/{id}").parse()
    }

    /// A group inside this one.
    ///
    /// # Errors
    /// As for a path of its own: one that climbs, that is too deep.
    pub fn inside(&self, below: &str) -> Result<Self, Error> {
        format!("{}/{below}", self.0).parse()
    }

    /// The path as text, beginning with a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, from the top.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// This cgroup's directory in a tree whose base is `base`.
    pub fn below(&self, base: &Path) -> PathBuf {
        base.join(self.0.trim_start_matches('/'))
    }
}

impl FromStr for CgroupPath {
    type Err = Error;

    /// Reads a path: slashes that are too many are left out, and what leads elsewhere is refused.
    ///
    /// # Errors
    /// The whole tree, more than [`DEEPEST`] components, a NUL or a newline, `.` and `..`, a component of more than 255
    /// bytes, and names that begin with `cgroup.`.
    // hole: read-group-path
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Path { path: text.to_owned(), reason });
        let components: Vec<&str> = text.split('/').filter(|component| !component.is_empty()).collect();
        match () {
            () if components.is_empty() => refuse("it names the whole tree"),
            () if components.len() > DEEPEST => refuse("it is too deep"),
            () if text.contains(['\0', '\n']) => refuse("it holds a NUL or a newline"),
            () if components.iter().any(|component| matches!(*component, "." | "..")) => refuse("it climbs"),
            () if components.iter().any(|component| component.len() > 255) => refuse("a component is too long"),
            // The kernel's own files live in the same directory: a child of that name could not be made.
            () if components.iter().any(|component| component.starts_with("cgroup.")) => {
                refuse("names that begin with \"cgroup.\" are the kernel's")
            }
            () => Ok(Self(format!("/{}", components.join("/")))),
        }
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> String {
        path.0
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_cleaned_and_never_climbs() {
        let path: CgroupPath = "cooper//web".parse().unwrap();
        assert_eq!(path.as_str(), "/cooper/web");
        assert_eq!(path.below(Path::new("/sys/fs/cgroup")), Path::new("/sys/fs/cgroup/cooper/web"));
        for bad in ["", "/", "/a/../b", "..", "a/./b", "a\0b", "cgroup.procs", &"a/".repeat(17)] {
            assert!(bad.parse::<CgroupPath>().is_err(), "{bad:?} was accepted");
        }
        assert!(CgroupPath::of_container("a/b").is_err());
    }
}
