//! Id maps: who the users of a user namespace are outside of it.

use std::fmt;

use process::{CallError, During, Pid, step};
use serde::{Deserialize, Serialize};

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

impl IdMap {
    /// Where an id of the namespace lies outside.
    pub fn outside_of(self, inside: u32) -> Option<u32> {
        let distance = inside.checked_sub(self.inside).filter(|distance| *distance < self.count)?;
        self.outside.checked_add(distance)
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
            let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            match numbers[..] {
                [inside, outside, count] => Ok(Self { inside, outside, count }),
                _ => Err(CallError::refused("read id map", line, "not three numbers")),
            }
        };
        text.lines().map(line).collect()
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
        let map = |outside| vec![IdMap { inside: 0, outside, count: 1 }];
        Self { users: map(rustix::process::geteuid().as_raw()), groups: map(rustix::process::getegid().as_raw()) }
    }

    /// Writes the maps of `pid`'s user namespace directly.
    ///
    /// `setgroups` is denied first where the caller has no privilege over groups: otherwise a process could
    /// drop a group that a file denies access to, and so gain it. The kernel insists on that order.
    ///
    /// # Errors
    /// EPERM for a map that the caller's privileges do not cover, or that was written before.
    ///
    /// # References
    /// user_namespaces(7), "Defining user and group ID mappings"
    pub fn write(&self, pid: Pid) -> Result<(), CallError> {
        let lines = |maps: &[IdMap]| maps.iter().map(|map| format!("{map}\n")).collect::<String>();
        let write = |file: &str, text: String| {
            let path = format!("/proc/{pid}/{file}");
            step!(2, "write", "user_namespaces(7)", "say who its users are outside", "{path}: {}", text.trim_end());
            // One write call a file: the kernel takes a map only whole.
            std::fs::write(&path, &text).during("write", &path).map_err(|error| error.with(text.trim_end()))
        };
        // Asked before the first map: a process that maps itself is root from then on, and still has no privilege outside.
        let ordinary = !rustix::process::geteuid().is_root();
        write("uid_map", lines(&self.users))?;
        if ordinary {
            write("setgroups", "deny".to_owned())?;
        }
        write("gid_map", lines(&self.groups))
    }
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
}
