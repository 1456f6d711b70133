//! The floor under `bench start`: what a person types to have a container without a runtime.

use std::path::Path;

use crate::bundle::Ask;

/// Namespaces and a root, and nothing else: no control group, no `/proc`, no privilege given up.
pub(crate) const FLOOR: &str = "unshare + chroot";
/// The same in a control group, as every runtime makes one.
pub(crate) const GROUPED: &str = "the same, in a group";

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// The trees of v1 in which a runtime makes a group.
const TREES: [&str; 7] = ["blkio", "cpu", "cpuacct", "devices", "freezer", "memory", "pids"];

/// The command of [`FLOOR`].
pub(crate) fn floor(root: &Path, ask: Ask) -> Vec<String> {
    let mut words = vec!["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc"];
    words.extend(ask.network().then_some("--net"));
    words.extend(ask.limits().then_some("--cgroup"));
    words.push("chroot");
    let root = root.display().to_string();
    words.into_iter().chain([root.as_str(), "/bin/true"]).map(str::to_owned).collect()
}

/// The command of [`GROUPED`]: a shell makes the group, sets the bundle's limits if it has any, sends a child in, and removes it.
pub(crate) fn grouped(root: &Path, ask: Ask, group: &str) -> Vec<String> {
    let unified = Path::new(GROUPS).join("cgroup.controllers").exists();
    let (trees, members, limits) = match unified {
        true => (vec![GROUPS.to_owned()], "cgroup.procs", unified_limits(group)),
        false => (
            TREES.map(|tree| format!("{GROUPS}/{tree}")).into_iter().filter(|tree| Path::new(tree).is_dir()).collect(),
            "tasks",
            old_limits(group),
        ),
    };
    let directories: Vec<String> = trees.iter().map(|tree| format!("{tree}/{group}")).collect();
    let directories = directories.join(" ");
    let limits = if ask.limits() { limits } else { String::new() };
    let script = format!(
        "set -e; trap 'rmdir {directories}' EXIT; mkdir {directories}; {limits}
        (for group in {directories}; do echo 0 >$group/{members}; done; exec \"$@\")"
    );
    let shell = ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
    shell.into_iter().chain(floor(root, ask)).collect()
}

fn unified_limits(group: &str) -> String {
    let place = format!("{GROUPS}/{group}");
    format!(
        "echo 268435456 >{place}/memory.max; echo 2048 >{place}/pids.max;
        echo 150000 100000 >{place}/cpu.max; echo 20 >{place}/cpu.weight;"
    )
}

fn old_limits(group: &str) -> String {
    let place = |tree: &str| format!("{GROUPS}/{tree}/{group}");
    let (memory, pids, cpu) = (place("memory"), place("pids"), place("cpu"));
    format!(
        "echo 268435456 >{memory}/memory.limit_in_bytes; echo 2048 >{pids}/pids.max; echo 100000 >{cpu}/cpu.cfs_period_us;
        echo 150000 >{cpu}/cpu.cfs_quota_us; echo 512 >{cpu}/cpu.shares;"
    )
}
