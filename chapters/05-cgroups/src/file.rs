//! The files of a cgroup: small, made by the kernel, each write one command.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use process::{CallError, During as _, step};

use crate::Error;
use crate::controller::{IfMissing, Setting, hugetlb};

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<String, CallError> {
    fs::read_to_string(path).during("read", path.display())
}

/// Reads a file whole; `None` where this kernel has no such file, where it counts nothing (pressure that is switched off), or where the
/// group was removed after the file was opened (`ENODEV`).
pub(crate) fn read_if_any(path: &Path) -> Result<Option<String>, CallError> {
    match read(path) {
        Err(error) if [Errno::ENOENT, Errno::EOPNOTSUPP, Errno::ENODEV].contains(&error.errno()) => Ok(None),
        result => result.map(Some),
    }
}

/// Writes a setting into its file below `directory`, or does what it says where a kernel has none.
pub(crate) fn set(directory: &Path, setting: &Setting) -> Result<(), Error> {
    let first = write(&directory.join(&*setting.file), &setting.value);
    let second = match (first, &setting.if_missing) {
        (Err(error), IfMissing::GoWithout) if error.errno() == Errno::ENOENT => return Ok(()),
        (Err(error), IfMissing::Write(file, value)) if error.errno() == Errno::ENOENT => {
            write(&directory.join(file), value)
        }
        (first, _) => first,
    };
    match second {
        Err(error) if error.errno() == Errno::ENOENT && directory.is_dir() => Err(Error::Controller {
            controller: setting.controller.name(),
            reason: format!("this kernel has no {}, so {} cannot be kept", setting.file, setting.value),
        }),
        result => Ok(result?),
    }
}

/// Writes settings, controller by controller.
///
/// The kernel holds some pairs in order at every moment (v1: memory is at most memory and swap; both: burst is at most
/// quota) and answers EINVAL to a write that breaks it. Raising must write the larger first, lowering the smaller, and
/// a file does not tell which it is; so if one order is refused, the other is right.
pub(crate) fn settle(settings: &[Setting], write: impl Fn(&Setting) -> Result<(), Error>) -> Result<(), Error> {
    for settings in settings.chunk_by(|one, next| one.controller == next.controller) {
        match settings.iter().try_for_each(&write) {
            Err(Error::Call(error)) if error.errno() == Errno::EINVAL => settings.iter().rev().try_for_each(&write)?,
            result => result?,
        }
    }
    Ok(())
}

/// The sizes of huge pages that this kernel has.
pub(crate) fn huge_page_sizes() -> Vec<String> {
    // A kernel without huge pages has no such directory.
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut sizes: Vec<_> = entries.filter_map(|entry| hugetlb::page_size_of(entry.file_name().to_str()?)).collect();
    sizes.sort_unstable();
    sizes
}

/// Writes one command into a file. It must exist: creating a file in a cgroup is never meant.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), CallError> {
    Command::open(path.to_owned())?.write(value)
}

/// A file that takes several commands, one a write.
pub(crate) struct Command {
    file: fs::File,
    path: PathBuf,
}

impl Command {
    pub(crate) fn open(path: PathBuf) -> Result<Self, CallError> {
        let file = OpenOptions::new().write(true).open(&path).during("open", path.display())?;
        Ok(Self { file, path })
    }

    pub(crate) fn write(&mut self, value: &str) -> Result<(), CallError> {
        let path = self.path.display();
        step!(5, "write", "cgroups(7)", "tell the controller", "{path} <- {value}");
        self.file.write_all(value.as_bytes()).during("write", path).map_err(|error| error.with(value))
    }
}

/// Makes a cgroup; one that is there already is fine.
pub(crate) fn make(path: &Path) -> Result<(), CallError> {
    step!(5, "mkdir", "cgroups(7)", "a directory is a group", "{}", path.display());
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result.during("mkdir", path.display()),
    }
}

/// A number, or `None` for the word `max` (v2) or v1's "nearly 2^63".
pub(crate) fn ceiling(text: &str) -> Option<u64> {
    /// v1 rounds "unlimited" down to a page, huge ones included: 2^63 less 4 KiB or 1 GiB. Half of it is beyond anybody.
    const V1_UNLIMITED: u64 = 1 << 62;
    text.trim().parse().ok().filter(|number| *number < V1_UNLIMITED)
}

/// The lines `key number` of a flat keyed file.
pub(crate) fn table(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key, value.trim().parse().ok()?))
        })
        .collect()
}
