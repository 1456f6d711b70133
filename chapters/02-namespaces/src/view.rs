//! What a process sees of the machine, kind by kind: for showing two views side by side.

use std::fmt;
use std::str::FromStr;

use process::{CallError, During, Pid};

use crate::fd::NamespaceFd;
use crate::idmap::IdMap;
use crate::kind::NamespaceKind;

/// One fact for each kind of namespace, as the process itself finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    facts: Vec<String>,
}

impl View {
    /// What the calling process sees.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> Result<Self, CallError> {
        let facts: Result<_, _> = NamespaceKind::ALL.into_iter().map(fact).collect();
        Ok(Self { facts: facts? })
    }

    /// What it found of this kind.
    pub fn of(&self, kind: NamespaceKind) -> &str {
        let place = NamespaceKind::ALL.iter().position(|other| *other == kind);
        place.and_then(|place| self.facts.get(place)).map_or("", String::as_str)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts.join("\n"))
    }
}

impl FromStr for View {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let facts: Vec<String> = text.lines().map(str::to_owned).collect();
        if facts.len() == NamespaceKind::ALL.len() {
            return Ok(Self { facts });
        }
        Err(CallError::refused("read view", text, format!("not {} lines", NamespaceKind::ALL.len())))
    }
}

/// A view never has a line end in it: each fact is one line.
fn fact(kind: NamespaceKind) -> Result<String, CallError> {
    Ok(match kind {
        NamespaceKind::User => user(&read("/proc/self/uid_map")?)?,
        NamespaceKind::Cgroup => {
            let text = read("/proc/self/cgroup")?;
            let path = text.lines().last().and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("?");
            format!("it stands at {path}")
        }
        NamespaceKind::Ipc => {
            let entries = |file: &str| Ok(read(&format!("/proc/sysvipc/{file}"))?.lines().skip(1).count());
            let objects: usize = ["shm", "msg", "sem"].into_iter().map(entries).sum::<Result<_, CallError>>()?;
            format!("{objects} System V objects")
        }
        NamespaceKind::Uts => {
            let names = rustix::system::uname();
            format!("{}, domain {}", names.nodename().to_string_lossy(), names.domainname().to_string_lossy())
        }
        NamespaceKind::Net => {
            let text = read("/proc/self/net/dev")?;
            let names: Vec<&str> =
                text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
            format!("interfaces {}", names.join(" "))
        }
        NamespaceKind::Pid => {
            let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
            format!("it is pid {}, its parent {parent}", Pid::this())
        }
        NamespaceKind::Time => {
            let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            format!("up for {} s", up.tv_sec)
        }
        NamespaceKind::Mount => {
            let text = read("/proc/self/mountinfo")?;
            let root = text.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap_or_default();
            let id = root.split(' ').next().unwrap_or("?");
            format!("{} mounts, / is mount {id}", text.lines().count())
        }
    })
}

fn user(map: &str) -> Result<String, CallError> {
    let uid = rustix::process::geteuid().as_raw();
    let maps = IdMap::parse(map)?;
    let ids: u64 = maps.iter().map(|map| u64::from(map.count)).sum();
    Ok(match maps.iter().find_map(|map| map.outside_of(uid)) {
        Some(outside) if outside != uid => format!("uid {uid}, outside {outside}, of {ids} ids"),
        Some(_) => format!("uid {uid}, of {ids} ids"),
        None => format!("uid {uid}, which is nobody: not mapped"),
    })
}

fn read(path: &str) -> Result<String, CallError> {
    std::fs::read_to_string(path).during("read", path)
}

/// Two processes side by side: their namespaces as the kernel numbers them, and what each of them finds where
/// they differ.
///
/// # Errors
/// When one of them is gone.
pub fn side_by_side(ours: (Pid, &View), theirs: (Pid, &View)) -> Result<String, CallError> {
    let mut text = format!("{:<8} {:>12} {:>12}\n", "kind", "parent", "child");
    let mut facts = format!("\n{:<8} {:<44} {}\n", "", "what the parent sees", "what the child sees");
    for kind in NamespaceKind::ALL {
        let (one, other) = (NamespaceFd::of(ours.0, kind)?.id()?, NamespaceFd::of(theirs.0, kind)?.id()?);
        let hidden = if one == other { "shared" } else { kind.hides() };
        text += &format!("{:<8} {one:>12} {other:>12}  {hidden}\n", kind.to_string());
        if one != other {
            facts += &format!("{:<8} {:<44} {}\n", kind.to_string(), ours.1.of(kind), theirs.1.of(kind));
        }
    }
    Ok(text + &facts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_the_channel() {
        let view = View::own().unwrap();
        assert_eq!(view.to_string().parse::<View>().unwrap(), view);
        assert!(view.of(NamespaceKind::Net).contains("lo"));
        assert!("one line".parse::<View>().is_err());
    }

    #[test]
    fn an_unmapped_user_is_nobody() {
        let uid = rustix::process::geteuid().as_raw();
        assert!(user(&format!("{} 0 1", uid + 1)).unwrap().contains("nobody"));
        assert!(user(&format!("{uid} 77 1")).unwrap().contains("outside 77"));
    }
}
