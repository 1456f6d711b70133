//! Which CPUs and which memory nodes members may use: two lists, the same files in both generations.

use super::{Controller, Setting};
use crate::Limits;

pub(super) fn on_either(limits: &Limits) -> Vec<Setting> {
    let list = |file, list: &Option<String>| list.clone().map(|list| Setting::new(Controller::Cpuset, file, list));
    [list("cpuset.cpus", &limits.cpuset_cpus), list("cpuset.mems", &limits.cpuset_mems)].into_iter().flatten().collect()
}
