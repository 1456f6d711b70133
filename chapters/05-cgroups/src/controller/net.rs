//! Network packets, marked for whoever shapes or filters them: a class for `tc`, a priority for each interface. v1 only;
//! on v2 a firewall rule asks for the cgroup itself.

use serde::{Deserialize, Serialize};

use super::{Controller, Setting};
use crate::Limits;

/// The priority of packets that leave by one network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetPriority {
    /// The interface's name on the machine.
    pub interface: String,
    /// The priority.
    pub priority: u32,
}

pub(super) fn on_v1(limits: &Limits) -> Vec<Setting> {
    let class = limits.net_class_id.map(|class| Setting::new(Controller::NetCls, "net_cls.classid", class));
    let priorities = limits.net_priorities.iter().map(|one| {
        let line = format!("{} {}", one.interface, one.priority);
        Setting::new(Controller::NetPrio, "net_prio.ifpriomap", line)
    });
    class.into_iter().chain(priorities).collect()
}
