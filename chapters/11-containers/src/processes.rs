//! The processes of a container, as the host sees them: what `top` prints.
//!
//! They are ordinary processes of the machine, each with a directory in `/proc`. Nothing has to run inside the container
//! to list them, and so an image without `ps` can be looked at too.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use namespaces::{NamespaceFd, NamespaceKind};
use nix::unistd::{SysconfVar, sysconf};
use process::{CallError, During as _, Pid};

use crate::engine::Engine;
use crate::error::Result;
use crate::id::ContainerId;
use crate::lifecycle::wrong_state;

/// One process, in the columns of `ps -ef`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// Whose it is, by the machine's accounts; the number where they know no name.
    pub user: String,
    /// As the machine numbers it.
    pub pid: Pid,
    /// Its parent, likewise; 0 for one outside of what we may see.
    pub parent: i32,
    /// Processor time over lifetime, percent.
    pub processor: u64,
    /// When it began.
    pub started: Timestamp,
    /// Its terminal: `pts/0`, or `?`.
    pub terminal: String,
    /// Processor time so far.
    pub time: Duration,
    /// Its arguments; its name in brackets where it has none.
    pub command: String,
}

impl Engine {
    /// The processes of a running container, by pid.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it does not run.
    ///
    /// # References
    /// proc_pid_stat(5), ps(1)
    pub fn processes(&self, id: &ContainerId) -> Result<Vec<ProcessRow>> {
        let container = self.container(id)?;
        let life = container.life()?;
        let Some(first) = life.pid.filter(|_| life.status.is_live()) else {
            return Err(wrong_state(&container, "top", "running")?);
        };
        let clock = Clock::read()?;
        let mut pids = members(self, id, first)?;
        pids.sort_unstable();
        // One that has ended since is no process of the container any more.
        Ok(pids.into_iter().filter_map(|pid| ProcessRow::read(pid, &clock).ok()).collect())
    }
}

/// Who belongs to it: the members of its cgroup. Where it has none, as for ordinary users on cgroup v1, everybody in
/// its first process's pid namespace.
fn members(engine: &Engine, id: &ContainerId, first: Pid) -> Result<Vec<Pid>> {
    if let Ok(grouped) = engine.cgroup(id)
        && let Ok(pids) = grouped.processes()
        && pids.contains(&first)
    {
        return Ok(pids);
    }
    let namespace = NamespaceFd::of(first, NamespaceKind::Pid)?.id()?;
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").during("read", "/proc")? {
        let name = entry.during("read", "/proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<Pid>().ok()) else { continue };
        // Others' processes are not ours to look at, and are none of the container's.
        if NamespaceFd::of(pid, NamespaceKind::Pid).and_then(|theirs| theirs.id()).is_ok_and(|id| id == namespace) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// What turns clock ticks since boot into times.
struct Clock {
    booted: Timestamp,
    ticks_a_second: u64,
}

impl Clock {
    fn read() -> Result<Self, CallError> {
        let path = "/proc/stat";
        let stat = std::fs::read_to_string(path).during("read", path)?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let booted = line.and_then(|seconds| Timestamp::from_second(seconds.trim().parse().ok()?).ok());
        let booted = booted.ok_or_else(|| CallError::refused("read", path, "no btime in it"))?;
        // A hundred on every Linux there is, and still a question to ask (sysconf(3)).
        let ticks = sysconf(SysconfVar::CLK_TCK).during("sysconf", "_SC_CLK_TCK")?;
        Ok(Self { booted, ticks_a_second: ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1) })
    }

    fn duration(&self, ticks: u64) -> Duration {
        Duration::from_secs(ticks / self.ticks_a_second)
    }
}

impl ProcessRow {
    fn read(pid: Pid, clock: &Clock) -> Result<Self, CallError> {
        use std::os::unix::fs::MetadataExt as _;
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).during("read", &path)?;
        let owner = std::fs::metadata(&path).during("stat", &path)?.uid();
        let malformed = || CallError::refused("read", &path, "not the fields of proc_pid_stat(5)");
        let (name, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).ok_or_else(malformed)?;
        // The state comes first, which is field 3 of the manual page.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
        let needed = |number: usize| field(number).ok_or_else(malformed);
        let (parent, terminal) = (needed(4)?, needed(7)?);
        let time = clock.duration((needed(14)? + needed(15)?).unsigned_abs());
        let started = clock.booted + clock.duration(needed(22)?.unsigned_abs());
        let age = Timestamp::now().duration_since(started).as_secs().max(1).unsigned_abs();
        Ok(Self {
            user: user_name(owner),
            pid,
            parent: i32::try_from(parent).unwrap_or_default(),
            processor: time.as_secs() * 100 / age,
            started,
            terminal: terminal_name(terminal),
            time,
            command: command(pid).unwrap_or_else(|| format!("[{name}]")),
        })
    }

    /// The row's cells, as `ps -ef` prints them: UID PID PPID C STIME TTY TIME CMD.
    pub fn cells(&self, now: Timestamp, zone: &TimeZone) -> [String; 8] {
        let started = self.started.to_zoned(zone.clone());
        let today = started.date() == now.to_zoned(zone.clone()).date();
        let seconds = self.time.as_secs();
        [
            self.user.clone(),
            self.pid.to_string(),
            self.parent.to_string(),
            self.processor.to_string(),
            started.strftime(if today { "%H:%M" } else { "%b%d" }).to_string(),
            self.terminal.clone(),
            format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
            self.command.clone(),
        ]
    }
}

/// The headings of [`ProcessRow::cells`].
pub const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// The machine's name for a user; not the container's, whose accounts are a stranger's word.
fn user_name(uid: u32) -> String {
    let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Unix98 terminals have the major numbers 136 to 143; anything else is none that a container has.
fn terminal_name(number: i64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    if (136..=143).contains(&major) { format!("pts/{}", (major - 136) * 256 + minor) } else { "?".to_owned() }
}

fn command(pid: Pid) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line = words.join(" ");
    Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_has_a_row() {
        let row = ProcessRow::read(Pid::this(), &Clock::read().unwrap()).unwrap();
        assert_eq!(row.pid, Pid::this());
        assert!(row.command.contains("containers"), "{}", row.command);
        let age = Timestamp::now().duration_since(row.started).as_secs();
        assert!((-2..3600).contains(&age), "{age} seconds old");
    }

    #[test]
    fn a_row_reads_as_ps_prints_it() {
        let row = ProcessRow {
            user: "root".into(),
            pid: Pid::new(42).unwrap(),
            parent: 1,
            processor: 3,
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            terminal: terminal_name(0x8803),
            time: Duration::from_secs(3_725),
            command: "sh".into(),
        };
        let cells = |now: &str| row.cells(now.parse().unwrap(), &TimeZone::UTC).join(" ");
        assert_eq!(cells("2026-01-02T23:00:00Z"), "root 42 1 3 03:04 pts/3 01:02:05 sh");
        assert_eq!(cells("2026-01-03T00:00:00Z"), "root 42 1 3 Jan02 pts/3 01:02:05 sh");
    }
}
