//! What a configuration must keep to, beyond the types of its fields: each rule is one of the specification's, or keeps a
//! field from reaching the machine.

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, LinuxSeccompAction, Process, Spec};
use serde_json::{Value, json};

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The field, as a path of names.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

type Checked = Result<(), Broken>;

fn broken<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { field: field.into(), reason: reason.into() })
}

/// Checks a whole configuration. `devices` are its devices as they were written: the types make a number of what is missing.
pub(crate) fn check(config: &Spec, devices: &Value) -> Checked {
    config.process().as_ref().map_or(Ok(()), check_process)?;
    check_namespaces(config)?;
    check_hooks(config)?;
    check_devices(devices)?;
    if let Some(linux) = config.linux() {
        check_parameters(linux)?;
        check_paths("linux.maskedPaths", linux.masked_paths())?;
        check_paths("linux.readonlyPaths", linux.readonly_paths())?;
        linux.seccomp().as_ref().map_or(Ok(()), check_seccomp)?;
    }
    match config.annotations().as_ref().is_some_and(|annotations| annotations.contains_key("")) {
        true => broken("annotations", "a key is empty"),
        false => Ok(()),
    }
}

/// A configuration may have no process; then it can be created, and not started.
fn check_process(process: &Process) -> Checked {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return broken("process.args", "no program is named");
    }
    if !process.cwd().is_absolute() {
        return broken("process.cwd", "not an absolute path");
    }
    let limits = process.rlimits().as_deref().unwrap_or_default();
    match repeated(limits.iter().map(|limit| limit.typ())) {
        Some(kind) => broken("process.rlimits", format!("{} twice", json!(kind))),
        None => Ok(()),
    }
}

fn check_namespaces(config: &Spec) -> Checked {
    let linux = config.linux().as_ref();
    let namespaces = namespaces(linux);
    if let Some(kind) = repeated(namespaces.iter().map(|namespace| namespace.typ())) {
        return broken("linux.namespaces", format!("{} twice", json!(kind)));
    }
    let mut paths = namespaces.iter().filter_map(|namespace| namespace.path().as_ref());
    if let Some(path) = paths.find(|path| !path.as_os_str().is_empty() && !path.is_absolute()) {
        return broken("linux.namespaces", format!("{path:?} is not an absolute path"));
    }
    let has = |kind| namespaces.iter().any(|namespace| namespace.typ() == kind);
    for (field, name) in [("hostname", config.hostname()), ("domainname", config.domainname())] {
        if name.as_ref().is_some_and(|name| !name.is_empty()) && !has(LinuxNamespaceType::Uts) {
            return broken(field, "needs a uts namespace of the container's own");
        }
    }
    let Some(linux) = linux else { return Ok(()) };
    for (field, map) in [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())] {
        if map.as_ref().is_some_and(|map| !map.is_empty()) && !has(LinuxNamespaceType::User) {
            return broken(field, "needs a user namespace of the container's own");
        }
    }
    match linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()) {
        true if !has(LinuxNamespaceType::Time) => {
            broken("linux.timeOffsets", "needs a time namespace of the container's own")
        }
        _ => Ok(()),
    }
}

/// A kernel parameter that belongs to no namespace of the container's would be changed for the whole machine.
fn check_parameters(linux: &Linux) -> Checked {
    const OF_IPC: [&str; 9] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/shm_next_id",
    ];
    for name in linux.sysctl().iter().flatten().map(|(name, _)| name) {
        let path = if name.find(['.', '/']).is_some_and(|place| name.as_bytes()[place] == b'.') {
            name.replace('.', "/")
        } else {
            name.clone()
        };
        let kind = match path.as_str() {
            path if OF_IPC.contains(&path) || path.starts_with("fs/mqueue/") => LinuxNamespaceType::Ipc,
            path if path.starts_with("net/") => LinuxNamespaceType::Network,
            "kernel/domainname" | "kernel/hostname" => LinuxNamespaceType::Uts,
            path if path.starts_with("user/") => LinuxNamespaceType::User,
            _ => return broken("linux.sysctl", format!("{name:?} is of no namespace: it is the whole machine's")),
        };
        if !namespaces(Some(linux)).iter().any(|namespace| namespace.typ() == kind) {
            let kind = json!(kind);
            let kind = kind.as_str().unwrap_or_default();
            let reason = format!("{name:?} is the machine's own: it needs a {kind} namespace of the container's");
            return broken("linux.sysctl", reason);
        }
    }
    Ok(())
}

fn check_hooks(config: &Spec) -> Checked {
    let Some(hooks) = config.hooks() else { return Ok(()) };
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    for (point, list) in [
        ("prestart", prestart),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for hook in list.iter().flatten() {
            if !hook.path().is_absolute() {
                return broken(format!("hooks.{point}"), format!("{:?} is not an absolute path", hook.path()));
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return broken(format!("hooks.{point}"), "a timeout must be more than 0 seconds");
            }
        }
    }
    Ok(())
}

fn check_paths(field: &str, paths: &Option<Vec<String>>) -> Checked {
    match paths.iter().flatten().find(|path| !path.starts_with('/')) {
        Some(path) => broken(field, format!("{path:?} is not an absolute path")),
        None => Ok(()),
    }
}

fn check_devices(devices: &Value) -> Checked {
    for device in devices.as_array().into_iter().flatten() {
        if !device["path"].as_str().is_some_and(|path| path.starts_with('/')) {
            return broken("linux.devices", format!("{} is not an absolute path", device["path"]));
        }
        let fits = |number: &Value| number.as_i64().is_some_and(|number| u32::try_from(number).is_ok());
        if device["type"] != "p" && !(fits(&device["major"]) && fits(&device["minor"])) {
            return broken("linux.devices", format!("{}: a node needs a major and a minor number", device["path"]));
        }
    }
    Ok(())
}

fn check_seccomp(seccomp: &LinuxSeccomp) -> Checked {
    let takes_errno = |action| matches!(action, LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace);
    if seccomp.default_errno_ret().is_some() && !takes_errno(seccomp.default_action()) {
        let reason = format!("{} answers no errno", json!(seccomp.default_action()));
        return broken("linux.seccomp.defaultErrnoRet", reason);
    }
    for rule in seccomp.syscalls().iter().flatten() {
        if rule.names().is_empty() {
            return broken("linux.seccomp.syscalls", "a rule names no call");
        }
        if rule.errno_ret().is_some() && !takes_errno(rule.action()) {
            let reason = format!("errnoRet: {} answers no errno", json!(rule.action()));
            return broken("linux.seccomp.syscalls", reason);
        }
    }
    Ok(())
}

fn namespaces(linux: Option<&Linux>) -> &[LinuxNamespace] {
    linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default()
}

/// The first that is there a second time.
fn repeated<T: PartialEq + Copy>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = Vec::new();
    for item in items {
        if seen.contains(&item) {
            return Some(item);
        }
        seen.push(item);
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(config: &Value) -> String {
        let spec: Spec = serde_json::from_value(config.clone()).unwrap();
        check(&spec, &config["linux"]["devices"]).map_or_else(|broken| broken.field, |()| String::new())
    }

    #[test]
    fn a_parameter_of_the_machine_s_is_refused() {
        let with =
            |kind: &str, name: &str| field(&json!({"linux": {"namespaces": [{"type": kind}], "sysctl": {name: "1"}}}));
        assert_eq!(with("network", "net.ipv4.ip_forward"), "");
        assert_eq!(with("network", "net/ipv4/conf/eth0.1/forwarding"), "");
        assert_eq!(with("ipc", "kernel.shmmax"), "");
        assert_eq!(with("ipc", "fs.mqueue.msg_max"), "");
        for (kind, name) in [
            ("ipc", "net.ipv4.ip_forward"),
            ("network", "kernel.shmmax"),
            ("network", "kernel.core_pattern"),
            ("network", "vm.overcommit_memory"),
            ("network", "fs.file-max"),
        ] {
            assert_eq!(with(kind, name), "linux.sysctl", "{name} with a {kind} namespace");
        }
    }

    #[test]
    fn broken_rules_are_named_by_their_field() {
        let twice = json!([{"type": "pid"}, {"type": "pid"}]);
        assert_eq!(field(&json!({"linux": {"namespaces": twice}})), "linux.namespaces");
        assert_eq!(field(&json!({"hostname": "x"})), "hostname");
        assert_eq!(field(&json!({"domainname": "x"})), "domainname");
        assert_eq!(field(&json!({"hooks": {"poststop": [{"path": "x"}]}})), "hooks.poststop");
        assert_eq!(field(&json!({"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}})), "hooks.prestart");
        assert_eq!(field(&json!({"annotations": {"": "x"}})), "annotations");
        assert_eq!(field(&json!({"linux": {"maskedPaths": ["x"]}})), "linux.maskedPaths");
        assert_eq!(field(&json!({"linux": {"devices": [{"path": "/dev/x", "type": "c"}]}})), "linux.devices");
        assert_eq!(field(&json!({"linux": {"uidMappings": [{"size": 1}]}})), "linux.uidMappings");
        assert_eq!(field(&json!({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}})), "linux.timeOffsets");
    }
}
