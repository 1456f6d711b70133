//! The specification's resources, turned into chapter 5's limits.

use cgroups::limits::UNLIMITED;
use cgroups::{DeviceKind, DeviceRule, HugetlbLimit, IoCeiling, IoWeight, Limits, NetPriority, RdmaLimit};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxNetwork, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxWeightDevice,
};

use crate::error::Error;
use crate::spec::refuse;

/// The specification's resources, as limits. Its -1, "no limit", is chapter 5's [`UNLIMITED`].
///
/// # Errors
/// A value that no kernel has a place for, by its field.
///
/// # References
/// OCI runtime spec, config-linux.md, "Control groups"
pub fn limits_of_cgroup(resources: &LinuxResources) -> Result<Limits, Error> {
    let mut limits = Limits {
        pids: resources.pids().as_ref().map(LinuxPids::limit).filter(|limit| *limit != 0),
        hugetlb: resources
            .hugepage_limits()
            .iter()
            .flatten()
            .map(|limit| hugetlb_limit(limit.page_size(), limit.limit()))
            .collect(),
        unified: resources.unified().iter().flatten().map(|(file, value)| (file.clone(), value.clone())).collect(),
        devices: device_rules(resources)?,
        rdma: rdma(resources),
        ..Limits::default()
    };
    if let Some(memory) = resources.memory() {
        limit_memory(&mut limits, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        limit_cpu(&mut limits, cpu)?;
    }
    if let Some(io) = resources.block_io() {
        limit_io(&mut limits, io)?;
    }
    if let Some(network) = resources.network() {
        mark_packets(&mut limits, network);
    }
    Ok(limits)
}

/// The same for a group that is new, in which nothing is limited: what is to be unlimited need not be said, nor be possible.
///
/// # Errors
/// As [`limits_of_cgroup`].
pub(crate) fn limits_of_new_cgroup(resources: &LinuxResources) -> Result<Limits, Error> {
    let limits = limits_of_cgroup(resources)?;
    let limited = |bytes: &u64| *bytes != UNLIMITED;
    Ok(Limits {
        memory: limits.memory.filter(limited),
        memory_swap: limits.memory_swap.filter(|bytes| *bytes >= 0),
        memory_reservation: limits.memory_reservation.filter(limited),
        memory_kernel_tcp: limits.memory_kernel_tcp.filter(|bytes| *bytes >= 0),
        ..limits
    })
}

fn limit_memory(limits: &mut Limits, memory: &LinuxMemory) -> Result<(), Error> {
    #[allow(deprecated)]
    if memory.kernel().is_some_and(|bytes| bytes > 0) {
        return Err(refuse("linux.resources.memory.kernel", "no kernel since Linux 5.16 has such a limit"));
    }
    // Hosts write 0 where they ask for nothing.
    let bytes = |limit: Option<i64>| match limit {
        None | Some(0) => None,
        Some(limit) => Some(u64::try_from(limit).unwrap_or(UNLIMITED)),
    };
    limits.memory = bytes(memory.limit());
    limits.memory_reservation = bytes(memory.reservation());
    limits.memory_swap = memory.swap().filter(|swap| *swap != 0);
    limits.memory_swappiness = memory.swappiness();
    limits.memory_kernel_tcp = memory.kernel_tcp().filter(|bytes| *bytes != 0);
    limits.oom_kill_disable = memory.disable_oom_killer().unwrap_or(false);
    Ok(())
}

fn limit_cpu(limits: &mut Limits, cpu: &LinuxCpu) -> Result<(), Error> {
    limits.cpu_quota_us = cpu.quota().filter(|quota| *quota != 0);
    limits.cpu_period_us = cpu.period().filter(|period| *period != 0);
    limits.cpu_burst_us = cpu.burst();
    limits.cpu_rt_runtime_us = cpu.realtime_runtime().filter(|runtime| *runtime != 0);
    limits.cpu_rt_period_us = cpu.realtime_period().filter(|period| *period != 0);
    limits.cpu_shares = cpu.shares().filter(|shares| *shares != 0);
    limits.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
    limits.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
    limits.cpu_idle = match cpu.idle() {
        None => None,
        Some(idle @ (0 | 1)) => Some(idle == 1),
        Some(other) => return Err(refuse("linux.resources.cpu.idle", format!("{other} is neither 0 nor 1"))),
    };
    Ok(())
}

fn limit_io(limits: &mut Limits, io: &LinuxBlockIo) -> Result<(), Error> {
    let leaves = io.weight_device().iter().flatten().map(LinuxWeightDevice::leaf_weight);
    if leaves.chain([io.leaf_weight()]).flatten().any(|weight| weight != 0) {
        let reason = "it was of the CFQ scheduler, which no kernel since Linux 5.0 has";
        return Err(refuse("linux.resources.blockIO.leafWeight", reason));
    }
    limits.io_weight = io.weight().filter(|weight| *weight != 0);
    for disk in io.weight_device().iter().flatten() {
        let field = "linux.resources.blockIO.weightDevice";
        let weight = disk.weight().ok_or_else(|| refuse(field, "an entry without a weight"))?;
        let (major, minor) = (required(field, disk.major())?, required(field, disk.minor())?);
        limits.io_weights.push(IoWeight { major, minor, weight });
    }
    limits.io_ceilings = io_ceilings(io)?;
    Ok(())
}

fn mark_packets(limits: &mut Limits, network: &LinuxNetwork) {
    limits.net_class_id = network.class_id().filter(|class| *class != 0);
    let priorities = network.priorities().iter().flatten();
    limits.net_priorities =
        priorities.map(|one| NetPriority { interface: one.name().clone(), priority: one.priority() }).collect();
}

fn rdma(resources: &LinuxResources) -> Vec<RdmaLimit> {
    let limits = resources.rdma().iter().flatten();
    let mut limits: Vec<_> = limits
        .map(|(device, limit)| RdmaLimit {
            device: device.clone(),
            handles: limit.hca_handles(),
            objects: limit.hca_objects(),
        })
        .collect();
    limits.sort_unstable_by(|one, other| one.device.cmp(&other.device));
    limits
}

fn hugetlb_limit(page_size: &str, bytes: i64) -> HugetlbLimit {
    HugetlbLimit { page_size: page_size.to_owned(), bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
}

/// Four lists of disks, as one list of disks with four ceilings.
fn io_ceilings(io: &LinuxBlockIo) -> Result<Vec<IoCeiling>, Error> {
    type Field = fn(&mut IoCeiling) -> &mut Option<u64>;
    let lists: [(&str, &Option<Vec<LinuxThrottleDevice>>, Field); 4] = [
        ("throttleReadBpsDevice", io.throttle_read_bps_device(), |disk| &mut disk.read_bps),
        ("throttleWriteBpsDevice", io.throttle_write_bps_device(), |disk| &mut disk.write_bps),
        ("throttleReadIOPSDevice", io.throttle_read_iops_device(), |disk| &mut disk.read_iops),
        ("throttleWriteIOPSDevice", io.throttle_write_iops_device(), |disk| &mut disk.write_iops),
    ];
    let mut disks: Vec<IoCeiling> = Vec::new();
    for (name, list, field) in lists {
        let path = format!("linux.resources.blockIO.{name}");
        for entry in list.iter().flatten() {
            let (major, minor) = (required(&path, entry.major())?, required(&path, entry.minor())?);
            let known = disks.iter().position(|disk| (disk.major, disk.minor) == (major, minor));
            let at = known.unwrap_or_else(|| {
                disks.push(IoCeiling { major, minor, ..IoCeiling::default() });
                disks.len() - 1
            });
            *field(&mut disks[at]) = Some(entry.rate());
        }
    }
    Ok(disks)
}

/// A device's number: one that does not fit is none, and taking it for "any" would open the door.
fn required(field: &str, number: i64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| refuse(field, format!("{number} is no number of a device")))
}

/// The specification's device rules after chapter 5's defaults, which every container needs to work at all.
fn device_rules(resources: &LinuxResources) -> Result<Option<Vec<DeviceRule>>, Error> {
    let field = "linux.resources.devices";
    // -1 and nothing are "any".
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => required(field, number).map(Some),
    };
    let Some(wanted) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) else { return Ok(None) };
    let rule = |rule: &LinuxDeviceCgroup| {
        Ok(DeviceRule {
            allow: rule.allow(),
            kind: match rule.typ() {
                Some(LinuxDeviceType::B) => DeviceKind::Block,
                Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Character,
                Some(LinuxDeviceType::A) | None => DeviceKind::All,
                Some(other) => return Err(refuse(field, format!("{other:?} is no type that a rule can be about"))),
            },
            major: number(rule.major())?,
            minor: number(rule.minor())?,
            access: rule.access().clone().filter(|access| !access.is_empty()).unwrap_or_else(|| "rwm".to_owned()),
        })
    };
    let mut rules = wanted.iter().map(rule).collect::<Result<Vec<_>, Error>>()?;
    rules.extend(cgroups::devices::default_rules().into_iter().filter(|rule| rule.allow));
    Ok(Some(rules))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(resources: serde_json::Value) -> Result<Limits, String> {
        let resources = serde_json::from_value(resources).unwrap();
        limits_of_cgroup(&resources).map_err(|error| error.to_string())
    }

    #[test]
    fn no_limit_is_said_where_there_was_one_and_left_out_where_there_is_none() {
        let resources = json!({"memory": {"limit": -1, "swap": -1, "reservation": 0}});
        let limits = read(resources.clone()).unwrap();
        assert_eq!((limits.memory, limits.memory_swap, limits.memory_reservation), (Some(UNLIMITED), Some(-1), None));
        let new = limits_of_new_cgroup(&serde_json::from_value(resources).unwrap()).unwrap();
        assert!(new.is_empty(), "{new:?}");
    }

    #[test]
    fn a_number_that_is_no_device_s_is_refused_and_not_taken_for_any() {
        for major in [-2_i64, 1 << 40] {
            let error = read(json!({"devices": [{"allow": true, "type": "c", "major": major, "access": "rw"}]}));
            assert!(error.unwrap_err().contains("linux.resources.devices"), "{major}");
        }
        let any = read(json!({"devices": [{"allow": true, "type": "c", "major": 5, "minor": -1}]})).unwrap();
        let rule = &any.devices.unwrap()[0];
        assert_eq!((rule.major, rule.minor, rule.access.as_str()), (Some(5), None, "rwm"));
    }

    #[test]
    fn what_no_kernel_has_any_more_is_refused_by_name() {
        let error = read(json!({"blockIO": {"leafWeight": 10}})).unwrap_err();
        assert!(error.contains("linux.resources.blockIO.leafWeight"), "{error}");
        let error = read(json!({"memory": {"kernel": 4096}})).unwrap_err();
        assert!(error.contains("linux.resources.memory.kernel"), "{error}");
        assert!(read(json!({"memory": {"kernel": 0}, "blockIO": {"leafWeight": 0}})).unwrap().is_empty());
    }
}
