//! What a configuration must keep to, beyond the types of its fields: each rule is one of the specification's, or keeps a
//! field from reaching the machine.

use std::collections::BTreeSet;

use serde_json::Value;

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

/// Checks a whole configuration.
pub(crate) fn check(config: &Value) -> Checked {
    check_process(&config["process"])?;
    check_namespaces(config)?;
    check_parameters(config)?;
    check_hooks(&config["hooks"])?;
    check_paths(&config["linux"])?;
    check_seccomp(&config["linux"]["seccomp"])?;
    match config["annotations"].as_object().is_some_and(|annotations| annotations.contains_key("")) {
        true => broken("annotations", "a key is empty"),
        false => Ok(()),
    }
}

/// A configuration may have no process; then it can be created, and not started.
fn check_process(process: &Value) -> Checked {
    if process.is_null() {
        return Ok(());
    }
    if items(&process["args"]).next().is_none() {
        return broken("process.args", "no program is named");
    }
    if !is_absolute(&process["cwd"]) {
        return broken("process.cwd", "not an absolute path");
    }
    let mut seen = BTreeSet::new();
    match items(&process["rlimits"]).find(|limit| !seen.insert(limit["type"].to_string())) {
        Some(limit) => broken("process.rlimits", format!("{} twice", limit["type"])),
        None => Ok(()),
    }
}

fn check_namespaces(config: &Value) -> Checked {
    let mut seen = BTreeSet::new();
    for namespace in items(&config["linux"]["namespaces"]) {
        if !seen.insert(namespace["type"].to_string()) {
            return broken("linux.namespaces", format!("{} twice", namespace["type"]));
        }
        let path = &namespace["path"];
        if path.as_str().is_some_and(|path| !path.is_empty()) && !is_absolute(path) {
            return broken("linux.namespaces", format!("{path} is not an absolute path"));
        }
    }
    let has = |kind: &str| seen.contains(&format!("{kind:?}"));
    for name in ["hostname", "domainname"] {
        if config[name].as_str().is_some_and(|name| !name.is_empty()) && !has("uts") {
            return broken(name, "needs a uts namespace of the container's own");
        }
    }
    let maps = ["uidMappings", "gidMappings"];
    match maps.iter().find(|map| items(&config["linux"][map]).next().is_some() && !has("user")) {
        Some(map) => broken(format!("linux.{map}"), "needs a user namespace of the container's own"),
        None if items(&config["linux"]["timeOffsets"]).next().is_some() && !has("time") => {
            broken("linux.timeOffsets", "needs a time namespace of the container's own")
        }
        None => Ok(()),
    }
}

/// A kernel parameter that belongs to no namespace of the container's would be changed for the whole machine.
fn check_parameters(config: &Value) -> Checked {
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
    let kinds: BTreeSet<&str> =
        items(&config["linux"]["namespaces"]).filter_map(|namespace| namespace["type"].as_str()).collect();
    for name in config["linux"]["sysctl"].as_object().into_iter().flat_map(|parameters| parameters.keys()) {
        let path = if name.find(['.', '/']).is_some_and(|place| name.as_bytes()[place] == b'.') {
            name.replace('.', "/")
        } else {
            name.clone()
        };
        let kind = match path.as_str() {
            path if OF_IPC.contains(&path) || path.starts_with("fs/mqueue/") => "ipc",
            path if path.starts_with("net/") => "network",
            "kernel/domainname" | "kernel/hostname" => "uts",
            path if path.starts_with("user/") => "user",
            _ => return broken("linux.sysctl", format!("{name:?} is of no namespace: it is the whole machine's")),
        };
        if !kinds.contains(kind) {
            let reason = format!("{name:?} is the machine's own: it needs a {kind} namespace of the container's");
            return broken("linux.sysctl", reason);
        }
    }
    Ok(())
}

fn check_hooks(hooks: &Value) -> Checked {
    for (point, list) in hooks.as_object().into_iter().flatten() {
        for hook in items(list) {
            if !is_absolute(&hook["path"]) {
                return broken(format!("hooks.{point}"), format!("{} is not an absolute path", hook["path"]));
            }
            if hook["timeout"].as_i64().is_some_and(|seconds| seconds <= 0) {
                return broken(format!("hooks.{point}"), "a timeout must be more than 0 seconds");
            }
        }
    }
    Ok(())
}

fn check_paths(linux: &Value) -> Checked {
    for name in ["maskedPaths", "readonlyPaths"] {
        if let Some(path) = items(&linux[name]).find(|path| !is_absolute(path)) {
            return broken(format!("linux.{name}"), format!("{path} is not an absolute path"));
        }
    }
    for device in items(&linux["devices"]) {
        if !is_absolute(&device["path"]) {
            return broken("linux.devices", format!("{} is not an absolute path", device["path"]));
        }
        let fits = |number: &Value| number.as_i64().is_some_and(|number| u32::try_from(number).is_ok());
        if device["type"] != "p" && !(fits(&device["major"]) && fits(&device["minor"])) {
            return broken("linux.devices", format!("{}: a node needs a major and a minor number", device["path"]));
        }
    }
    Ok(())
}

fn check_seccomp(seccomp: &Value) -> Checked {
    let takes_errno = |action: &Value| matches!(action.as_str(), Some("SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE"));
    if !seccomp["defaultErrnoRet"].is_null() && !takes_errno(&seccomp["defaultAction"]) {
        return broken("linux.seccomp.defaultErrnoRet", format!("{} answers no errno", seccomp["defaultAction"]));
    }
    for rule in items(&seccomp["syscalls"]) {
        if items(&rule["names"]).next().is_none() {
            return broken("linux.seccomp.syscalls", "a rule names no call");
        }
        if !rule["errnoRet"].is_null() && !takes_errno(&rule["action"]) {
            return broken("linux.seccomp.syscalls", format!("errnoRet: {} answers no errno", rule["action"]));
        }
    }
    Ok(())
}

/// What a list, or an object, holds; nothing for whatever else stands there, which the types refuse later.
fn items(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn is_absolute(path: &Value) -> bool {
    path.as_str().is_some_and(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(config: &Value) -> String {
        check(config).map_or_else(|broken| broken.field, |()| String::new())
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
