//! Which device nodes work inside: a list of rules, the last one that matches decides.
//!
//! A node in `/dev` is only a name; whether opening it reaches the driver is asked here, whatever file system the
//! node lies on. v1 has two files, to which the rules are written one by one. v2 asks a program:
//!
//! - [`program`]: the rules assembled into one;
//! - [`simulate`]: its verdicts without a kernel;
//! - `attach`: into the kernel, and to a cgroup.
//!
//! Neither works for an ordinary user: a container of such a user relies on what it lacks anyway, the power to make
//! nodes, and nodes in its `/dev`. The two generations differ in one corner: v1 takes back only rules that it was given
//! word by word, so there `deny c 10:200 w` after `allow c *:* rw` does nothing. A program does what it says.

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) mod attach;
pub mod program;
pub mod simulate;

pub use program::{DeviceProgram, Instruction};
pub use simulate::DeviceRequest;

/// A kind of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Both kinds; v1 ignores the numbers then.
    #[serde(rename = "a")]
    All,
    /// Character devices.
    #[serde(rename = "c", alias = "u")]
    Character,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
}

/// One rule, in the form of the OCI `linux.resources.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it permits or forbids.
    pub allow: bool,
    /// Which kind.
    #[serde(rename = "type", default = "DeviceRule::all")]
    pub kind: DeviceKind,
    /// Major number; any if absent.
    #[serde(default)]
    pub major: Option<u32>,
    /// Minor number; any if absent.
    #[serde(default)]
    pub minor: Option<u32>,
    /// Letters of `rwm`: read, write, mknod.
    #[serde(default = "DeviceRule::all_access")]
    pub access: String,
}

impl DeviceRule {
    /// Everything is permitted: `--privileged`.
    pub fn everything() -> Vec<Self> {
        vec![Self { allow: true, kind: DeviceKind::All, major: None, minor: None, access: "rwm".to_owned() }]
    }

    fn all() -> DeviceKind {
        DeviceKind::All
    }

    fn all_access() -> String {
        "rwm".to_owned()
    }

    fn character(major: u32, minor: Option<u32>) -> Self {
        Self { allow: true, kind: DeviceKind::Character, major: Some(major), minor, access: "rwm".to_owned() }
    }

    /// The file that the rule is written to.
    pub(crate) fn file(&self) -> &'static str {
        if self.allow { "devices.allow" } else { "devices.deny" }
    }
}

/// The rule as the kernel reads it: `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        match self.kind {
            DeviceKind::All => return f.write_str("a"),
            DeviceKind::Character => f.write_str("c ")?,
            DeviceKind::Block => f.write_str("b ")?,
        }
        write!(f, "{}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// Nothing but what every container needs: making nodes (not opening them), and null, zero, full, random, urandom,
/// tty, console, ptmx and the pseudo-terminals.
pub fn default_rules() -> Vec<DeviceRule> {
    let make = |kind| DeviceRule { allow: true, kind, major: None, minor: None, access: "m".to_owned() };
    let nothing = DeviceRule { allow: false, ..DeviceRule::everything().remove(0) };
    let mut rules = vec![nothing, make(DeviceKind::Character), make(DeviceKind::Block)];
    rules.extend([3, 5, 7, 8, 9].map(|minor| DeviceRule::character(1, Some(minor))));
    rules.extend([0, 1, 2].map(|minor| DeviceRule::character(5, Some(minor))));
    rules.push(DeviceRule::character(136, None));
    rules
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_default_denies_all_and_then_allows_little() {
        let written: Vec<String> = default_rules().iter().map(|rule| format!("{} {rule}", rule.file())).collect();
        insta::assert_debug_snapshot!(written);
    }

    #[test]
    fn the_oci_form_is_read() {
        let rule: DeviceRule =
            serde_json::from_str(r#"{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}"#).unwrap();
        assert_eq!(rule.to_string(), "c 10:229 rw");
        let all: DeviceRule = serde_json::from_str(r#"{"allow":false,"access":"rwm"}"#).unwrap();
        assert_eq!((all.file(), all.to_string().as_str()), ("devices.deny", "a"));
    }
}
