//! Which generation this machine has, and whether we may use it.

use std::path::Path;
use std::sync::Arc;

use process::kernel_file;

use crate::mounts::Survey;
use crate::tree::Tree;
use crate::v1::{self, V1};
use crate::v2::{self, V2};
use crate::{Controller, Error, Version};

/// The cgroup trees of this machine as this process may use them.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    tree: Option<Arc<dyn Tree>>,
    /// Where ours begins, as a path of the whole tree: empty for its root.
    base: String,
    found: String,
    availability: Availability,
}

/// Whether cgroups can be made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Usable,
    /// No: containers run without limits, unless somebody asks for one, and then that is an error.
    Unusable {
        /// Why, and what would help.
        reason: String,
    },
}

impl Hierarchy {
    /// Looks at this machine. Never fails: what was not found is said by [`Hierarchy::availability`].
    pub fn detect() -> Self {
        let read = |path: &str| kernel_file::read_text(path).unwrap_or_default();
        Self::from_survey(&Survey::of(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup")))
    }

    /// v2 if it has a controller that we use (hybrid machines leave it an odd one, such as hugetlb), else v1.
    fn from_survey(survey: &Survey) -> Self {
        let v2_offers = survey.v2.as_deref().map(v2::offered).unwrap_or_default();
        match &survey.v2 {
            Some(mount) if v2::is_useful(&v2_offers) => Self::on_v2(mount, &survey.own_v2, &v2_offers),
            _ if !survey.v1.is_empty() => Self::on_v1(survey),
            Some(mount) => Self::unusable(
                format!("cgroup v2 at {} without controllers", mount.display()),
                "the v2 tree offers no controller that limits: they are not handed down to this container or session"
                    .to_owned(),
            ),
            None => Self::unusable(
                "no cgroup file system".to_owned(),
                "no cgroup file system is mounted; `mount -t cgroup2 none /sys/fs/cgroup` would".to_owned(),
            ),
        }
    }

    fn on_v2(mount: &Path, own: &str, offers: &str) -> Self {
        let found = format!("cgroup v2 at {}: {offers}", mount.display());
        // Root owns the tree; anybody else uses the part that systemd or an administrator has handed over.
        let base = if v2::is_writable(mount) && v2::is_writable(&mount.join("cgroup.subtree_control")) {
            Some(mount.to_owned())
        } else {
            v2::delegated(mount, own)
        };
        match base {
            Some(base) => {
                let found = format!("{found}; ours begins at {}", base.display());
                let below = base.strip_prefix(mount).unwrap_or(Path::new(""));
                let path = if below == Path::new("") { String::new() } else { format!("/{}", below.display()) };
                Self { tree: Some(Arc::new(V2::new(base))), base: path, found, availability: Availability::Usable }
            }
            None => Self::unusable(
                found,
                format!(
                    "the cgroup {own} is not delegated to this user; \
                     `systemd-run --user --scope -p Delegate=yes COMMAND` gives COMMAND one that is"
                ),
            ),
        }
    }

    fn on_v1(survey: &Survey) -> Self {
        let list: Vec<String> = survey
            .v1
            .iter()
            .map(|(controller, mount)| format!("{} at {}", controller.name_in(Version::V1), mount.display()))
            .collect();
        let kind =
            if survey.v2.is_some() { "cgroup v1 (hybrid: the v2 tree is without controllers)" } else { "cgroup v1" };
        let found = format!("{kind}: {}", list.join(", "));
        let closed = survey.v1.iter().find(|(_, mount)| !v1::is_writable(mount));
        match closed {
            None => {
                let tree = Arc::new(V1::new(survey.v1.clone()));
                Self { tree: Some(tree), base: String::new(), found, availability: Availability::Usable }
            }
            Some((controller, mount)) => Self::unusable(
                found,
                format!(
                    "the v1 controller {} at {} cannot be written; v1 has no safe delegation to users: \
                     root could, or a machine with cgroup v2",
                    controller.name(),
                    mount.display()
                ),
            ),
        }
    }

    fn unusable(found: String, reason: String) -> Self {
        Self { tree: None, base: String::new(), found, availability: Availability::Unusable { reason } }
    }

    /// What was found, for people: the generation, the controllers, where they are mounted.
    pub fn explanation(&self) -> &str {
        &self.found
    }

    /// Whether groups can be made.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    /// Whether groups can be made, as a yes or no.
    pub fn is_usable(&self) -> bool {
        self.availability == Availability::Usable
    }

    /// Who else manages the tree, for people; `None` if nobody that we know.
    ///
    /// Where systemd does, it owns the top of the tree and hands subtrees over (`Delegate=yes`). An ordinary user's groups
    /// are made in such a subtree. Root's are made beside systemd's own, at `/cooper`, and are no units of systemd's; or,
    /// where that is asked for, by systemd itself: [`Hierarchy::create_scope`].
    pub fn manager(&self) -> Option<&'static str> {
        Path::new("/run/systemd/system").is_dir().then_some(
            "systemd manages the tree: root's groups are made beside its slices, or by itself, as scopes, where that is \
             asked for",
        )
    }

    /// The generation in use; `None` if none can be.
    pub fn version(&self) -> Option<Version> {
        self.tree.as_ref().map(|tree| tree.version())
    }

    /// Where ours begins, as a path of the whole tree.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn tree(&self) -> Result<&Arc<dyn Tree>, Error> {
        match (&self.tree, &self.availability) {
            (Some(tree), _) => Ok(tree),
            (None, Availability::Unusable { reason }) => Err(Error::Unavailable { reason: reason.clone() }),
            (None, Availability::Usable) => Err(Error::Unavailable { reason: self.found.clone() }),
        }
    }

    /// The controllers that there are; none if no group can be made.
    pub fn controllers(&self) -> Vec<Controller> {
        self.tree.as_ref().map(|tree| tree.controllers()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_machine_without_cgroups_says_what_would_help() {
        let hierarchy = Hierarchy::from_survey(&Survey::of("", ""));
        assert!(!hierarchy.is_usable());
        let error = hierarchy.tree().unwrap_err().to_string();
        assert!(error.contains("mount -t cgroup2"), "{error}");
    }

    #[test]
    fn a_v2_tree_without_controllers_is_not_taken_for_one() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        let survey = Survey { v2: Some(directory.path().to_owned()), ..Survey::default() };
        assert_eq!(Hierarchy::from_survey(&survey).version(), None);
        fs::write(directory.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(directory.path().join("cgroup.subtree_control"), "").unwrap();
        assert_eq!(Hierarchy::from_survey(&survey).version(), Some(Version::V2));
    }
}
