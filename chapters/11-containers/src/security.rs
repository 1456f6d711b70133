//! What may be asked of a container's confinement, and `--security-opt`, whichever door it comes through.

use privileges::seccomp::Profile;
use privileges::{CapSet, SecurityModule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// `--cap-add`, `--cap-drop`, `--privileged`, `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Every capability, no seccomp filter, nothing masked.
    pub privileged: bool,
    /// Names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Names with or without `CAP_`, or `ALL`. Dropping is done before adding.
    pub cap_drop: Vec<String>,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=`.
    pub seccomp: Seccomp,
    /// `apparmor=`: a profile that the administrator has loaded, or `unconfined`.
    pub apparmor: Option<String>,
    /// `label=`: the process's SELinux label.
    pub selinux: SelinuxLabel,
    /// `systempaths=unconfined`, `unmask=ALL`: nothing of `/proc` and `/sys` is hidden or read-only.
    pub system_paths_open: bool,
    /// `unmask=`: these paths are neither hidden nor read-only.
    pub unmasked: Vec<String>,
}

/// `--security-opt seccomp=`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Cooper's own allow-list (chapter 6).
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in the shape of the OCI `linux.seccomp` or of Docker's files, already read from its file.
    Profile(Value),
}

/// `--security-opt label=`: the four parts of an SELinux label that were given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SelinuxLabel {
    /// `label=user:`; `system_u` if absent.
    pub user: Option<String>,
    /// `label=role:`; `system_r` if absent.
    pub role: Option<String>,
    /// `label=type:`; `container_t` if absent.
    pub kind: Option<String>,
    /// `label=level:`; `s0` if absent.
    pub level: Option<String>,
}

/// What confines containers on this machine, in the words of Docker's `info`: `name=seccomp,profile=builtin`.
pub fn controls() -> Vec<String> {
    let always = ["seccomp,profile=builtin", "cgroupns"].map(str::to_owned);
    let modules = SecurityModule::active().into_iter().map(|module| module.to_string().to_lowercase());
    let rootless = namespaces::rootless::is_rootless().then(|| "rootless".to_owned());
    always.into_iter().chain(modules).chain(rootless).map(|name| format!("name={name}")).collect()
}

/// A profile's file is read up to here, bytes.
const LARGEST_PROFILE: usize = 4 << 20;

const OPTION: &str = "--security-opt";

impl Security {
    /// Takes one `--security-opt`. `read_profile` reads the text that `seccomp=` names: the command line is given a file,
    /// the daemon the profile itself.
    ///
    /// # Errors
    /// An option that does not exist, by its name; one that nobody on this machine would enforce; a profile that means
    /// nothing, by the place in it.
    pub fn set(&mut self, option: &str, read_profile: impl FnOnce(&str) -> std::io::Result<String>) -> Result<()> {
        let bad = |reason: &str| Error::bad(OPTION, option, reason);
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => self.no_new_privileges = true,
            ("no-new-privileges", "false") => self.no_new_privileges = false,
            ("no-new-privileges", _) => return Err(bad("it is true or false")),
            ("seccomp" | "apparmor" | "label" | "unmask" | "systempaths", "") => return Err(bad("a value is missing")),
            ("seccomp", "unconfined") => self.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => self.seccomp = Seccomp::Default,
            ("seccomp", source) => self.seccomp = Seccomp::Profile(profile(source, read_profile)?),
            ("apparmor", profile) => {
                if profile != "unconfined" && !SecurityModule::AppArmor.is_active() {
                    return Err(bad("AppArmor is not active on this machine, so nobody would enforce it"));
                }
                self.apparmor = Some(profile.to_owned());
            }
            ("label", "disable") => self.selinux = SelinuxLabel::default(),
            ("label", part) => {
                self.selinux.take(part).ok_or_else(|| bad("label takes disable, user:, role:, type: or level:"))?;
                if !SecurityModule::SELinux.is_active() {
                    return Err(bad("SELinux is not active on this machine, so nobody would enforce it"));
                }
            }
            ("systempaths", "unconfined") => self.system_paths_open = true,
            ("systempaths", _) => return Err(bad("systempaths takes unconfined")),
            ("unmask", all) if all.eq_ignore_ascii_case("all") => self.system_paths_open = true,
            ("unmask", paths) => {
                for path in paths.split(':') {
                    let covered = rootfs::MASKED.iter().chain(&rootfs::READ_ONLY).any(|hidden| *hidden == path);
                    if !covered {
                        return Err(bad(&format!(
                            "{path:?} is neither hidden nor read-only: there is nothing to undo"
                        )));
                    }
                    self.unmasked.push(path.to_owned());
                }
            }
            _ => {
                let known = "no-new-privileges, seccomp=, apparmor=, label=, unmask=, systempaths=unconfined";
                return Err(bad(&format!("no such option (there are {known})")));
            }
        }
        Ok(())
    }
}

impl SelinuxLabel {
    /// `type:container_t` and its kin; `None` for anything else.
    fn take(&mut self, part: &str) -> Option<()> {
        let (name, value) = part.split_once(':').filter(|(_, value)| !value.is_empty())?;
        let place = match name {
            "user" => &mut self.user,
            "role" => &mut self.role,
            "type" => &mut self.kind,
            "level" => &mut self.level,
            _ => return None,
        };
        *place = Some(value.to_owned());
        Some(())
    }

    /// The whole label; `None` if no part of it was given.
    pub(crate) fn text(&self) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let part = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        let (user, role) = (part(&self.user, "system_u"), part(&self.role, "system_r"));
        Some(format!("{user}:{role}:{}:{}", part(&self.kind, "container_t"), part(&self.level, "s0")))
    }
}

/// Reads a profile and compiles it once for trial: a mistake in it is said now, and not when the container starts.
fn profile(source: &str, read: impl FnOnce(&str) -> std::io::Result<String>) -> Result<Value> {
    // The daemon is given the text itself, which is no name to repeat.
    let shown = if source.starts_with('{') { "seccomp" } else { &format!("seccomp={source}") };
    let bad = |reason: String| Error::bad(OPTION, shown, reason);
    let text = read(source).map_err(|error| bad(error.to_string()))?;
    if text.len() > LARGEST_PROFILE {
        return Err(bad(format!("longer than {LARGEST_PROFILE} bytes")));
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| bad(format!("no JSON: {error}")))?;
    let profile: Profile = serde_json::from_str(&text).map_err(|error| bad(format!("no seccomp profile: {error}")))?;
    profile.compile(&CapSet::all()).map_err(|error| bad(error.to_string()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(options: &[&str]) -> Result<Security> {
        let mut security = Security::default();
        for option in options {
            security.set(option, |text| Ok(text.to_owned()))?;
        }
        Ok(security)
    }

    #[test]
    fn every_refusal_says_which_option_and_why() {
        let options = [
            "aparmor=x",
            "seccomp",
            "no-new-privileges=maybe",
            "systempaths=none",
            "unmask=/proc/cpuinfo",
            "label=colour:red",
            "seccomp={",
            "seccomp={\"defaultAction\":\"SCMP_ACT_MAYBE\"}",
            "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[],\"action\":\"SCMP_ACT_ERRNO\"}]}",
        ];
        let said: Vec<String> = options.iter().map(|option| set(&[option]).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn what_nobody_would_enforce_is_refused() {
        for (option, module) in
            [("apparmor=strict", SecurityModule::AppArmor), ("label=type:x_t", SecurityModule::SELinux)]
        {
            if !module.is_active() {
                let error = set(&[option]).unwrap_err().to_string();
                assert!(error.contains(&format!("{module} is not active")), "{error}");
            }
        }
        assert_eq!(set(&["apparmor=unconfined", "label=disable"]).unwrap().selinux.text(), None);
    }

    #[test]
    fn both_separators_and_several_options_are_taken() {
        let security =
            set(&["no-new-privileges:true", "seccomp=unconfined", "unmask=/proc/kcore:/proc/sys", "unmask=all"]);
        let security = security.unwrap();
        assert!(security.no_new_privileges && security.system_paths_open);
        assert_eq!((security.seccomp, security.unmasked.len()), (Seccomp::Unconfined, 2));
    }

    #[test]
    fn an_selinux_label_is_completed_from_its_parts() {
        let mut label = SelinuxLabel::default();
        label.take("type:web_t").unwrap();
        label.take("level:s0:c1,c2").unwrap();
        assert_eq!(label.text().unwrap(), "system_u:system_r:web_t:s0:c1,c2");
    }
}
