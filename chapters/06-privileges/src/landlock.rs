//! Landlock: a fence that a process builds around itself, by files and ports instead of by calls.
//!
//! seccomp sees a call's numbers: it can forbid `open`, and not the opening of one directory. Landlock sees the file. No
//! administrator has to write its rules, as AppArmor's and SELinux's, and root is bound by them too; they only ever
//! become stricter, for the process and all that it starts.
//!
//! ```text
//! create_ruleset   which deeds are ruled at all: all others stay as they are
//! add_rule         below this directory, these deeds are allowed; nowhere else
//! restrict_self    from here on
//! ```
//!
//! An engine has little use for it: a container's files are fenced by its mount namespace, of which the program inside sees
//! only what was mounted for it, and neither the OCI's configuration nor Docker's flags have a word for Landlock. It is for
//! programs that have no namespace, and for what runs in a container to fence itself once more: the default system call
//! filter lets it.
//!
//! # References
//! landlock(7), landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2)

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use process::{CallError, During as _, step};
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::sys;

/// What a process may do with files and ports, as plain data. Whatever is in no list is forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// Directories (or files) below which everything may be read and executed.
    pub readable: Vec<PathBuf>,
    /// Directories (or files) below which everything may be done.
    pub writable: Vec<PathBuf>,
    /// TCP ports; `None` leaves the network alone.
    pub ports: Option<Ports>,
}

/// TCP ports of a [`Ruleset`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Those to listen on.
    pub bind: Vec<u16>,
    /// Those to connect to.
    pub connect: Vec<u16>,
}

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
/// All deeds that version 3 knows: those above, making and removing each kind of file, and moving between directories.
const EVERYTHING: u64 = (1 << 15) - 1;
/// Those that mean something for a file that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;
const READING: u64 = EXECUTE | READ_FILE | READ_DIR;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

/// The version that this kernel offers; `None` where it was built without Landlock, or booted without it.
pub fn version() -> Option<u32> {
    sys::landlock_version().ok()
}

impl Ruleset {
    /// The version of Landlock that can hold the rules. A lower one would leave a hole: before 3 (Linux 6.2) a file that
    /// may not be written could still be cut to nothing; ports came with 4 (Linux 6.7).
    pub fn needs(&self) -> u32 {
        if self.ports.is_some() { 4 } else { 3 }
    }

    /// Fences the calling thread in. Needs no_new_privs or CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// A kernel that cannot hold all of the rules; a path that is not there.
    pub(crate) fn enforce(&self) -> Result<(), CallError> {
        self.held_by(version())?;
        let ports = if self.ports.is_some() { BIND_TCP | CONNECT_TCP } else { 0 };
        step!(6, "landlock_create_ruleset", "landlock_create_ruleset(2)", "rule over files and ports", "{self:?}");
        let ruleset = sys::landlock_create_ruleset(EVERYTHING, ports).during("landlock_create_ruleset", "files")?;
        for (paths, deeds) in [(&self.readable, READING), (&self.writable, EVERYTHING)] {
            for path in paths {
                let (handle, deeds) = open(path, deeds)?;
                step!(6, "landlock_add_rule", "landlock_add_rule(2)", "what may be done below", "{}", path.display());
                sys::landlock_allow_below(ruleset.as_fd(), handle.as_fd(), deeds)
                    .during("landlock_add_rule", path.display())?;
            }
        }
        for (list, deed) in self.ports.iter().flat_map(|ports| [(&ports.bind, BIND_TCP), (&ports.connect, CONNECT_TCP)])
        {
            for port in list {
                sys::landlock_allow_port(ruleset.as_fd(), *port, deed).during("landlock_add_rule", port)?;
            }
        }
        step!(6, "landlock_restrict_self", "landlock_restrict_self(2)", "from here on", "{} rules", self.rules());
        sys::landlock_restrict_self(ruleset.as_fd()).during("landlock_restrict_self", "this thread")
    }

    fn held_by(&self, offered: Option<u32>) -> Result<(), CallError> {
        match offered {
            Some(version) if version >= self.needs() => Ok(()),
            Some(version) => {
                let reason = format!("the kernel offers version {version}, and the rules need {}", self.needs());
                Err(CallError::refused("landlock", "rules", reason))
            }
            None => Err(CallError::refused("landlock", "rules", "not offered by this kernel")),
        }
    }

    fn rules(&self) -> usize {
        let ports = self.ports.as_ref().map_or(0, |ports| ports.bind.len() + ports.connect.len());
        self.readable.len() + self.writable.len() + ports
    }
}

/// A handle for a rule, and those of the deeds that its kind of file knows: the kernel refuses a rule with others.
fn open(path: &Path, deeds: u64) -> Result<(rustix::fd::OwnedFd, u64), CallError> {
    let handle =
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during("open", path.display())?;
    let stat = rustix::fs::fstat(&handle).during("stat", path.display())?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok((handle, if is_directory { deeds } else { deeds & OF_FILES }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_kernel_that_would_leave_a_hole_is_refused() {
        let files = Ruleset { readable: vec!["/".into()], ..Ruleset::default() };
        let ports = Ruleset { ports: Some(Ports::default()), ..files.clone() };
        assert!(files.held_by(Some(3)).is_ok() && ports.held_by(Some(4)).is_ok());
        assert_eq!(
            ports.held_by(Some(3)).unwrap_err().to_string(),
            r#"landlock "rules": the kernel offers version 3, and the rules need 4"#
        );
        assert!(files.held_by(Some(2)).is_err());
        assert!(files.held_by(None).unwrap_err().to_string().contains("not offered"));
    }
}
