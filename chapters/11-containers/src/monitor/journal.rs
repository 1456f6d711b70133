//! Writing a container's log: Docker's json-file, bounded.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use process::{CallError, During as _};

use crate::framing::Stream;
use crate::logging::Retention;
use crate::logs::{LINE, LogLine};

/// A container's log.
///
/// One JSON object a line, as `docker logs` and every log shipper read it:
///
/// ```text
/// {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
/// ```
///
/// A text without newline at its end is a part of a longer line: its rest comes in the next object of its stream.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    kept: Retention,
    partial: [Vec<u8>; 2],
    lost: u64,
}

impl Journal {
    /// Continues the log at `path`, or begins it.
    ///
    /// # Errors
    /// Those of open(2).
    pub(super) fn open(path: &Path, kept: Retention) -> Result<Self, CallError> {
        let file = open(path)?;
        let length = file.metadata().during("fstat", path.display())?.len();
        let partial = [Vec::new(), Vec::new()];
        Ok(Self { path: path.to_path_buf(), file, length, kept, partial, lost: 0 })
    }

    /// Adds output. Whole lines are written at once, an unfinished one waits for its end.
    pub(super) fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let mut entries = Vec::new();
        let held = &mut self.partial[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE) {
                held.extend_from_slice(part);
                if held.ends_with(b"\n") || held.len() >= LINE {
                    encode(&mut entries, stream, held);
                    held.clear();
                }
            }
        }
        self.write(&entries);
    }

    /// Writes the unfinished lines: the outputs have ended. Returns how many entries were lost to a full disk.
    pub(super) fn finish(&mut self) -> u64 {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let held = std::mem::take(&mut self.partial[stream as usize]);
            if !held.is_empty() {
                let mut entries = Vec::new();
                encode(&mut entries, stream, &held);
                self.write(&entries);
            }
        }
        self.lost
    }

    /// A full disk costs log lines, never the container: what could not be written is counted and given up.
    fn write(&mut self, mut entries: &[u8]) {
        let lines = |entries: &[u8]| entries.iter().filter(|byte| **byte == b'\n').count() as u64;
        while !entries.is_empty() {
            let room = self.kept.rotate_at.saturating_sub(self.length);
            let whole = match leading(entries, room) {
                0 if self.length > 0 => {
                    if self.rotate().is_err() {
                        self.lost += lines(entries);
                        return;
                    }
                    continue;
                }
                // One that fits into no file has one of its own.
                0 => entries.iter().position(|byte| *byte == b'\n').map_or(entries.len(), |at| at + 1),
                whole => whole,
            };
            let (now, later) = entries.split_at(whole);
            match self.file.write_all(now) {
                Ok(()) => self.length += now.len() as u64,
                Err(_) => {
                    self.lost += lines(now);
                    // Half an entry would spoil the next one. If even this fails, readers skip what they cannot parse.
                    let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0)));
                }
            }
            entries = later;
        }
    }

    /// `log.json.2` becomes `.3`, `.1` becomes `.2`, `log.json` becomes `.1`, `log.json.new` becomes `log.json`.
    ///
    /// The new file comes first: where none can be made, no old one is given up for it.
    fn rotate(&mut self) -> Result<(), CallError> {
        let fresh = self.path.with_added_extension("new");
        let file = open(&fresh)?;
        for age in (0..self.kept.files - 1).rev() {
            let (from, to) = (aged(&self.path, age), aged(&self.path, age + 1));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).during("rename", from.display());
                }
                _ => {}
            }
        }
        // With one file there is nothing to put aside: the new one takes its place.
        std::fs::rename(&fresh, &self.path).during("rename", fresh.display())?;
        self.file = file;
        self.length = 0;
        Ok(())
    }
}

/// The path of the file that was put aside `age` rotations ago; 0 is the current one.
pub(crate) fn aged(path: &Path, age: u32) -> PathBuf {
    if age == 0 { path.to_path_buf() } else { path.with_added_extension(age.to_string()) }
}

/// How many bytes of whole entries there are at the beginning that fit into so much room.
fn leading(entries: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(entries.len());
    entries[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

fn open(path: &Path) -> Result<File, CallError> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).during("open", path.display())
}

fn encode(into: &mut Vec<u8>, stream: Stream, text: &[u8]) {
    let time = jiff::Timestamp::now();
    let line = LogLine { log: String::from_utf8_lossy(text).into_owned(), stream, time };
    // Writing to a vector cannot fail, and a LogLine has no map with odd keys.
    if serde_json::to_writer(&mut *into, &line).is_ok() {
        into.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEPT: Retention = Retention { rotate_at: 16 << 20, files: 4 };

    fn texts(path: &Path) -> Vec<String> {
        let lines = std::fs::read_to_string(path).unwrap();
        lines.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().log).collect()
    }

    #[test]
    fn a_line_is_logged_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let mut journal = Journal::open(&path, KEPT).unwrap();
        journal.add(Stream::Stdout, b"one\ntw");
        journal.add(Stream::Stderr, b"err\n");
        assert_eq!(texts(&path), ["one\n", "err\n"]);
        journal.add(Stream::Stdout, b"o\n\nrest");
        journal.finish();
        assert_eq!(texts(&path), ["one\n", "err\n", "two\n", "\n", "rest"]);
    }

    #[test]
    fn a_long_line_is_logged_in_parts_and_never_held_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let mut journal = Journal::open(&path, KEPT).unwrap();
        journal.add(Stream::Stdout, &[b'x'; 3 * LINE + 7]);
        journal.add(Stream::Stdout, b"\n");
        assert_eq!(texts(&path).iter().map(String::len).collect::<Vec<_>>(), [LINE, LINE, LINE, 8]);
    }

    #[test]
    fn without_room_for_a_new_file_the_old_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let mut journal = Journal::open(&path, Retention { rotate_at: 100, ..KEPT }).unwrap();
        journal.add(Stream::Stdout, b"first\n");
        journal.add(Stream::Stdout, b"second\n");
        // A directory in its place stands for whatever keeps the new file from being made.
        std::fs::create_dir(path.with_added_extension("new")).unwrap();
        for _ in 0..KEPT.files + 1 {
            journal.add(Stream::Stdout, b"lost\n");
        }
        assert_eq!(journal.finish(), u64::from(KEPT.files) + 1);
        assert_eq!(texts(&aged(&path, 1)), ["first\n"]);
        assert_eq!(texts(&path), ["second\n"]);
    }

    #[test]
    fn of_one_file_only_the_newest_lines_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let mut journal = Journal::open(&path, Retention { rotate_at: 100, files: 1 }).unwrap();
        journal.add(Stream::Stdout, b"first\n");
        journal.add(Stream::Stdout, b"second\n");
        assert_eq!(texts(&path), ["second\n"]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_log_never_grows_beyond_its_four_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let mut journal = Journal::open(&path, Retention { rotate_at: 1000, ..KEPT }).unwrap();
        for number in 0..200 {
            journal.add(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count() as u32, KEPT.files);
        assert!((0..KEPT.files).all(|age| aged(&path, age).metadata().unwrap().len() <= 1000));
        assert_eq!(texts(&path).last().unwrap(), "line 199\n");
    }
}
