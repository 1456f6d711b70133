//! What root inside may not do: capabilities, system calls, hidden files.

use privileges::CapSet;
use privileges::seccomp::{Profile, default_profile};
use serde_json::Value;

use crate::error::{Error, Result, While as _};
use crate::options::{Seccomp, Security};

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
pub(super) fn hidden_paths(security: &Security) -> (&'static [&'static str], &'static [&'static str]) {
    if security.privileged { (&[], &[]) } else { (&rootfs::MASKED, &rootfs::READ_ONLY) }
}
