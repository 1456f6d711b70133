//! Changing what a container was asked to be, also while it runs: its limits, its restart policy, its published ports.

use network::PortMapping;

use crate::devices::disks;
use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::ContainerId;
use crate::lifecycle::ask;
use crate::monitor::client::{Reply, Request};
use crate::networking::exposed_port;
use crate::options::{CreateOptions, Resources};
use crate::record::{Container, Life};
use crate::restart::RestartPolicy;
use crate::spec;

/// What is to be changed; everything absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Limits.
    pub resources: Resources,
    /// What happens when it ends.
    pub restart: Option<RestartPolicy>,
    /// Ports to publish.
    pub publish: Vec<PortMapping>,
    /// Ports of the container that are not to be published any more, as `80/tcp`.
    pub unpublish: Vec<String>,
}

impl Engine {
    /// Changes a container's limits, in the kernel too if it runs, and its restart policy.
    ///
    /// # Errors
    /// [`Error::BadValue`] for limits that make no sense together, and for a restart policy of a container that goes away
    /// at its end; those of the cgroup, which then keeps what it has taken so far.
    pub fn update(&self, id: &ContainerId, update: &Update) -> Result<()> {
        let mut container = self.container(id)?;
        let _lock = container.lock()?;
        // Read again: somebody else may have changed it while we waited.
        container.record = self.container(id)?.record;
        let before = container.record.clone();
        let options = &mut container.record.options;
        if let Some(policy) = update.restart {
            if options.auto_remove && policy != RestartPolicy::No {
                return Err(Error::bad(
                    "--restart",
                    policy.to_string(),
                    "it was created with --rm, and goes away at its end",
                ));
            }
            options.restart = policy;
        }
        let ports_change = change_ports(options, update)?;
        options.resources = merged(&options.resources, &update.resources);
        let limits = spec::limits(&options.resources, &disks(&options.resources)?)?;
        // Between two runs of a restart policy there is no group; the next one will be made with these limits.
        if update.resources != Resources::default() && container.life()?.pid.is_some() {
            runtime::update(&self.runtime(), id.as_str(), &limits).doing("limit", container.name())?;
        }
        container.write_record()?;
        if ports_change && let Err(error) = self.publish_anew(&container) {
            // As it was: what is written down is what is published.
            container.record = before;
            container.write_record()?;
            return Err(error);
        }
        self.events().record(&Event::of(&container, "update"));
        Ok(())
    }

    /// Has the ports of a container published as its record says, if it runs. The caller has its lock.
    fn publish_anew(&self, container: &Container) -> Result<()> {
        let life = container.life()?;
        if life.pid.is_none() {
            return Ok(());
        }
        if namespaces::rootless::is_rootless() {
            let reason = "a running container's ports can be changed by root alone; stop it first";
            return Err(Error::bad("--publish-add", container.name(), reason));
        }
        match ask(container, Request::Ports)? {
            Some(Reply::Published { ports }) => Ok(container.write_life(&Life { ports, ..life })?),
            Some(Reply::Refused { reason }) => Err(Error::bad("--publish-add", container.name(), reason)),
            _ => Err(Error::bad("--publish-add", container.name(), "it ended meanwhile")),
        }
    }
}

/// Lays the wishes about ports over a container's own. True if there are any.
fn change_ports(options: &mut CreateOptions, update: &Update) -> Result<bool> {
    let network = &mut options.network;
    for text in &update.unpublish {
        let gone = exposed_port(text)?;
        let is_gone = |port: &PortMapping| {
            gone.iter().any(|gone| (gone.container_port, gone.protocol) == (port.container_port, port.protocol))
        };
        if !network.publish.iter().any(is_gone) {
            let reason = match network.publish_all {
                true => "it was not published by itself, but with all exposed ones (-P)",
                false => "that port is not published",
            };
            return Err(Error::bad("--publish-rm", text, reason));
        }
        network.publish.retain(|port| !is_gone(port));
    }
    for port in &update.publish {
        if network.publish.contains(port) && port.host_port != 0 {
            return Err(Error::bad("--publish-add", port.to_string(), "it is published already"));
        }
        network.publish.push(*port);
    }
    network.check()?;
    Ok(!(update.publish.is_empty() && update.unpublish.is_empty()))
}

/// Limits with others laid over them. The two ways to say how much CPU time there is take each other's place.
fn merged(old: &Resources, new: &Resources) -> Resources {
    let (whole, parts) = (new.nano_cpus.is_some(), new.cpu_quota.is_some() || new.cpu_period.is_some());
    Resources {
        memory: new.memory.or(old.memory),
        memory_swap: new.memory_swap.or(old.memory_swap),
        memory_reservation: new.memory_reservation.or(old.memory_reservation),
        nano_cpus: if parts { None } else { new.nano_cpus.or(old.nano_cpus) },
        cpu_quota: if whole { None } else { new.cpu_quota.or(old.cpu_quota) },
        cpu_period: if whole { None } else { new.cpu_period.or(old.cpu_period) },
        cpu_shares: new.cpu_shares.or(old.cpu_shares),
        cpuset_cpus: new.cpuset_cpus.clone().or_else(|| old.cpuset_cpus.clone()),
        cpuset_mems: new.cpuset_mems.clone().or_else(|| old.cpuset_mems.clone()),
        pids_limit: new.pids_limit.or(old.pids_limit),
        cpu_rt_period: new.cpu_rt_period.or(old.cpu_rt_period),
        cpu_rt_runtime: new.cpu_rt_runtime.or(old.cpu_rt_runtime),
        blkio_weight: new.blkio_weight.or(old.blkio_weight),
        // The rest is decided when a container is created.
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_and_cpus_take_the_place_of_a_quota() {
        let old = Resources { memory: Some(1 << 26), cpu_quota: Some(5), cpu_period: Some(10), ..Resources::default() };
        let new = merged(&old, &Resources { nano_cpus: Some(7), ..Resources::default() });
        assert_eq!((new.memory, new.nano_cpus, new.cpu_quota, new.cpu_period), (Some(1 << 26), Some(7), None, None));
        let back = merged(&new, &Resources { cpu_quota: Some(6), ..Resources::default() });
        assert_eq!((back.nano_cpus, back.cpu_quota), (None, Some(6)));
    }
}
