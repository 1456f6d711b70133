//! A profile as people write it: the OCI `linux.seccomp` JSON, and Docker's additions.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use super::table::Answer;
use super::{Arch, FilterFlags, Program, assemble, table};
use crate::{CapSet, Capability, Error};

/// A seccomp profile.
///
/// The OCI form has neither `archMap` nor `includes`, `excludes`; Docker's profile file has them, and
/// [`Profile::resolve`] turns the second into the first. Unknown fields (comments, mostly) are passed over.
///
/// # References
/// OCI runtime spec, config-linux.md, "Seccomp"; Docker, `profiles/seccomp/default.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// What happens to a call that no rule is about.
    pub default_action: Action,
    /// The errno of the default action, if that is `SCMP_ACT_ERRNO`; EPERM if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures whose calls are answered beside the machine's own (OCI): `SCMP_ARCH_X86`, `SCMP_ARCH_X32`. A call
    /// of any other kills the process.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Docker's form of the same: what else a machine of this kind can run.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub arch_map: Vec<ArchMap>,
    /// `SECCOMP_FILTER_FLAG_LOG`, `..._SPEC_ALLOW`, `..._WAIT_KILLABLE_RECV` (and `..._TSYNC`, which needs no telling
    /// here: whoever loads this filter has one thread).
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The socket of whoever answers the calls with `SCMP_ACT_NOTIFY`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub listener_path: String,
    /// What it is told besides: opaque.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub listener_metadata: String,
    /// The rules; for one call the first that matches decides.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub syscalls: Vec<Rule>,
}

/// Docker: an architecture, and those whose programs its machines run too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchMap {
    /// `SCMP_ARCH_X86_64`.
    pub architecture: String,
    /// `SCMP_ARCH_X86`, `SCMP_ARCH_X32`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub sub_architectures: Vec<String>,
}

/// One rule: what to do about some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The calls, by name. Names that this architecture does not have are passed over: profiles serve many.
    #[serde(default)]
    pub names: Vec<String>,
    /// What to do.
    pub action: Action,
    /// With which errno.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments; all must hold (Docker writes `null` for none).
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Docker: the rule counts only if all of this holds.
    #[serde(default, skip_serializing_if = "Condition::is_empty")]
    pub includes: Condition,
    /// Docker: the rule does not count if any of this holds.
    #[serde(default, skip_serializing_if = "Condition::is_empty")]
    pub excludes: Condition,
}

/// When a Docker rule counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Capabilities that the container has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Capability>,
    /// Architectures, by Go's names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// A kernel at least this old: `4.8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_kernel: String,
}

/// A condition on one argument of a call, compared as an unsigned 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// What to compare with; the mask for `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What the masked argument must equal.
    #[serde(default)]
    pub value_two: u64,
    /// How to compare.
    pub op: Comparison,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Comparison {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Kill the thread.
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// Kill the process.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// Send SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// Do not make the call; answer an errno.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// Ask a tracer; ENOSYS without one.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// Ask whoever holds the filter's listener; ENOSYS once nobody does.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    /// Make the call and log it.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// Make the call.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

impl Condition {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every part that is given holds.
    fn all_hold(&self, capabilities: CapSet, kernel: (u32, u32)) -> bool {
        self.caps.iter().all(|capability| capabilities.contains(*capability))
            && (self.arches.is_empty() || self.has_native_arch())
            && (self.min_kernel.is_empty() || self.kernel_is_new_enough(kernel))
    }

    /// Whether any part that is given holds.
    fn any_holds(&self, capabilities: CapSet, kernel: (u32, u32)) -> bool {
        self.caps.iter().any(|capability| capabilities.contains(*capability))
            || self.has_native_arch()
            || (!self.min_kernel.is_empty() && self.kernel_is_new_enough(kernel))
    }

    fn has_native_arch(&self) -> bool {
        self.arches.iter().any(|arch| arch == Arch::NATIVE.go())
    }

    /// An unreadable version counts as newer than any kernel.
    fn kernel_is_new_enough(&self, kernel: (u32, u32)) -> bool {
        version(&self.min_kernel).is_some_and(|wanted| kernel >= wanted)
    }
}

impl Profile {
    /// The profile for a container with these capabilities on a kernel of this version: rules that do not count are
    /// gone, and with them `includes` and `excludes`. What remains is the OCI form.
    #[must_use]
    pub fn resolve(&self, capabilities: CapSet, kernel: (u32, u32)) -> Profile {
        let mut resolved = self.clone();
        resolved.syscalls.retain(|rule| {
            rule.includes.all_hold(capabilities, kernel) && !rule.excludes.any_holds(capabilities, kernel)
        });
        for rule in &mut resolved.syscalls {
            rule.includes = Condition::default();
            rule.excludes = Condition::default();
        }
        resolved.architectures.extend(resolved.sub_architectures());
        resolved.arch_map = Vec::new();
        resolved
    }

    /// Whether it has the OCI form already, as a runtime gets it.
    fn is_resolved(&self) -> bool {
        let unconditional = |rule: &Rule| rule.includes.is_empty() && rule.excludes.is_empty();
        self.arch_map.is_empty() && self.syscalls.iter().all(unconditional)
    }

    /// Assembles the filter for a container with these capabilities, on this machine.
    ///
    /// # Errors
    /// A profile that means nothing, by the place in it; a program that is too long.
    pub fn compile(&self, capabilities: &CapSet) -> Result<Program, Error> {
        let resolved = match self.is_resolved() {
            true => Cow::Borrowed(self),
            false => Cow::Owned(self.resolve(*capabilities, running_kernel())),
        };
        let table = table::Table::of(&resolved)?;
        let flags = resolved.filter_flags(table.answers(Answer::NOTIFY))?;
        if flags.new_listener && table.may_answer("sendmsg", Answer::NOTIFY) {
            let reason = "sendmsg is answered by SCMP_ACT_NOTIFY, and it is what hands the listener over".to_owned();
            return Err(Error::Profile { place: "syscalls".to_owned(), reason });
        }
        assemble::program(&table, flags)
    }

    /// Whose calls the filter answers: the machine's own, and what the profile adds of what this machine offers.
    pub(super) fn called_architectures(&self) -> Result<BTreeSet<Arch>, Error> {
        let mut called = BTreeSet::from([Arch::NATIVE]);
        for (position, name) in self.architectures.iter().enumerate() {
            called.extend(Arch::parse(name, &format!("architectures[{position}]"))?);
        }
        Ok(called)
    }

    /// What Docker's map says that this machine runs besides.
    fn sub_architectures(&self) -> Vec<String> {
        let here = self.arch_map.iter().filter(|entry| entry.architecture == Arch::NATIVE.name());
        here.flat_map(|entry| entry.sub_architectures.clone()).collect()
    }

    fn filter_flags(&self, notifies: bool) -> Result<FilterFlags, Error> {
        let mut flags = FilterFlags { new_listener: notifies, ..FilterFlags::default() };
        for (position, flag) in self.flags.iter().enumerate() {
            let refuse = |reason| Err(Error::Profile { place: format!("flags[{position}]"), reason });
            match flag.as_str() {
                "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.spec_allow = true,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if notifies => flags.wait_killable = true,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => return refuse(format!("{flag}: no rule notifies anybody")),
                // It synchronises threads; whoever loads this filter has one.
                "SECCOMP_FILTER_FLAG_TSYNC" => {}
                _ => return refuse(format!("{flag:?} is not supported")),
            }
        }
        Ok(flags)
    }
}

/// The version of the running kernel, major and minor; 0.0 if it cannot be read.
fn running_kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    uname.release().to_str().ok().and_then(version).unwrap_or((0, 0))
}

/// `4.8` and `6.1.0-49-cloud-amd64` alike.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Go writes `null` for a list that nobody made.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
