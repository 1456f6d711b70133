//! Ids that are lent to an ordinary user, and the two setuid programs that hand them out.

use std::ffi::OsString;
use std::path::Path;

use process::{CallError, Event, ExitStatus, Pid, ProcessStep, Program, Spawned, needs, spawn, step};

use crate::idmap::IdMap;

/// Users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// `/etc/subuid`, `newuidmap`.
    Users,
    /// `/etc/subgid`, `newgidmap`.
    Groups,
}

impl Ids {
    fn file(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    /// The first range that the machine lends to this user: (first, count). None where it lends nothing, or has
    /// no program to hand it out.
    ///
    /// # References
    /// subuid(5), newuidmap(1)
    pub fn lent_to(self, uid: u32) -> Option<(u32, u32)> {
        needs::find_program(self.program())?;
        let text = std::fs::read_to_string(self.file()).ok()?;
        let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        range_of(&text, uid, name.as_deref())
    }
}

/// Reads lines of the shape `USER:FIRST:COUNT`, where the user stands by name or by number.
fn range_of(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.trim_end().parse().ok()?);
        let ours = owner == uid.to_string() || Some(owner) == name;
        (ours && count > 0).then_some((first, count))
    })
}

/// `newuidmap` or `newgidmap`, started and stopped before its exec.
///
/// Started early, because it is setuid root of the *machine*: a process that has left for a user namespace of its
/// own cannot start it any more.
#[derive(Debug)]
pub struct Mapper {
    program: Spawned,
    name: &'static str,
}

impl Mapper {
    /// Starts the program for `pid`, whose user namespace need not exist yet.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn prepare(ids: Ids, pid: Pid, maps: &[IdMap]) -> Result<Self, CallError> {
        let name = ids.program();
        let path = needs::find_program(name).ok_or_else(|| {
            CallError::refused("run", name, "not installed, and more than one own id needs it (uidmap)")
        })?;
        let steps = [
            ProcessStep::Checkpoint("unshared"),
            ProcessStep::ResetSignals,
            ProcessStep::CloseOnExec { preserve: 0 },
            ProcessStep::Exec(Program { arguments: words(&path, pid, maps), environment: Vec::new() }),
        ];
        let mut program = spawn(&process::CloneArgs::default(), &steps)?;
        match program.next_event()? {
            Event::Reached(..) => Ok(Self { program, name }),
            other => Err(CallError::refused("run", path.display(), format!("{other:?}"))),
        }
    }

    /// Lets it write the map.
    ///
    /// # Errors
    /// Its exit status; what it has to say about the reason stands on standard error.
    pub fn finish(mut self) -> Result<(), CallError> {
        step!(2, "write", "newuidmap(1)", "say who its users are outside, with the ids lent to us", "{}", self.name);
        self.program.go()?;
        self.program.run_to_exec().map_err(|error| error.error)?;
        match self.program.pidfd().wait()? {
            ExitStatus::Exited(0) => Ok(()),
            status => Err(CallError::refused("run", self.name, format!("it ended with {}", status.code()))),
        }
    }
}

fn words(program: &Path, pid: Pid, maps: &[IdMap]) -> Vec<OsString> {
    let numbers = maps.iter().flat_map(|map| [map.inside, map.outside, map.count]);
    let head = [program.as_os_str().to_owned(), pid.to_string().into()];
    head.into_iter().chain(numbers.map(|number| number.to_string().into())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number_and_an_empty_or_broken_one_is_none() {
        let text = "root:1:1\nbroken\nalice:x:9\nalice:7:0\n1000:100000:65536\nalice:200000:10\n";
        assert_eq!(range_of(text, 1000, Some("alice")), Some((100_000, 65536)));
        assert_eq!(range_of(text, 1001, Some("alice")), Some((200_000, 10)));
        assert_eq!(range_of(text, 1001, None), None);
    }

    #[test]
    fn the_programs_words_are_the_maps_in_order() {
        let maps = [IdMap::one(0, 1000), IdMap { inside: 1, outside: 100_000, count: 65536 }];
        let words = words(Path::new("/bin/newuidmap"), Pid::new(7).unwrap(), &maps);
        assert_eq!(words, ["/bin/newuidmap", "7", "0", "1000", "1", "1", "100000", "65536"]);
    }
}
