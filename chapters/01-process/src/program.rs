//! The program that a child becomes: what it is told, where it is found, and the call that it begins with.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::channel::Inside;
use crate::error::{CallError, During as _};
use crate::{step, sys};

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Arguments; the first names the program, searched in `PATH` of `environment` if it has no slash.
    pub arguments: Vec<OsString>,
    /// `NAME=value` each.
    pub environment: Vec<OsString>,
}

impl Program {
    /// Looks the program up and becomes it. Returns only on failure: ENOENT "not found", EACCES "not executable".
    pub(crate) fn exec(&self, channel: &mut Inside) -> Result<(), CallError> {
        let name = self.arguments.first().ok_or_else(|| CallError::refused("execve", "", "no program named"))?;
        let path = look_up(Path::new(name), &self.environment)?;
        step!(1, "execve", "execve(2)", "become the program; this descriptor list ends here", "{}", path.display());
        let (arguments, environment) = (c_strings(&self.arguments)?, c_strings(&self.environment)?);
        let file = c_string(path.as_os_str())?;
        channel.ready()?;
        let Err(errno) = nix::unistd::execve(&file, &arguments, &environment);
        Err(CallError::new("execve", path.display(), errno))
    }

    /// The same without a look-up: the program is what `file` is open on, wherever that lies.
    pub(crate) fn exec_descriptor(&self, file: RawFd, channel: &mut Inside) -> Result<(), CallError> {
        step!(1, "execveat", "execveat(2)", "become a program that no path leads to", "descriptor {file}");
        let (arguments, environment) = (c_strings(&self.arguments)?, c_strings(&self.environment)?);
        channel.ready()?;
        let errno = sys::exec_descriptor(file, &arguments, &environment);
        Err(CallError::new("execveat", format!("descriptor {file}"), errno))
    }

    /// Looks whether there is such a program, seen from `directory`, and becomes nothing: who makes a container wants to know
    /// that now, and not when it is started.
    pub(crate) fn find(&self, directory: &Path) -> Result<(), CallError> {
        let name = self.arguments.first().ok_or_else(|| CallError::refused("execve", "", "no program named"))?;
        let path = directory.join(look_up(Path::new(name), &self.environment)?);
        step!(1, "access", "access(2)", "is there such a program at all?", "{}", path.display());
        let kind = std::fs::metadata(&path).during("execve", path.display())?;
        let errno = if kind.is_file() {
            rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).err()
        } else {
            Some(rustix::io::Errno::ACCESS)
        };
        errno.map_or(Ok(()), Err).during("execve", path.display())
    }
}

fn c_strings(texts: &[OsString]) -> Result<Vec<CString>, CallError> {
    texts.iter().map(|text| c_string(text)).collect()
}

fn c_string(text: &OsStr) -> Result<CString, CallError> {
    let refused = |_| CallError::refused("execve", text.display(), "a NUL byte in an argument");
    CString::new(text.as_bytes()).map_err(refused)
}

/// Searches as a shell does: the first executable regular file of that name in `PATH`. A name with a slash in it is no
/// name to be searched, but a path.
///
/// # Errors
/// EACCES, "searched in PATH", when files of that name were found and none may be executed; ENOENT when there is none.
///
/// # References
/// execvp(3); access(2), X_OK
// hole: look-up
fn look_up(name: &Path, environment: &[OsString]) -> Result<PathBuf, CallError> {
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Ok(name.to_owned());
    }
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or_default();
    let mut found_unexecutable = false;
    for directory in path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty()) {
        let candidate = Path::new(OsStr::from_bytes(directory)).join(name);
        if candidate.is_file() {
            match rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK) {
                Ok(()) => return Ok(candidate),
                Err(_) => found_unexecutable = true,
            }
        }
    }
    let errno = if found_unexecutable { Errno::EACCES } else { Errno::ENOENT };
    Err(CallError::new("execve", name.display(), errno).with("searched in PATH"))
}
