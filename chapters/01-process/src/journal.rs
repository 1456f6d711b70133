//! State that changes often: a file to which a line of JSON is added for each change, and the last line holds.
//!
//! A reader who `cat`s it sees what happened before, too. For run directories alone: nothing is synced, and a power cut may take lines.
//! Nothing replaces a file either, which some file systems (ext4) answer with a trip to the disk.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, During};
use crate::state::{decode, look};

/// Adds `value` as a line: one `write(2)`, of which a reader sees the whole line or none of it. The mode is 0600.
///
/// # Errors
/// Those of the file system; after ENOSPC the line before still holds.
///
/// # References
/// open(2), "O_APPEND"
pub fn append<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), CallError> {
    let mut line = serde_json::to_vec(value).map_err(|error| CallError::refused("encode", path.display(), error))?;
    line.push(b'\n');
    append_line(path, line).during("append", path.display())
}

fn append_line(path: &Path, mut line: Vec<u8>) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if let Some(last) = file.metadata()?.len().checked_sub(1) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)?;
        // A writer was cut off, by its end or a full disk: what it left is a line of its own, and no JSON.
        if byte != *b"\n" {
            line.insert(0, b'\n');
        }
    }
    file.write_all(&line)
}

/// Reads the last line; `None` for a file that does not exist or has no whole line. One that was cut off is passed over.
///
/// # Errors
/// Those of the file system; a file in which no line is a `T`.
pub fn last<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CallError> {
    let found = look(path, |bytes| {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
        let lines = whole.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut lines = lines.map(|line| decode(path, line));
        match lines.next() {
            Some(Err(error)) => lines.find_map(Result::ok).map_or(Err(error), |earlier| Ok(Some(earlier))),
            last => last.transpose(),
        }
    });
    match found {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => Ok(None),
        found => found?,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_holds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("states.jsonl");
        let now = || last::<Vec<u8>>(&path);
        assert_eq!(now().unwrap(), None);
        append(&path, &[1]).unwrap();
        append(&path, &[2, 2]).unwrap();
        assert_eq!(now().unwrap(), Some(vec![2, 2]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1]\n[2,2]\n");
        let cut = |rest: &str| std::fs::write(&path, ["[1]\n", rest].concat()).unwrap();
        for rest in ["[2", "[2\n", "[2\n[", "", "\n"] {
            cut(rest);
            assert_eq!(now().unwrap(), Some(vec![1]), "{rest:?}");
            append(&path, &[3]).unwrap();
            assert_eq!(now().unwrap(), Some(vec![3]), "{rest:?}");
        }
        std::fs::write(&path, "[1").unwrap();
        assert_eq!(now().unwrap(), None, "its writer was cut off at the first");
        std::fs::write(&path, "oops\n").unwrap();
        assert!(now().unwrap_err().to_string().contains("states.jsonl"));
    }

    #[test]
    fn many_writers_at_once_add_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("states.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..8_u32 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        append(path, &vec![writer; 100 * writer as usize]).unwrap();
                        let seen = last::<Vec<u32>>(path).unwrap().unwrap();
                        assert!(seen.iter().all(|number| seen.len() == 100 * *number as usize));
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| serde_json::from_str::<Vec<u32>>(line).is_ok()).count(), 400);
    }
}
