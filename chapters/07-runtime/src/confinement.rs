//! The specification's process, turned into chapter 6's confinement and chapter 1's limits.

use std::fmt::Display;
use std::path::Path;

use oci_spec::runtime::{Capabilities as OciCapabilities, LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, Process, Spec};
use privileges::{CapSet, Capabilities, Confinement, Identity, Label, SecurityModule, seccomp};
use process::{ProcessStep, Resource};
use serde::de::value::Error as NameError;
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use crate::error::Error;
use crate::spec::config;

/// Everything that a process of this specification gives up; `keyring` names its fresh session keyring.
///
/// # Errors
/// An unknown capability; a seccomp profile that does not compile.
pub fn confinement(spec: &Spec, process: &Process, keyring: Option<String>) -> Result<Confinement, Error> {
    let user = process.user();
    let capabilities = process.capabilities().as_ref().map(|sets| {
        Ok::<_, Error>(
            Capabilities {
                bounding: set(sets.bounding().as_ref())?,
                effective: set(sets.effective().as_ref())?,
                inheritable: set(sets.inheritable().as_ref())?,
                permitted: set(sets.permitted().as_ref())?,
                ambient: set(sets.ambient().as_ref())?,
            }
            .without_ungrantable(),
        )
    });
    let capabilities = capabilities.transpose()?;
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let effective = capabilities.map_or(CapSet::all(), |sets| sets.effective);
    let filter = profile.map(|profile| filter(profile, effective)).transpose()?;
    Ok(Confinement {
        keyring,
        identity: Identity {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: Some(user.umask().unwrap_or(0o022)),
        },
        capabilities,
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        labels: labels(process)?,
        landlock: None,
        seccomp: filter,
    })
}

/// The filter of a profile, which must name an agent if and only if it asks one.
fn filter(profile: &LinuxSeccomp, effective: CapSet) -> Result<seccomp::Program, Error> {
    let refuse = |field: &str, reason: &str| config(Path::new("config.json"), field, reason.to_owned());
    let profile = in_our_words(profile).map_err(|error| refuse("linux.seccomp", &error.to_string()))?;
    let program = profile.compile(&effective)?;
    if program.flags.new_listener && profile.listener_path.is_empty() {
        return Err(refuse("linux.seccomp.listenerPath", "missing, and SCMP_ACT_NOTIFY asks whoever listens there"));
    }
    if profile.listener_path.is_empty() && !profile.listener_metadata.is_empty() {
        return Err(refuse("linux.seccomp.listenerMetadata", "given without a listenerPath"));
    }
    Ok(program)
}

/// The specification's profile as chapter 6 has it. Both call actions, comparisons and machines by the same names.
fn in_our_words(profile: &LinuxSeccomp) -> Result<seccomp::Profile, NameError> {
    let argument = |argument: &LinuxSeccompArg| {
        Ok(seccomp::Argument {
            index: u32::try_from(argument.index()).unwrap_or(u32::MAX),
            value: argument.value(),
            value_two: argument.value_two().unwrap_or_default(),
            op: named(argument.op())?,
        })
    };
    let rule = |syscall: &LinuxSyscall| {
        Ok(seccomp::Rule {
            names: syscall.names().clone(),
            action: named(syscall.action())?,
            errno_ret: syscall.errno_ret(),
            args: syscall.args().iter().flatten().map(argument).collect::<Result<_, _>>()?,
            includes: seccomp::Condition::default(),
            excludes: seccomp::Condition::default(),
        })
    };
    Ok(seccomp::Profile {
        default_action: named(profile.default_action())?,
        default_errno_ret: profile.default_errno_ret(),
        architectures: profile.architectures().iter().flatten().map(ToString::to_string).collect(),
        arch_map: Vec::new(),
        flags: profile.flags().iter().flatten().map(ToString::to_string).collect(),
        listener_path: profile.listener_path().iter().map(|path| path.to_string_lossy()).collect(),
        listener_metadata: profile.listener_metadata().clone().unwrap_or_default(),
        syscalls: profile.syscalls().iter().flatten().map(rule).collect::<Result<_, _>>()?,
    })
}

fn named<T: DeserializeOwned>(name: impl Display) -> Result<T, NameError> {
    T::deserialize(name.to_string().into_deserializer())
}

/// The labels that security modules shall go by. One that nobody would enforce is refused.
fn labels(process: &Process) -> Result<Vec<Label>, Error> {
    let wanted = |module: SecurityModule, field: &str, text: Option<&str>| {
        let label = Label::wanted(module, text.unwrap_or_default(), SecurityModule::is_active);
        label.map_err(|error| config(Path::new("config.json"), field, error.to_string()))
    };
    let profile = wanted(SecurityModule::AppArmor, "process.apparmorProfile", process.apparmor_profile().as_deref())?;
    let label = wanted(SecurityModule::SELinux, "process.selinuxLabel", process.selinux_label().as_deref())?;
    Ok(profile.into_iter().chain(label).collect())
}

fn set(names: Option<&OciCapabilities>) -> Result<CapSet, Error> {
    let names = names.into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
    Ok(CapSet::EMPTY.adjusted(&names, &[])?)
}

/// The resource limits of a process, as steps.
///
/// # Errors
/// A limit that this kernel does not have.
// hole: limits-of-a-process
pub fn limits_of_process(process: &Process) -> Result<Vec<ProcessStep>, Error> {
    let limits = process.rlimits().iter().flatten();
    limits
        .map(|limit| {
            let name = limit.typ().to_string();
            let resource = resource(&name)
                .ok_or_else(|| config(Path::new("config.json"), "process.rlimits", format!("{name}: unknown limit")))?;
            Ok(ProcessStep::Limit(resource, limit.soft(), limit.hard()))
        })
        .collect()
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name.trim_start_matches("RLIMIT_").to_ascii_uppercase().as_str() {
        "AS" => Resource::RLIMIT_AS,
        "CORE" => Resource::RLIMIT_CORE,
        "CPU" => Resource::RLIMIT_CPU,
        "DATA" => Resource::RLIMIT_DATA,
        "FSIZE" => Resource::RLIMIT_FSIZE,
        "LOCKS" => Resource::RLIMIT_LOCKS,
        "MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "NICE" => Resource::RLIMIT_NICE,
        "NOFILE" => Resource::RLIMIT_NOFILE,
        "NPROC" => Resource::RLIMIT_NPROC,
        "RSS" => Resource::RLIMIT_RSS,
        "RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RTTIME" => Resource::RLIMIT_RTTIME,
        "SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}
