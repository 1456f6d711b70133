//! Files that the kernel writes while they are read: `/proc`, `/sys`, control groups.
//!
//! They have no length to go by. The standard library asks for it all the same, begins with 32 bytes and doubles, which makes
//! eight calls of a list of mounts, each of which walks the list again from its start. Whoever starts a container reads dozens of
//! such files, and whoever lists a thousand of them, thousands.

use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::path::Path;

/// Room for all but the longest of them; those grow.
const ROOM: usize = 16 * 1024;

/// Room for what is looked at in passing: a container's record is 3 KiB.
const GLANCE: usize = 8 * 1024;

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

/// Looks at one that a single `read(2)` gives whole, and keeps nothing of it: no memory is asked for, and nobody reads again to learn
/// that there is no more. A regular file falls short of what was asked at its end alone; of a file in `/proc` that is one record, such
/// as `/proc/PID/stat`, the kernel never gives a part. Not for lists, which it gives in pieces.
///
/// # Errors
/// Those of `open(2)` and `read(2)`.
///
/// # References
/// read(2)
pub fn glance<T>(path: impl AsRef<Path>, look: impl FnOnce(&[u8]) -> T) -> std::io::Result<T> {
    let file = File::open(&path)?;
    let mut room = [MaybeUninit::uninit(); GLANCE];
    match rustix::io::read(&file, &mut room) {
        Ok((bytes, left)) if !left.is_empty() => Ok(look(bytes)),
        // Longer than that, or a read that was interrupted: from the start, with as many reads as it takes.
        _ => Ok(look(&read(path)?)),
    }
}

/// The file, of which the standard library does not know that it is one: of a file it would ask the length first.
fn unasked(file: File) -> impl Read {
    file.take(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_glance_sees_the_whole_whether_there_is_room_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [0, 1, GLANCE - 1, GLANCE, GLANCE + 1, 3 * ROOM] {
            let bytes: Vec<u8> = (0..length).map(|number| number as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert!(glance(&path, |seen| seen == bytes).unwrap(), "{length}");
        }
        assert_eq!(glance(directory.path(), |_| ()).unwrap_err().kind(), std::io::ErrorKind::IsADirectory);
        assert!(glance("/proc/self/stat", |seen| seen.ends_with(b"\n")).unwrap());
    }
}
