//! Files that the kernel writes while they are read: `/proc`, `/sys`, control groups.
//!
//! They have no length to go by. The standard library asks for it all the same, begins with 32 bytes and doubles, which makes
//! eight calls of a list of mounts, each of which walks the list again from its start. Whoever starts a container reads dozens of
//! such files, and whoever lists a thousand of them, thousands.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Room for all but the longest of them; those grow.
const ROOM: usize = 16 * 1024;

/// Reads one whole, as bytes.
///
/// # Errors
/// Those of `open(2)` and `read(2)`.
pub fn read(path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM);
    unasked(File::open(path)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads one whole, as text.
///
/// # Errors
/// As [`read`]; and when it is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    let mut text = String::with_capacity(ROOM);
    unasked(File::open(path)?).read_to_string(&mut text)?;
    Ok(text)
}

/// The file, of which the standard library does not know that it is one: of a file it would ask the length first.
fn unasked(file: File) -> impl Read {
    file.take(u64::MAX)
}
