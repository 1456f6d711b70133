//! Limits: from Docker's flags to the OCI's numbers.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::devices::Disks;
use crate::error::{Error, Result};
use crate::options::Resources;

/// Processes and threads that a container may have unless it asks for another number.
pub(crate) const DEFAULT_PIDS: i64 = 2048;

/// The kernel cannot run a process in less; docker refuses it, too.
const LEAST_MEMORY: u64 = 6 << 20;

/// The length of a scheduling period, microseconds.
const PERIOD: u64 = 100_000;

/// `linux.resources`. `can_limit` says whether limits that nobody asked for can be set here.
pub(super) fn resources(asked: &Resources, disks: &Disks, can_limit: bool) -> Result<Value> {
    let mut resources = Map::new();
    if let Some(memory) = memory(asked)? {
        resources.insert("memory".into(), memory);
    }
    if let Some(cpu) = cpu(asked)? {
        resources.insert("cpu".into(), cpu);
    }
    if let Some(io) = block_io(asked, disks)? {
        resources.insert("blockIO".into(), io);
    }
    let pids = match asked.pids_limit {
        Some(limit) if limit <= 0 => None,
        Some(limit) => Some(limit),
        // A default that this machine does not let us set is not worth refusing to run.
        None => can_limit.then_some(DEFAULT_PIDS),
    };
    resources.extend(pids.map(|limit| ("pids".to_owned(), json!({ "limit": limit }))));
    Ok(Value::Object(resources))
}

/// What may be taken of disks. Each has been looked up.
fn block_io(asked: &Resources, disks: &Disks) -> Result<Option<Value>> {
    let mut io = Map::new();
    let weight = |option: &'static str, weight: u16| match weight {
        0 | 10..=1000 => Ok(weight),
        other => Err(Error::bad(option, other.to_string(), "a weight is from 10 to 1000, or 0 for none")),
    };
    let numbered = |path: &PathBuf, mut entry: Value| {
        let (major, minor) = disks.get(path).copied().unwrap_or_default();
        (entry["major"], entry["minor"]) = (major.into(), minor.into());
        entry
    };
    if let Some(wanted) = asked.blkio_weight {
        io.insert("weight".into(), json!(weight("--blkio-weight", wanted)?));
    }
    let mut weights = Vec::new();
    for disk in &asked.blkio_weight_devices {
        let weight = weight("--blkio-weight-device", disk.weight)?;
        weights.push(numbered(&disk.path, json!({ "weight": weight })));
    }
    if !weights.is_empty() {
        io.insert("weightDevice".into(), json!(weights));
    }
    for (_, field, rates) in asked.disk_rates() {
        let entries: Vec<Value> = rates.iter().map(|disk| numbered(&disk.path, json!({ "rate": disk.rate }))).collect();
        if !entries.is_empty() {
            io.insert(field.into(), json!(entries));
        }
    }
    Ok((!io.is_empty()).then_some(Value::Object(io)))
}

/// What is about memory, each where it was asked for.
fn memory(asked: &Resources) -> Result<Option<Value>> {
    let mut memory = limit_memory(asked)?.unwrap_or_else(|| json!({}));
    if let Some(swappiness) = asked.memory_swappiness {
        if swappiness > 100 {
            return Err(Error::bad("--memory-swappiness", swappiness.to_string(), "from 0 to 100"));
        }
        memory["swappiness"] = json!(swappiness);
    }
    if asked.oom_kill_disable {
        memory["disableOOMKiller"] = json!(true);
    }
    Ok(memory.as_object().is_some_and(|memory| !memory.is_empty()).then_some(memory))
}

/// Docker's rule for swap: `--memory-swap` counts memory and swap together; absent, it is twice the memory.
fn limit_memory(asked: &Resources) -> Result<Option<Value>> {
    let Some(limit) = asked.memory else {
        let reservation = asked.memory_reservation.map(|bytes| json!({ "reservation": bytes }));
        return match asked.memory_swap {
            Some(swap) if swap > 0 => Err(Error::bad("--memory-swap", swap.to_string(), "needs --memory, too")),
            _ => Ok(reservation),
        };
    };
    if limit < LEAST_MEMORY {
        return Err(Error::bad("--memory", limit.to_string(), "at least 6 MiB (6291456 bytes)"));
    }
    let swap = match asked.memory_swap {
        None | Some(0) => i64::try_from(limit.saturating_mul(2)).unwrap_or(i64::MAX),
        Some(-1) => -1,
        Some(total) if total < 0 || (total as u64) < limit => {
            return Err(Error::bad(
                "--memory-swap",
                total.to_string(),
                "memory and swap together: not less than --memory",
            ));
        }
        Some(total) => total,
    };
    let mut memory = json!({ "limit": limit, "swap": swap });
    if let Some(reservation) = asked.memory_reservation {
        if reservation > limit {
            return Err(Error::bad("--memory-reservation", reservation.to_string(), "not more than --memory"));
        }
        memory["reservation"] = json!(reservation);
    }
    Ok(Some(memory))
}

fn cpu(asked: &Resources) -> Result<Option<Value>> {
    let mut cpu = Map::new();
    match (asked.nano_cpus, asked.cpu_quota) {
        (Some(_), Some(_)) => return Err(Error::bad("--cpus", "", "say --cpus or --cpu-quota, not both")),
        (Some(nano), None) => {
            let period = asked.cpu_period.unwrap_or(PERIOD);
            let quota = u128::from(nano) * u128::from(period) / 1_000_000_000;
            if quota < 1000 {
                return Err(Error::bad("--cpus", format!("{}", nano as f64 / 1e9), "at least 0.01"));
            }
            cpu.insert("quota".into(), json!(u64::try_from(quota).unwrap_or(u64::MAX)));
            cpu.insert("period".into(), json!(period));
        }
        (None, quota) => {
            cpu.extend(quota.map(|quota| ("quota".to_owned(), json!(quota))));
            cpu.extend(asked.cpu_period.map(|period| ("period".to_owned(), json!(period))));
        }
    }
    cpu.extend(asked.cpu_shares.map(|shares| ("shares".to_owned(), json!(shares))));
    cpu.extend(asked.cpuset_cpus.as_ref().map(|cpus| ("cpus".to_owned(), json!(cpus))));
    cpu.extend(asked.cpuset_mems.as_ref().map(|mems| ("mems".to_owned(), json!(mems))));
    cpu.extend(asked.cpu_rt_period.map(|period| ("realtimePeriod".to_owned(), json!(period))));
    cpu.extend(asked.cpu_rt_runtime.map(|runtime| ("realtimeRuntime".to_owned(), json!(runtime))));
    Ok((!cpu.is_empty()).then_some(Value::Object(cpu)))
}
