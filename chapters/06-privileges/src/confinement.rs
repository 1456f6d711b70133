//! The order in which a process lays its privileges down.

use serde::{Deserialize, Serialize};

use crate::landlock::Ruleset;
use crate::seccomp::Program;
use crate::{Capabilities, Identity, Label, Step};

/// Everything that will confine one process, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// The name of a fresh session keyring; `None` keeps the caller's (whose keys the container could then read).
    pub keyring: Option<String>,
    /// Who the process will be.
    pub identity: Identity,
    /// Its capabilities; `None` leaves all sets as they are.
    pub capabilities: Option<Capabilities>,
    /// Whether setuid programs and file capabilities lose their power.
    pub no_new_privs: bool,
    /// The security modules' labels for the program.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// The fence of files and ports, where one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<Ruleset>,
    /// The system call filter, assembled.
    pub seccomp: Option<Program>,
}

/// A rule of the order: one step must come before another, because otherwise something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderRule {
    /// The name of the step that comes first.
    pub first: &'static str,
    /// The name of the step that comes later.
    pub then: &'static str,
    /// What the other order breaks.
    pub because: &'static str,
}

/// Why the steps stand in their order: each takes away what an earlier one needed.
///
/// A test turns each of these rules around, and sees it break.
pub const ORDER: [OrderRule; 13] = [
    rule("session-keyring", "seccomp", "the default filter forbids keyctl"),
    rule("securebits", "set-ids", "changing them needs CAP_SETPCAP, which is no longer effective once uid 0 is gone"),
    rule("limit-bounding", "set-ids", "dropping needs CAP_SETPCAP, which is no longer effective once uid 0 is gone"),
    rule("limit-bounding", "set-capabilities", "dropping needs CAP_SETPCAP, which the container may not have"),
    rule("set-ids", "set-capabilities", "changing ids needs CAP_SETUID and CAP_SETGID, which it may not have"),
    rule("label", "no-new-privs", "AppArmor allows no change of profile afterwards that could give more"),
    rule("label", "seccomp", "a profile may forbid to open and write files"),
    rule("label", "landlock", "the rules may forbid to write files"),
    rule("no-new-privs", "landlock", "without CAP_SYS_ADMIN only a process without new privileges may restrict itself"),
    rule("landlock", "seccomp", "a profile may forbid its calls"),
    rule("no-new-privs", "seccomp", "without CAP_SYS_ADMIN only a process without new privileges may load a filter"),
    rule("seccomp", "set-ids", "with new privileges allowed, loading a filter needs CAP_SYS_ADMIN"),
    rule("set-capabilities", "seccomp", "a profile may forbid capset; it need not allow what comes before it"),
];

const fn rule(first: &'static str, then: &'static str, because: &'static str) -> OrderRule {
    OrderRule { first, then, because }
}

impl OrderRule {
    /// Whether the rule counts: where new privileges stay allowed, the filter must be loaded early (the ninth rule), at the
    /// price that it has to allow what follows (the tenth).
    pub fn counts(&self, no_new_privs: bool) -> bool {
        match (self.first, self.then) {
            ("seccomp", _) => !no_new_privs,
            ("set-capabilities", "seccomp") | ("no-new-privs", _) | (_, "no-new-privs") => no_new_privs,
            _ => true,
        }
    }
}

impl Confinement {
    /// The kernel calls that confine the caller, in the one order that works: [`ORDER`] says why.
    ///
    /// Mounts, masks and everything else about the file system must be done before the first of these; the only
    /// thing that may follow is closing descriptors and `execve`.
    // spine
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(name) = &self.keyring {
            steps.push(Step::SessionKeyring { name: name.clone() });
        }
        steps.extend(self.labels.iter().cloned().map(Step::Label));
        if let Some(capabilities) = &self.capabilities {
            steps.push(Step::OrdinaryRoot);
            steps.push(Step::LimitBounding { keep: capabilities.bounding });
        }
        let filter = self.seccomp.clone().map(|program| Step::Seccomp { program });
        let fenced = self.landlock.clone().map(Step::Landlock).into_iter().chain(filter);
        let (early, late) = if self.no_new_privs { (None, Some(fenced)) } else { (Some(fenced), None) };
        steps.extend(early.into_iter().flatten());
        steps.push(Step::SetIds { identity: self.identity.clone(), keep_capabilities: self.capabilities.is_some() });
        if let Some(capabilities) = self.capabilities {
            steps.push(Step::SetCapabilities { capabilities });
        }
        if self.no_new_privs {
            steps.push(Step::NoNewPrivileges);
        }
        steps.extend(late.into_iter().flatten());
        steps
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use process::step::Step as _;

    use super::*;
    use crate::{CapSet, SecurityModule};

    fn names(no_new_privs: bool) -> Vec<&'static str> {
        let confinement = Confinement {
            keyring: Some("c1".to_owned()),
            capabilities: Some(Capabilities::container(CapSet::engine_default())),
            labels: vec![Label { module: SecurityModule::AppArmor, text: "x".to_owned() }],
            no_new_privs,
            landlock: Some(Ruleset::default()),
            seccomp: Some(Program::default()),
            ..Confinement::default()
        };
        confinement.steps().iter().map(|step| step.name()).collect()
    }

    #[test]
    fn every_rule_of_the_order_is_kept() {
        for no_new_privs in [true, false] {
            let names = names(no_new_privs);
            for rule in ORDER.iter().filter(|rule| rule.counts(no_new_privs)) {
                let place = |name| names.iter().position(|step| *step == name).unwrap();
                assert!(place(rule.first) < place(rule.then), "{rule:?} in {names:?}");
            }
        }
    }

    #[test]
    fn with_no_new_privs_the_filter_comes_last() {
        assert_eq!(
            names(true),
            [
                "session-keyring",
                "label",
                "securebits",
                "limit-bounding",
                "set-ids",
                "set-capabilities",
                "no-new-privs",
                "landlock",
                "seccomp"
            ]
        );
    }

    #[test]
    fn without_it_the_filter_comes_while_sys_admin_is_there() {
        assert_eq!(
            names(false),
            [
                "session-keyring",
                "label",
                "securebits",
                "limit-bounding",
                "landlock",
                "seccomp",
                "set-ids",
                "set-capabilities"
            ]
        );
    }
}
