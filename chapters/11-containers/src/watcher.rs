//! Who watches a container: `monitor.json`, and whether that process still is.

use std::path::Path;
use std::sync::OnceLock;

use process::{CallError, Pid, PidFd, state};
use serde::{Deserialize, Serialize};

/// The file in a container's run directory.
const FILE: &str = "monitor.json";

/// The monitor of a running container, named so that no later process can be mistaken for it.
///
/// A pid alone is given to somebody else after the monitor's death, and after a reboot even pid and start time
/// may come together again; the boot's id settles that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watcher {
    /// The monitor's pid.
    pub(crate) pid: Pid,
    /// When it started, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: String,
}

impl Watcher {
    /// The calling process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn this() -> Result<Self, CallError> {
        let pid = Pid::this();
        Ok(Self { pid, start_time: pid.start_time()?, boot: boot_id().to_owned() })
    }

    /// Writes `monitor.json`.
    ///
    /// # Errors
    /// Those of writing a state file.
    pub(crate) fn write(&self, run: &Path) -> Result<(), CallError> {
        state::write_run_json(&run.join(FILE), self)
    }

    /// The monitor that `run` names, if that very process is still alive.
    pub(crate) fn alive(run: &Path) -> Option<PidFd> {
        let watcher = Self::read(run)?;
        // The descriptor first: what is checked afterwards is then about the process that it holds.
        let held = PidFd::open(watcher.pid).ok()?;
        watcher.is_alive().then_some(held)
    }

    /// Whether [`alive`](Self::alive) would find one, for those who do not need to hold it.
    pub(crate) fn is_there(run: &Path) -> bool {
        Self::read(run).is_some_and(|watcher| watcher.is_alive())
    }

    /// Whether some monitor is named there. Where the directory is gone (a reboot, before the monitor has noticed) nobody watches.
    pub(crate) fn is_named(run: &Path) -> bool {
        run.join(FILE).exists()
    }

    fn read(run: &Path) -> Option<Self> {
        state::read_run_json(&run.join(FILE)).ok()?
    }

    /// Whether that very process is still alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot_id() && self.pid.is_alive_since(self.start_time)
    }
}

/// Differs from boot to boot; empty where `/proc` hides it, which still compares equal within one boot. Read once: `ps` asks for it a
/// thousand times, too.
fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reused_pid_is_not_the_monitor() {
        let run = tempfile::tempdir().unwrap();
        assert!(Watcher::alive(run.path()).is_none());
        let this = Watcher::this().unwrap();
        this.write(run.path()).unwrap();
        assert!(Watcher::alive(run.path()).is_some());
        Watcher { start_time: this.start_time + 1, ..this.clone() }.write(run.path()).unwrap();
        assert!(Watcher::alive(run.path()).is_none() && !Watcher::is_there(run.path()));
        Watcher { boot: "another".into(), ..this }.write(run.path()).unwrap();
        assert!(Watcher::alive(run.path()).is_none() && !Watcher::is_there(run.path()));
    }

    #[test]
    fn a_zombie_is_no_monitor() {
        let run = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        Watcher { pid, start_time: pid.start_time().unwrap(), ..Watcher::this().unwrap() }.write(run.path()).unwrap();
        assert!(Watcher::is_there(run.path()));
        child.kill().unwrap();
        // Its end is seen before its parent has taken it.
        let held = PidFd::open(pid).unwrap();
        assert!(held.ended_within(std::time::Duration::from_secs(60)).unwrap());
        assert!(Watcher::alive(run.path()).is_none() && !Watcher::is_there(run.path()));
        child.wait().unwrap();
    }
}
