//! The files of a cgroup: small, made by the kernel, each write one command.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use process::{CallError, During as _, step};

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<String, CallError> {
    fs::read_to_string(path).during("read", path.display())
}

/// Writes one command into a file. It must exist: creating a file in a cgroup is never meant.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), CallError> {
    step!(5, "write", "cgroups(7)", "tell the controller", "{} <- {value}", path.display());
    let mut file = OpenOptions::new().write(true).open(path).during("open", path.display())?;
    file.write_all(value.as_bytes()).during("write", path.display()).map_err(|error| error.with(value))
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
    /// v1 rounds "unlimited" down to a page: 2^63 - 4096 where pages are 4 KiB.
    const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;
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
