//! The order in which a process lays its privileges down.

use serde::{Deserialize, Serialize};

use crate::seccomp::Program;
use crate::{Capabilities, Identity, Step};

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
    /// The system call filter, assembled.
    pub seccomp: Option<Program>,
}

impl Confinement {
    /// The kernel calls that confine the caller, in the one order that works.
    ///
    /// Each step takes away what an earlier one needed:
    ///
    /// 1. the **keyring** first, because the default filter forbids `keyctl`;
    /// 2. **bounding** next: dropping from it needs CAP_SETPCAP, which the next steps take;
    /// 3. **seccomp without no_new_privs** must come while CAP_SYS_ADMIN is still there: the price is that the
    ///    filter has to allow the calls of all the steps below;
    /// 4. the **ids**, with "keep capabilities" on: else the kernel empties all sets when uid 0 goes;
    /// 5. the **other capability sets**: after the ids, which needed CAP_SETUID and CAP_SETGID;
    /// 6. **no_new_privs**: it also lets a process without CAP_SYS_ADMIN load a filter, hence
    /// 7. **seccomp** last in the usual case, so that the filter need not allow any of the above.
    ///
    /// Mounts, masks and everything else about the file system must be done before the first of these; the only
    /// thing that may follow is closing descriptors and `execve`.
    // spine
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(name) = &self.keyring {
            steps.push(Step::SessionKeyring { name: name.clone() });
        }
        if let Some(capabilities) = &self.capabilities {
            steps.push(Step::LimitBounding { keep: capabilities.bounding });
        }
        let filter = self.seccomp.clone().map(|program| Step::Seccomp { program });
        let (early, late) = if self.no_new_privs { (None, filter) } else { (filter, None) };
        steps.extend(early);
        steps.push(Step::SetIds { identity: self.identity.clone(), keep_capabilities: self.capabilities.is_some() });
        if let Some(capabilities) = self.capabilities {
            steps.push(Step::SetCapabilities { capabilities });
        }
        if self.no_new_privs {
            steps.push(Step::NoNewPrivileges);
        }
        steps.extend(late);
        steps
    }
}

#[cfg(test)]
mod tests {
    use process::step::Step as _;

    use super::*;
    use crate::CapSet;

    fn names(no_new_privs: bool) -> Vec<&'static str> {
        let confinement = Confinement {
            keyring: Some("c1".to_owned()),
            capabilities: Some(Capabilities::container(CapSet::engine_default())),
            no_new_privs,
            seccomp: Some(Program::default()),
            ..Confinement::default()
        };
        confinement.steps().iter().map(|step| step.name()).collect()
    }

    #[test]
    fn with_no_new_privs_the_filter_comes_last() {
        assert_eq!(
            names(true),
            ["session-keyring", "limit-bounding", "set-ids", "set-capabilities", "no-new-privs", "seccomp"]
        );
    }

    #[test]
    fn without_it_the_filter_comes_while_sys_admin_is_there() {
        assert_eq!(names(false), ["session-keyring", "limit-bounding", "seccomp", "set-ids", "set-capabilities"]);
    }
}
