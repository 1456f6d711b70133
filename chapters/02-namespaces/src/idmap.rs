//! Id maps: who the users of a user namespace are outside of it.

use std::fmt;

use process::{CallError, During, Pid, step};
use serde::{Deserialize, Serialize};

use crate::lent;

/// A run of ids: `inside`, `inside + 1`, ... are `outside`, `outside + 1`, ... in the parent namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id in the namespace.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The maps of a user namespace, for users and for groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub users: Vec<IdMap>,
    /// Group ids.
    pub groups: Vec<IdMap>,
}

/// The most lines that the kernel takes for one map.
///
/// # References
/// user_namespaces(7), since Linux 4.15
pub const LINES: usize = 340;

impl IdMap {
    /// One id.
    pub const fn one(inside: u32, outside: u32) -> Self {
        Self { inside, outside, count: 1 }
    }

    /// Where an id of the namespace lies outside.
    pub fn outside_of(self, inside: u32) -> Option<u32> {
        let distance = inside.checked_sub(self.inside).filter(|distance| *distance < self.count)?;
        self.outside.checked_add(distance)
    }

    /// What an id of the outside is called in the namespace.
    pub fn inside_of(self, outside: u32) -> Option<u32> {
        let distance = outside.checked_sub(self.outside).filter(|distance| *distance < self.count)?;
        self.inside.checked_add(distance)
    }

    /// Reads a map as the kernel prints it in `/proc/PID/uid_map`.
    ///
    /// # Errors
    /// A line that is not three numbers.
    ///
    /// # References
    /// user_namespaces(7)
    pub fn parse(text: &str) -> Result<Vec<Self>, CallError> {
        let line = |line: &str| {
            let refused = || CallError::refused("read id map", line, "not three numbers");
            let numbers: Result<Vec<u32>, _> = line.split_whitespace().map(str::parse).collect();
            match numbers.map_err(|_| refused())?[..] {
                [inside, outside, count] => Ok(Self { inside, outside, count }),
                _ => Err(refused()),
            }
        };
        text.lines().map(line).collect()
    }

    /// Refuses what the kernel would refuse with a bare EINVAL: no line or too many, an empty range, one that goes
    /// past the last id, and two that overlap, inside or outside.
    ///
    /// # Errors
    /// The line, and the one that it overlaps with.
    pub fn check(maps: &[Self]) -> Result<(), CallError> {
        let refuse = |map: &Self, reason: String| Err(CallError::refused("read id map", map, reason));
        if maps.is_empty() || maps.len() > LINES {
            let reason = format!("{} lines, not between 1 and {LINES}", maps.len());
            return Err(CallError::refused("read id map", "", reason));
        }
        for (index, map) in maps.iter().enumerate() {
            if map.count == 0 {
                return refuse(map, "an empty range".to_owned());
            }
            // The id 4294967295 is (uid_t)-1, which means "nobody named" to the kernel, and is never mapped.
            if map.inside.checked_add(map.count).is_none() || map.outside.checked_add(map.count).is_none() {
                return refuse(map, format!("goes past the last id, {}", u32::MAX - 1));
            }
            let overlap = |a: u32, b: u32, other: &Self| a < b + other.count && b < a + map.count;
            let clash = maps[..index]
                .iter()
                .find(|other| overlap(map.inside, other.inside, other) || overlap(map.outside, other.outside, other));
            if let Some(other) = clash {
                return refuse(map, format!("overlaps with \"{other}\""));
            }
        }
        Ok(())
    }

    /// All ids as they are, but that one id of the outside is seen under another name inside.
    ///
    /// The two ids that lose their partner stay unmapped: whoever is `inside` already would otherwise act as
    /// somebody else outside.
    pub fn renaming(outside: u32, inside: u32) -> Vec<Self> {
        const END: u32 = u32::MAX;
        let (low, high) = (outside.min(inside), outside.max(inside));
        if low == high {
            return vec![Self { inside: 0, outside: 0, count: END }];
        }
        let as_it_is = |from: u32, to: u32| Self { inside: from, outside: from, count: to - from };
        let ranges = [as_it_is(0, low), as_it_is(low + 1, high), as_it_is(high.saturating_add(1), END)];
        let kept = ranges.into_iter().filter(|range| range.count > 0);
        std::iter::once(Self::one(inside, outside)).chain(kept).collect()
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

impl IdMaps {
    /// Root inside is the caller outside, and nobody else exists: the map that needs no privilege at all.
    pub fn only_root() -> Self {
        let map = |outside| vec![IdMap::one(0, outside)];
        Self { users: map(rustix::process::geteuid().as_raw()), groups: map(rustix::process::getegid().as_raw()) }
    }

    /// As [`IdMap::check`], for both.
    ///
    /// # Errors
    /// The line that is wrong.
    pub fn check(&self) -> Result<(), CallError> {
        IdMap::check(&self.users)?;
        IdMap::check(&self.groups)
    }

    /// Whether an ordinary user may write these maps: one id each, and that the user's own.
    fn is_own(&self) -> bool {
        let own = |maps: &[IdMap], id: u32| matches!(maps, [IdMap { outside, count: 1, .. }] if *outside == id);
        own(&self.users, rustix::process::geteuid().as_raw()) && own(&self.groups, rustix::process::getegid().as_raw())
    }

    /// Gives `pid`'s user namespace these maps: writes them where the caller may, and otherwise lets the setuid
    /// programs do it, which know what `/etc/subuid` lends to the caller.
    ///
    /// # Errors
    /// A map that is malformed; EPERM for one that the caller's privileges do not cover; what `newuidmap` answers.
    ///
    /// # References
    /// user_namespaces(7), "Defining user and group ID mappings"; newuidmap(1)
    pub fn write(&self, pid: Pid) -> Result<(), CallError> {
        self.check()?;
        // Asked before the first map: a process that maps itself is root from then on, and still has no privilege outside.
        let ordinary = !rustix::process::geteuid().is_root();
        if !ordinary {
            return self.write_files(pid, Setgroups::Allow);
        }
        // Who maps itself has left already, and is nobody until the map stands: its ids cannot be compared any more.
        if pid == Pid::this() || self.is_own() {
            return self.write_files(pid, Setgroups::Deny);
        }
        let users = lent::Mapper::prepare(lent::Ids::Users, pid, &self.users)?;
        let groups = lent::Mapper::prepare(lent::Ids::Groups, pid, &self.groups)?;
        users.finish()?;
        groups.finish()
    }

    /// Gives the calling process these maps, which name nobody but itself. It has just left for a user namespace of its own,
    /// and so cannot tell any more whose ids they are: without maps it is nobody.
    pub(crate) fn write_own(&self) -> Result<(), CallError> {
        self.write_files(Pid::this(), Setgroups::Deny)
    }

    /// `setgroups` is denied where the caller has no privilege over groups: otherwise a process could drop a group
    /// that a file denies access to, and so gain it. The kernel insists that this is said before the group map.
    ///
    /// # Errors
    /// Those of writing `/proc/PID/uid_map`, `setgroups` and `gid_map`, with the file and what was to be written.
    // hole: write-id-maps
    fn write_files(&self, pid: Pid, setgroups: Setgroups) -> Result<(), CallError> {
        let lines = |maps: &[IdMap]| maps.iter().map(|map| format!("{map}\n")).collect::<String>();
        let write = |file: &str, text: String| {
            let path = format!("/proc/{pid}/{file}");
            step!(2, "write", "user_namespaces(7)", "say who its users are outside", "{path}: {}", text.trim_end());
            // One write call a file: the kernel takes a map only whole.
            std::fs::write(&path, &text).during("write", &path).map_err(|error| error.with(text.trim_end()))
        };
        write("uid_map", lines(&self.users))?;
        if setgroups == Setgroups::Deny {
            write("setgroups", "deny".to_owned())?;
        }
        write("gid_map", lines(&self.groups))
    }
}

/// Whether processes of a user namespace may change their supplementary groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setgroups {
    Allow,
    Deny,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_outside_or_has_no_place_there() {
        let map = IdMap { inside: 1, outside: 100_000, count: 10 };
        assert_eq!(map.outside_of(0), None);
        assert_eq!(map.outside_of(1), Some(100_000));
        assert_eq!(map.outside_of(10), Some(100_009));
        assert_eq!(map.outside_of(11), None);
    }

    #[test]
    fn the_last_id_does_not_overflow() {
        let map = IdMap { inside: 0, outside: u32::MAX, count: 2 };
        assert_eq!(map.outside_of(0), Some(u32::MAX));
        assert_eq!(map.outside_of(1), None);
    }

    #[test]
    fn the_kernels_own_print_is_read_back() {
        let maps = IdMap::parse("         0       1000          1\n         1     100000      65536\n").unwrap();
        assert_eq!(maps.len(), 2);
        assert_eq!(maps[1], IdMap { inside: 1, outside: 100_000, count: 65536 });
        assert!(IdMap::parse("0 x 1").is_err());
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused_with_its_reason() {
        let refused = |maps: &[IdMap]| IdMap::check(maps).unwrap_err().to_string();
        let map = |inside, outside, count| IdMap { inside, outside, count };
        assert_eq!(refused(&[]), "read id map: 0 lines, not between 1 and 340");
        assert_eq!(refused(&[map(0, 1, 0)]), r#"read id map "0 1 0": an empty range"#);
        assert_eq!(
            refused(&[map(u32::MAX, 0, 1)]),
            r#"read id map "4294967295 0 1": goes past the last id, 4294967294"#
        );
        assert_eq!(
            refused(&[map(0, 1000, 1), map(1, 100_000, 10), map(5, 0, 1)]),
            r#"read id map "5 0 1": overlaps with "1 100000 10""#
        );
        assert!(refused(&[map(0, 5, 2), map(9, 6, 1)]).contains("overlaps"), "outside too");
        assert!(IdMap::check(&[map(0, 0, u32::MAX)]).is_ok(), "all there are");
    }

    #[test]
    fn renaming_one_id_leaves_nobody_elses_name_to_be_taken() {
        let maps = IdMap::renaming(1000, 0);
        IdMap::check(&maps).unwrap();
        let shown = |outside| maps.iter().find_map(|map| map.inside_of(outside));
        assert_eq!((shown(1000), shown(0), shown(999), shown(1001)), (Some(0), None, Some(999), Some(1001)));
        assert_eq!(maps.iter().find_map(|map| map.outside_of(1000)), None, "1000 inside would be nobody's outside");
        assert_eq!(IdMap::renaming(7, 7), [IdMap { inside: 0, outside: 0, count: u32::MAX }]);
    }
}
