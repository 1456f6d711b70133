//! From a container to the OCI runtime spec: a pure function, and the one place where the default posture is decided.
//!
//! What was asked for comes in as data ([`Plan`]), the document that chapter 7 executes goes out. Nothing is opened,
//! nothing is looked up: whatever had to be (the user's number, where the volumes are, what this machine
//! can limit) is in the plan already. So every default of the engine can be read off a snapshot in a test.
//!
//! # References
//! OCI runtime specification, config.md and config-linux.md

mod confinement;
mod mounts;
mod resources;

pub(crate) use mounts::INIT;
pub(crate) use resources::DEFAULT_PIDS;

use std::path::PathBuf;

use cgroups::CgroupPath;
use oci_spec::runtime::{LinuxResources, Spec};
use privileges::{CapSet, Identity};
use serde_json::{Value, json};

use crate::devices::{Device, DeviceRule, Disks};
use crate::error::{Error, Result, While as _};
use crate::id::ContainerId;
use crate::networking::NetworkMode;
use crate::options::{CreateOptions, Resources};
use crate::own_ids;
use crate::settings::{Settings, set};
use crate::sharing::{Found, Places};
use crate::volumes::MountPoint;

/// Everything that decides a container's spec.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The container's id.
    pub id: &'a ContainerId,
    /// What runs.
    pub settings: &'a Settings,
    /// What was asked for.
    pub options: &'a CreateOptions,
    /// Who it runs as, and that user's home directory.
    pub user: (Identity, Option<String>),
    /// Its volumes, bind mounts and tmpfs.
    pub mounts: &'a [MountPoint],
    /// The directory that holds `hosts`, `hostname` and `resolv.conf`.
    pub files: PathBuf,
    /// The network namespace of the container whose network is shared.
    pub network: Option<PathBuf>,
    /// Whether the engine itself lives in a user namespace.
    pub rootless: bool,
    /// Whether default limits can be set here. Limits that were asked for are in the spec in any case.
    pub can_limit: bool,
    /// What `--privileged` gives: every capability that this machine has not taken from everybody.
    pub obtainable: CapSet,
    /// Namespaces that it shares.
    pub places: Places,
    /// Devices of the machine that it gets.
    pub devices: &'a [Device],
    /// The numbers of the disks that its limits name.
    pub disks: Disks,
    /// The running kernel: major and minor.
    pub kernel: (u32, u32),
}

/// Limits in the OCI's form, for a container that runs already.
///
/// # Errors
/// Limits that make no sense together.
pub(crate) fn limits(asked: &Resources, disks: &Disks) -> Result<LinuxResources> {
    serde_json::from_value(resources::resources(asked, disks, false)?).doing("make", "limits")
}

/// The control group of a container: below the engine's own, or below the one that was asked for.
pub(crate) fn group(id: &ContainerId, parent: Option<&str>) -> Result<CgroupPath> {
    let Some(parent) = parent else { return CgroupPath::of_container(id.as_str()).doing("name", "cgroup") };
    let bad = |error: cgroups::Error| Error::bad("--cgroup-parent", parent, error.to_string());
    parent.parse().and_then(|parent: CgroupPath| parent.inside(id.as_str())).map_err(bad)
}

impl Plan<'_> {
    /// The spec.
    ///
    /// # Errors
    /// An option whose value makes no sense: an unknown capability, less swap than memory, a broken seccomp profile.
    pub fn spec(&self) -> Result<Spec> {
        let capabilities = confinement::capabilities(&self.options.security, self.obtainable)?;
        let (masked, read_only) = confinement::hidden_paths(&self.options.security);
        let cgroup = group(self.id, self.options.cgroup_parent.as_deref())?;
        let limits = resources::resources(&self.options.resources, &self.disks, self.can_limit)?;
        let hostname = (self.places.uts == Found::New).then_some(&self.settings.hostname);
        if let Some(maps) = &self.options.id_maps {
            own_ids::check_user(maps, &self.user.0)?;
        }
        let (users, groups) = self.ids();
        let document = json!({
            "ociVersion": "1.2.0",
            "hostname": hostname,
            "domainname": self.options.domainname,
            "annotations": (!self.options.annotations.is_empty()).then_some(&self.options.annotations),
            "root": { "path": "rootfs", "readonly": self.options.read_only },
            "process": self.process(&json!({
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": [],
            })),
            "mounts": mounts::mounts(self)?,
            "linux": {
                "cgroupsPath": cgroup.as_str(),
                "namespaces": self.namespaces(),
                "uidMappings": users,
                "gidMappings": groups,
                "devices": self.nodes(),
                "resources": self.with_device_rules(limits),
                "sysctl": self.options.sysctls,
                "seccomp": confinement::seccomp(&self.options.security, capabilities, self.kernel)?,
                "maskedPaths": masked,
                "readonlyPaths": read_only,
            },
        });
        serde_json::from_value(document).doing("make the spec of", self.id)
    }

    fn process(&self, capabilities: &Value) -> Value {
        let (user, home) = &self.user;
        let mut env = self.settings.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            set(&mut env, &format!("HOME={}", home.as_deref().unwrap_or("/")));
        }
        let rlimit = |limit: &crate::options::Ulimit| json!({ "type": format!("RLIMIT_{}", limit.name.to_uppercase()), "soft": limit.soft, "hard": limit.hard });
        json!({
            "terminal": self.options.terminal,
            "args": self.arguments(),
            "env": env,
            "cwd": self.settings.workdir,
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups,
                      "umask": user.umask.unwrap_or(0o022) },
            "capabilities": capabilities,
            "oomScoreAdj": self.options.oom_score_adj,
            "rlimits": self.options.ulimits.iter().map(rlimit).collect::<Vec<_>>(),
            "noNewPrivileges": self.options.security.no_new_privileges,
            "apparmorProfile": self.options.security.apparmor,
            "selinuxLabel": self.options.security.selinux.text(),
        })
    }

    /// The program and its arguments, behind the tiny init if one was asked for.
    fn arguments(&self) -> Vec<String> {
        let init = self.options.init.then(|| [INIT.to_owned(), "--".to_owned()]);
        init.into_iter().flatten().chain(self.settings.args()).collect()
    }

    /// The device nodes beside those that every container has; without root they are mounted instead.
    fn nodes(&self) -> Option<Vec<Value>> {
        let made = !self.rootless && self.options.id_maps.is_none() && !self.devices.is_empty();
        made.then(|| self.devices.iter().map(Device::document).collect())
    }

    /// The limits with what the devices' control group is told. Without root there is none to tell: the nodes' own
    /// permissions decide.
    fn with_device_rules(&self, mut limits: Value) -> Value {
        let mut rules: Vec<Value> = self.devices.iter().map(Device::rule).collect();
        rules.extend(self.options.device_rules.iter().map(DeviceRule::document));
        if self.options.security.privileged {
            rules = vec![DeviceRule::any().document()];
        }
        if !rules.is_empty() && !self.rootless {
            // What is not allowed by one of them is forbidden.
            rules.insert(0, json!({ "allow": false, "access": "rwm" }));
            limits["devices"] = json!(rules);
        }
        limits
    }

    /// Every namespace is the container's own, but for those that are shared on request.
    ///
    /// A user namespace it has only on request: a rootless engine is in one already, together with its containers.
    fn namespaces(&self) -> Value {
        let at = |kind: &str, found: Found| match found {
            Found::New => Some(json!({ "type": kind })),
            Found::Inherited => None,
            Found::Of(process) => Some(json!({ "type": kind, "path": format!("/proc/{process}/ns/{kind}") })),
        };
        let network = match (&self.options.network.mode, &self.network) {
            (NetworkMode::Host, _) => None,
            (_, Some(path)) => Some(json!({ "type": "network", "path": path })),
            (_, None) => at("network", Found::New),
        };
        let Places { pid, ipc, uts, cgroup } = self.places;
        let all =
            [at("mount", Found::New), at("pid", pid), at("uts", uts), at("ipc", ipc), at("cgroup", cgroup), network];
        let users = self.options.id_maps.as_ref().map(|_| json!({ "type": "user" }));
        all.into_iter().flatten().chain(users).collect()
    }

    /// The ids of its user namespace: those of users and those of groups.
    fn ids(&self) -> (Value, Value) {
        let list = |maps: &[namespaces::IdMap]| -> Value {
            let map = |map: &namespaces::IdMap| json!({ "containerID": map.inside, "hostID": map.outside, "size": map.count });
            maps.iter().map(map).collect()
        };
        let maps = self.options.id_maps.as_ref();
        maps.map_or((Value::Null, Value::Null), |maps| (list(&maps.users), list(&maps.groups)))
    }
}

#[cfg(test)]
mod tests;
