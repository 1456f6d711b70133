//! What root inside may not do: capabilities, system calls, hidden files.

use privileges::CapSet;
use privileges::seccomp::{Profile, default_profile};
use serde_json::Value;

use crate::error::{Error, Result, While as _};
use crate::security::{Seccomp, Security};

/// The capabilities of the first process.
pub(super) fn capabilities(security: &Security, obtainable: CapSet) -> Result<CapSet> {
    let base = if security.privileged { obtainable } else { CapSet::engine_default() };
    base.adjusted(&security.cap_add, &security.cap_drop).doing("apply", "--cap-add and --cap-drop")
}

/// The seccomp profile in the OCI's form; `null` for none.
pub(super) fn seccomp(security: &Security, capabilities: CapSet, kernel: (u32, u32)) -> Result<Value> {
    let profile = match &security.seccomp {
        _ if security.privileged => return Ok(Value::Null),
        Seccomp::Unconfined => return Ok(Value::Null),
        Seccomp::Default => default_profile(),
        Seccomp::Profile(document) => serde_json::from_value::<Profile>(document.clone())
            .map_err(|error| Error::bad("--security-opt", "seccomp", error.to_string()))?,
    };
    serde_json::to_value(profile.resolve(capabilities, kernel)).doing("write", "the seccomp profile")
}

/// Files that a container does not see, and files that it may only read: the union of Docker's and podman's.
///
/// `/proc` and `/sys` are the kernel's, not the container's: what is in them is about the host.
pub(super) fn hidden_paths(security: &Security) -> (Vec<&'static str>, Vec<&'static str>) {
    if security.privileged || security.system_paths_open {
        return (Vec::new(), Vec::new());
    }
    let wanted = |paths: &[&'static str]| -> Vec<&'static str> {
        paths.iter().copied().filter(|path| !security.unmasked.iter().any(|open| open == path)).collect()
    };
    (wanted(&rootfs::MASKED), wanted(&rootfs::READ_ONLY))
}
