//! The specification's process, turned into chapter 6's confinement and chapter 5's limits.

use std::path::Path;

use cgroups::{DeviceKind, DeviceRule, HugetlbLimit, IoCeiling, IoWeight, Limits};
use oci_spec::runtime::{
    Capabilities as OciCapabilities, LinuxBlockIo, LinuxDeviceType, LinuxResources, LinuxSeccomp, LinuxThrottleDevice,
    LinuxWeightDevice, Process, Spec,
};
use privileges::{CapSet, Capabilities, Confinement, Identity, Label, SecurityModule, seccomp};
use process::{ProcessStep, Resource};

use crate::error::Error;
use crate::spec::config;

/// Everything that a process of this specification gives up.
///
/// # Errors
/// An unknown capability; a seccomp profile that does not compile.
pub fn confinement(spec: &Spec, process: &Process, id: &str) -> Result<Confinement, Error> {
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
        keyring: Some(id.to_owned()),
        identity: Identity {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: Some(user.umask().unwrap_or(0o022)),
        },
        capabilities,
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        labels: labels(process)?,
        seccomp: filter,
    })
}

/// The filter of a profile, which must name an agent if and only if it asks one.
fn filter(profile: &LinuxSeccomp, effective: CapSet) -> Result<seccomp::Program, Error> {
    let refuse = |field: &str, reason: &str| config(Path::new("config.json"), field, reason.to_owned());
    let malformed = |error: serde_json::Error| refuse("linux.seccomp", &error.to_string());
    let value = serde_json::to_value(profile).map_err(malformed)?;
    let profile: seccomp::Profile = serde_json::from_value(value).map_err(malformed)?;
    let program = profile.compile(&effective)?;
    if program.flags.new_listener && profile.listener_path.is_empty() {
        return Err(refuse("linux.seccomp.listenerPath", "missing, and SCMP_ACT_NOTIFY asks whoever listens there"));
    }
    if profile.listener_path.is_empty() && !profile.listener_metadata.is_empty() {
        return Err(refuse("linux.seccomp.listenerMetadata", "given without a listenerPath"));
    }
    Ok(program)
}

/// The labels that security modules shall go by. One that nobody would enforce is refused.
fn labels(process: &Process) -> Result<Vec<Label>, Error> {
    let wanted = |module: SecurityModule, field: &str, text: Option<&str>| {
        let label = Label::wanted(module, text.unwrap_or_default(), module.is_active());
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

/// The specification's resources, as limits.
pub fn limits_of_cgroup(resources: &LinuxResources) -> Limits {
    let memory = resources.memory().as_ref();
    let cpu = resources.cpu().as_ref();
    // The specification writes -1 for "no limit"; chapter 5 writes nothing.
    let bytes = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let hugetlb = resources.hugepage_limits().iter().flatten();
    let unified = resources.unified().iter().flatten();
    let io = resources.block_io().as_ref();
    Limits {
        memory: bytes(memory.and_then(oci_spec::runtime::LinuxMemory::limit)),
        memory_swap: memory.and_then(oci_spec::runtime::LinuxMemory::swap).filter(|swap| *swap != 0),
        memory_high: None,
        memory_reservation: bytes(memory.and_then(oci_spec::runtime::LinuxMemory::reservation)),
        oom_group: false,
        cpu_quota_us: cpu.and_then(oci_spec::runtime::LinuxCpu::quota).filter(|quota| *quota != 0),
        cpu_period_us: cpu.and_then(oci_spec::runtime::LinuxCpu::period).filter(|period| *period != 0),
        cpu_burst_us: cpu.and_then(oci_spec::runtime::LinuxCpu::burst),
        cpu_idle: cpu.and_then(oci_spec::runtime::LinuxCpu::idle).map(|idle| idle != 0),
        cpu_shares: cpu.and_then(oci_spec::runtime::LinuxCpu::shares).filter(|shares| *shares != 0),
        cpuset_cpus: cpu.and_then(|cpu| cpu.cpus().clone()).filter(|list| !list.is_empty()),
        cpuset_mems: cpu.and_then(|cpu| cpu.mems().clone()).filter(|list| !list.is_empty()),
        pids: resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit).filter(|limit| *limit != 0),
        io_weight: io.and_then(LinuxBlockIo::weight).filter(|weight| *weight != 0),
        io_weights: io.map(io_weights).unwrap_or_default(),
        io_ceilings: io.map(io_ceilings).unwrap_or_default(),
        hugetlb: hugetlb.map(|limit| hugetlb_limit(limit.page_size(), limit.limit())).collect(),
        unified: unified.map(|(file, value)| (file.clone(), value.clone())).collect(),
        devices: device_rules(resources),
    }
}

fn hugetlb_limit(page_size: &str, bytes: i64) -> HugetlbLimit {
    HugetlbLimit { page_size: page_size.to_owned(), bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
}

fn io_weights(io: &LinuxBlockIo) -> Vec<IoWeight> {
    let disks = io.weight_device().iter().flatten();
    let weight = |disk: &LinuxWeightDevice| {
        Some(IoWeight { major: number(disk.major())?, minor: number(disk.minor())?, weight: disk.weight()? })
    };
    disks.filter_map(weight).collect()
}

/// Four lists of disks, as one list of disks with four ceilings.
fn io_ceilings(io: &LinuxBlockIo) -> Vec<IoCeiling> {
    let mut disks: Vec<IoCeiling> = Vec::new();
    let mut note = |list: &Option<Vec<LinuxThrottleDevice>>, field: fn(&mut IoCeiling) -> &mut Option<u64>| {
        for entry in list.iter().flatten() {
            let (Some(major), Some(minor)) = (number(entry.major()), number(entry.minor())) else { continue };
            let known = disks.iter().position(|disk| (disk.major, disk.minor) == (major, minor));
            let at = known.unwrap_or_else(|| {
                disks.push(IoCeiling { major, minor, ..IoCeiling::default() });
                disks.len() - 1
            });
            *field(&mut disks[at]) = Some(entry.rate());
        }
    };
    note(io.throttle_read_bps_device(), |disk| &mut disk.read_bps);
    note(io.throttle_write_bps_device(), |disk| &mut disk.write_bps);
    note(io.throttle_read_iops_device(), |disk| &mut disk.read_iops);
    note(io.throttle_write_iops_device(), |disk| &mut disk.write_iops);
    disks
}

fn number(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// The specification's device rules after chapter 5's defaults, which every container needs to work at all.
fn device_rules(resources: &LinuxResources) -> Option<Vec<DeviceRule>> {
    let wanted = resources.devices().as_ref().filter(|rules| !rules.is_empty())?;
    let rules = wanted.iter().map(|rule| DeviceRule {
        allow: rule.allow(),
        kind: match rule.typ() {
            Some(LinuxDeviceType::B) => DeviceKind::Block,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Character,
            _ => DeviceKind::All,
        },
        major: rule.major().and_then(number),
        minor: rule.minor().and_then(number),
        access: rule.access().clone().filter(|access| !access.is_empty()).unwrap_or_else(|| "rwm".to_owned()),
    });
    Some(rules.chain(cgroups::devices::default_rules().into_iter().filter(|rule| rule.allow)).collect())
}
