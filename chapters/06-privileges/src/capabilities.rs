//! The five capability sets of a process.

use std::fs;

use process::{CallError, During as _};
use serde::{Deserialize, Serialize};

use crate::{CapSet, Capability};

/// The five sets of one process.
///
/// ```text
///   bounding     what no execve may ever bring back        ─┐ limits
///   inheritable  what a file with capabilities may keep     │
///   permitted    what the process may switch on             │  permitted ⊇ effective
///   effective    what the kernel checks on every call       │
///   ambient      what an ordinary program keeps at execve  ─┘  ⊆ permitted ∩ inheritable
/// ```
///
/// When root (uid 0) executes a program, its new permitted set is `bounding | inheritable`, whatever it was before:
/// that is why the bounding set is the one that confines a container's root. When anybody else does, it is the
/// ambient set and what the file brings.
///
/// # References
/// capabilities(7), "Transformation of capabilities during execve()"
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// The upper limit for everything that comes.
    pub bounding: CapSet,
    /// What the kernel checks.
    pub effective: CapSet,
    /// Kept across execve for files that have capabilities. Empty here: see CVE-2022-29162.
    pub inheritable: CapSet,
    /// What may be made effective.
    pub permitted: CapSet,
    /// Kept across execve of ordinary files.
    pub ambient: CapSet,
}

impl Capabilities {
    /// The shape that every container of this engine has: three sets alike, inheritable and ambient empty.
    ///
    /// An inheritable set that is not empty lets a program with file capabilities regain what the container's user
    /// was not to have (CVE-2022-29162, CVE-2022-27649, CVE-2022-24769: three engines, one mistake).
    pub const fn container(set: CapSet) -> Self {
        Self { bounding: set, effective: set, inheritable: CapSet::EMPTY, permitted: set, ambient: CapSet::EMPTY }
    }

    /// The same sets without those ambient capabilities that the kernel would refuse: what is not both permitted and
    /// inheritable. Other runtimes leave them out as well, and their example configurations count on it.
    ///
    /// # References
    /// capabilities(7), "Ambient"; OCI runtime spec, config.md, "Linux Process": a runtime should not fail for a capability that
    /// cannot be granted
    #[must_use]
    pub fn without_ungrantable(self) -> Self {
        let granted = |it: &Capability| self.permitted.contains(*it) && self.inheritable.contains(*it);
        Self { ambient: self.ambient.iter().filter(granted).collect(), ..self }
    }

    /// The sets of a process, as the kernel tells them in `/proc/PROCESS/status`; `process` is a pid or `self`.
    ///
    /// # Errors
    /// The file cannot be read, or lacks a set.
    pub fn of(process: &str) -> Result<Self, CallError> {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).during("read", &path)?;
        Self::from_status(&status).ok_or_else(|| CallError::refused("read", &path, "no Cap lines"))
    }

    /// The sets in the text of a `/proc/PID/status`.
    pub fn from_status(status: &str) -> Option<Self> {
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            u64::from_str_radix(line.trim(), 16).ok().map(CapSet::from_bits)
        };
        Some(Self {
            bounding: set("CapBnd")?,
            effective: set("CapEff")?,
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            ambient: set("CapAmb")?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_sets_of_this_process_can_be_read() {
        let sets = Capabilities::of("self").unwrap();
        assert_eq!(sets.effective.and(sets.permitted), sets.effective);
    }

    #[test]
    fn the_oci_form_is_lists_of_names() {
        let text = r#"{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}"#;
        let sets: Capabilities = serde_json::from_str(text).unwrap();
        assert_eq!(sets, Capabilities::container("KILL".parse().unwrap()));
        assert!(serde_json::from_str::<Capabilities>(r#"{"bounding":["CAP_ROOT"]}"#).is_err());
    }
}
