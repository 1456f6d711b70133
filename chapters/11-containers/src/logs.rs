//! Reading what a container has printed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use process::{CallError, During as _, PidFd};
use serde::{Deserialize, Serialize};

use crate::framing::Stream;
use crate::monitor::journal::aged;

/// A longer line is logged in parts of this many bytes.
pub(crate) const LINE: usize = 16 << 10;

/// An encoded entry is at most this long: each byte of a part may become `\u0000`.
const ENTRY: usize = 6 * LINE + 256;

/// How often a follower looks for more.
const TICK: Duration = Duration::from_millis(50);

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The text, with its newline unless the line goes on in the next entry of the same stream.
    pub log: String,
    /// Where it was printed.
    pub stream: Stream,
    /// When.
    pub time: Timestamp,
}

/// What `logs` is asked for.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// `-f`: go on until the container ends.
    pub follow: bool,
    /// `--tail`: only so many of the last entries.
    pub tail: Option<usize>,
    /// `--since`: only entries from then on.
    pub since: Option<Timestamp>,
    /// `--until`: only entries before.
    pub until: Option<Timestamp>,
}

/// The entries of a log, oldest first.
///
/// An entry that cannot be parsed (a disk was full, a power cut) is skipped.
#[derive(Debug)]
pub struct Logs {
    path: PathBuf,
    options: LogOptions,
    ready: VecDeque<LogLine>,
    current: Option<BufReader<File>>,
    held: Vec<u8>,
    monitor: Option<PidFd>,
}

impl Logs {
    /// Opens the log at `path`, of at most so many `files`; `monitor` is who writes it, if the container runs.
    pub(crate) fn open(
        path: &Path,
        files: u32,
        options: &LogOptions,
        monitor: Option<PidFd>,
    ) -> Result<Self, CallError> {
        let monitor = monitor.filter(|_| options.follow);
        let mut logs = Self {
            path: path.to_path_buf(),
            options: options.clone(),
            ready: VecDeque::new(),
            current: None,
            held: Vec::new(),
            monitor,
        };
        for age in (0..files).rev() {
            match File::open(aged(path, age)) {
                Ok(file) => logs.current = Some(BufReader::new(file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).during("open", path.display()),
            }
            logs.held.clear();
            logs.read_on(options.tail)?;
        }
        Ok(logs)
    }

    /// Reads the current file to its end, keeping the last `most` entries if that is given.
    fn read_on(&mut self, most: Option<usize>) -> Result<(), CallError> {
        let Some(reader) = &mut self.current else { return Ok(()) };
        loop {
            let read = reader.read_until(b'\n', &mut self.held).during("read", self.path.display())?;
            if read == 0 {
                return Ok(());
            }
            if !self.held.ends_with(b"\n") {
                // The writer is in the middle of it. What can be no entry of ours is not kept waiting for.
                if self.held.len() > ENTRY {
                    self.held.clear();
                }
                continue;
            }
            if let Ok(line) = serde_json::from_slice::<LogLine>(&self.held)
                && self.options.since.is_none_or(|since| line.time >= since)
                && self.options.until.is_none_or(|until| line.time < until)
            {
                self.ready.push_back(line);
            }
            self.held.clear();
            if most.is_some_and(|most| self.ready.len() > most) {
                self.ready.pop_front();
            }
        }
    }

    /// Takes the new file if the writer has put the current one aside.
    fn follow_rotation(&mut self) -> Result<(), CallError> {
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
        let held = self.current.as_ref().and_then(|reader| inode(reader.get_ref()));
        match File::open(&self.path) {
            Ok(file) if inode(&file) != held => {
                self.read_on(None)?;
                self.held.clear();
                self.current = Some(BufReader::new(file));
                Ok(())
            }
            Ok(_) => Ok(()),
            // Removed with its container (--rm): what is open is still readable.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).during("open", self.path.display()),
        }
    }

    fn advance(&mut self) -> Result<Option<LogLine>, CallError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(monitor) = &self.monitor else { return Ok(None) };
            // Looked at before the last reading: what was written before the end is then seen.
            let ended = monitor.ended_within(TICK)?;
            self.read_on(None)?;
            self.follow_rotation()?;
            self.read_on(None)?;
            if ended {
                self.monitor = None;
            }
        }
    }
}

impl Iterator for Logs {
    type Item = Result<LogLine, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(text: &str, second: i64) -> String {
        let line = LogLine { log: text.into(), stream: Stream::Stdout, time: Timestamp::new(second, 5).unwrap() };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    fn read(path: &Path, options: &LogOptions) -> Vec<String> {
        Logs::open(path, 4, options, None).unwrap().map(|line| line.unwrap().log).collect()
    }

    #[test]
    fn entries_are_docker_s() {
        assert_eq!(
            entry("hi\n", 0),
            "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00.000000005Z\"}\n"
        );
    }

    #[test]
    fn rotated_files_are_read_in_the_order_of_time_and_damage_is_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        assert!(read(&path, &LogOptions::default()).is_empty());
        std::fs::write(aged(&path, 2), entry("1", 1) + "{\"log\":\"ha").unwrap();
        std::fs::write(aged(&path, 1), entry("2", 2) + "no json\n" + &entry("3", 3)).unwrap();
        std::fs::write(&path, entry("4", 4)).unwrap();
        assert_eq!(read(&path, &LogOptions::default()), ["1", "2", "3", "4"]);
        assert_eq!(read(&path, &LogOptions { tail: Some(2), ..LogOptions::default() }), ["3", "4"]);
        assert!(read(&path, &LogOptions { tail: Some(0), ..LogOptions::default() }).is_empty());
        let since = LogOptions { since: Some(Timestamp::new(3, 0).unwrap()), ..LogOptions::default() };
        assert_eq!(read(&path, &since), ["3", "4"]);
    }
}
