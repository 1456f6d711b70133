//! `features`: what this runtime knows, whatever the machine below it can do.

use namespaces::NamespaceKind;
use privileges::Capability;
use serde_json::json;

/// Prints the document.
///
/// # References
/// OCI runtime spec, features.md and features-linux.md
pub(crate) fn print() -> anyhow::Result<u8> {
    let namespaces: Vec<String> = NamespaceKind::ALL.iter().map(|kind| spec_name(*kind)).collect();
    let capabilities: Vec<String> = (0..64).filter_map(Capability::from_number).map(|one| one.to_string()).collect();
    let document = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.1",
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": rootfs::options::NAMES[..],
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": ACTIONS,
                "operators": OPERATORS,
                "archs": ARCHITECTURES,
                "knownFlags": FLAGS,
                "supportedFlags": FLAGS,
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "annotations": {"org.cooper.runtime.version": env!("CARGO_PKG_VERSION")},
        "potentiallyUnsafeConfigAnnotations": [],
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(0)
}

/// The specification's word for a kind.
fn spec_name(kind: NamespaceKind) -> String {
    match kind {
        NamespaceKind::Net => "network".to_owned(),
        other => other.to_string(),
    }
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];
const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];
const ARCHITECTURES: [&str; 4] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"];
const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

#[cfg(test)]
mod tests {
    use privileges::seccomp::{Action, Arch, Comparison};
    use serde_json::{Value, from_value};

    use super::*;

    #[test]
    fn whatever_is_claimed_is_read() {
        fn read<T: serde::de::DeserializeOwned>(words: &[&str]) {
            words.iter().for_each(|word| assert!(from_value::<T>(Value::from(*word)).is_ok(), "{word}"));
        }
        read::<Action>(&ACTIONS);
        read::<Comparison>(&OPERATORS);
        read::<Arch>(&ARCHITECTURES);
    }
}
