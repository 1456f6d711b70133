//! Events: what happened to containers, as a journal that anybody can follow.
//!
//! There is no daemon that everything passes through, so whoever does something says so in a file: the command line,
//! a monitor, a daemon. One JSON object a line, in Docker's shape:
//!
//! ```text
//! data/events/journal.json      {"Type":"container","Action":"start","Actor":{"ID":"4f...","Attributes":{...}},...}
//!             journal.json.1    the one before; each is at most 4 MiB
//! ```
//!
//! A line is one `write` at the end of the file, so that lines of several writers never mix. A follower sleeps in
//! inotify(7) until the directory changes. Nothing is synced: after a power cut the last moments are missing.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use process::{CallError, During as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::paths::{Paths, private_directory};
use crate::record::Container;

/// A journal of so many bytes is put aside.
const ROTATE_AT: u64 = 4 << 20;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it happened to: `container`, `volume`, `network`, `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What: `start`, `die`, `health_status: healthy`.
    #[serde(rename = "Action")]
    pub action: String,
    /// To which one.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`: there is no swarm.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A container's or image's id; a volume's or network's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// A container's image, name and labels, and what the action has to say: `exitCode`, `signal`.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens now.
    pub fn now(kind: &str, action: impl Into<String>, id: impl Into<String>) -> Self {
        let now = Timestamp::now();
        Self {
            kind: kind.to_owned(),
            action: action.into(),
            actor: Actor { id: id.into(), attributes: BTreeMap::new() },
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }

    /// Something that happens to a container now.
    pub fn of(container: &Container, action: impl Into<String>) -> Self {
        let record = container.record();
        let labels = record.settings.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        let mut event = Self::now("container", action, record.id.as_str());
        event.actor.attributes.extend(labels);
        event.with("image", &record.options.image).with("name", &record.name)
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.actor.attributes.insert(name.to_owned(), value.to_string());
        self
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.time_nano.into()).unwrap_or_default()
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventOptions {
    /// From when on; absent: from now on.
    pub since: Option<Timestamp>,
    /// Until when; absent: for ever. A moment in the past ends at what is there.
    pub until: Option<Timestamp>,
}

/// The journal of an engine.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
    rotate_at: u64,
}

impl Engine {
    /// The journal of what happens here.
    pub fn events(&self) -> Journal {
        Journal::of(self.paths())
    }
}

impl Journal {
    pub(crate) fn of(paths: &Paths) -> Self {
        Self { directory: paths.data.join("events"), rotate_at: ROTATE_AT }
    }

    /// Writes an event down. What cannot be written is lost: a full disk is no reason not to stop a container.
    pub fn record(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        // As said: lost. Nobody could do anything about it, and the event itself has happened all the same.
        let _ = self.append(&line);
    }

    fn append(&self, line: &[u8]) -> std::io::Result<()> {
        let mut file = self.locked()?;
        file.write_all(line)?;
        file.unlock()?;
        // Alone with it, nobody is between locking and writing. Who is not alone leaves it to the next.
        if file.metadata()?.len() >= self.rotate_at && file.try_lock().is_ok() && self.is_current(&file) {
            std::fs::rename(self.current(), self.before())?;
        }
        Ok(())
    }

    /// The current file, which nobody puts aside as long as it is locked. Writers do not hold each other up.
    fn locked(&self) -> std::io::Result<File> {
        loop {
            let file = match OpenOptions::new().append(true).create(true).mode(0o600).open(self.current()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    private_directory(&self.directory).map_err(|error| std::io::Error::from(error.errno()))?;
                    continue;
                }
                file => file?,
            };
            file.lock_shared()?;
            if self.is_current(&file) {
                return Ok(file);
            }
        }
    }

    fn is_current(&self, file: &File) -> bool {
        let current = std::fs::metadata(self.current()).map(|metadata| metadata.ino());
        current.is_ok_and(|current| file.metadata().is_ok_and(|metadata| metadata.ino() == current))
    }

    fn current(&self) -> PathBuf {
        self.directory.join("journal.json")
    }

    fn before(&self) -> PathBuf {
        self.directory.join("journal.json.1")
    }

    /// The events that `options` ask for, and those that are still to come.
    ///
    /// # Errors
    /// Those of inotify(7) and of making the directory.
    pub fn follow(&self, options: EventOptions) -> Result<Events, CallError> {
        private_directory(&self.directory)?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .during("inotify_init1", "events")?;
        let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, &self.directory, changes).during("inotify_add_watch", self.directory.display())?;
        let since = options.since.unwrap_or(Timestamp::MIN);
        let mut events = Events {
            journal: self.clone(),
            since,
            until: options.until,
            watch,
            file: None,
            rest: Vec::new(),
            ready: VecDeque::new(),
        };
        if options.since.is_some() {
            events.file = open(&self.before())?;
        } else if let Some(mut current) = open(&self.current())? {
            current.seek(SeekFrom::End(0)).during("lseek", "events")?;
            events.file = Some(current);
        }
        Ok(events)
    }
}

fn open(path: &Path) -> Result<Option<File>, CallError> {
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some).during("open", path.display()),
    }
}

/// A stream of events, oldest first.
#[derive(Debug)]
pub struct Events {
    journal: Journal,
    since: Timestamp,
    until: Option<Timestamp>,
    watch: OwnedFd,
    file: Option<File>,
    rest: Vec<u8>,
    ready: VecDeque<Event>,
}

/// What a look at the stream found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event.
    Event(Box<Event>),
    /// None in the time that was given.
    Quiet,
    /// There will be no more: the end that was asked for is reached.
    End,
}

impl Events {
    /// The next event, if it comes within `limit`.
    ///
    /// # Errors
    /// Those of reading the journal.
    pub fn within(&mut self, limit: Duration) -> Result<Next, CallError> {
        let mut waited = false;
        loop {
            while let Some(event) = self.ready.pop_front() {
                if self.until.is_some_and(|until| event.at() >= until) {
                    return Ok(Next::End);
                }
                if event.at() >= self.since {
                    return Ok(Next::Event(Box::new(event)));
                }
            }
            if self.read()? {
                continue;
            }
            let left =
                self.until.map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
            match left {
                Some(left) if left.is_zero() => return Ok(Next::End),
                _ if waited => return Ok(Next::Quiet),
                left => self.sleep(limit.min(left.unwrap_or(limit)))?,
            }
            waited = left.is_none_or(|left| left > limit);
        }
    }

    /// Reads what is there; false at the end.
    fn read(&mut self) -> Result<bool, CallError> {
        let current = self.journal.current();
        // Looked at first: nothing is added any more to a file that is not the current one by now, and so what is
        // read from it afterwards is all of it.
        let there = open(&current)?;
        if let Some(file) = &mut self.file {
            let mut bytes = vec![0; 64 << 10];
            let read = file.read(&mut bytes).during("read", current.display())?;
            self.rest.extend_from_slice(&bytes[..read]);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            // A line that cannot be parsed (a disk was full, a power cut) is no event.
            self.ready.extend(lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
            if read > 0 {
                return Ok(true);
            }
        }
        let id = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
        if there.as_ref().and_then(id) == self.file.as_ref().and_then(id) {
            return Ok(false);
        }
        self.rest.clear();
        let fresh = there.is_some();
        self.file = there;
        Ok(fresh)
    }

    fn sleep(&self, limit: Duration) -> Result<(), CallError> {
        let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
        let limit =
            Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "events"),
        }
        // What changed is seen by reading; that something did is all that is wanted here.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        while reader.next().is_ok() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn journal(rotate_at: u64) -> (tempfile::TempDir, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal { directory: directory.path().join("events"), rotate_at };
        (directory, journal)
    }

    fn everything() -> EventOptions {
        EventOptions { since: Some(Timestamp::UNIX_EPOCH), until: None }
    }

    fn actions(events: &mut Events, limit: Duration) -> Vec<String> {
        let mut actions = Vec::new();
        while let Next::Event(event) = events.within(limit).unwrap() {
            actions.push(event.action);
        }
        actions
    }

    #[test]
    fn a_follower_hears_what_comes_and_who_asks_later_what_was() {
        let (_directory, journal) = journal(ROTATE_AT);
        journal.record(&Event::now("container", "before", "x"));
        let mut follower = journal.follow(EventOptions::default()).unwrap();
        assert_eq!(follower.within(Duration::ZERO).unwrap(), Next::Quiet);
        let writer = journal.clone();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            writer.record(&Event::now("container", "after", "x"));
        });
        let Next::Event(event) = follower.within(Duration::from_secs(20)).unwrap() else { panic!("nothing came") };
        assert_eq!(event.action, "after");
        late.join().unwrap();
        assert_eq!(actions(&mut journal.follow(everything()).unwrap(), Duration::ZERO), ["before", "after"]);
    }

    #[test]
    fn the_journal_is_put_aside_and_nobody_misses_a_line() {
        let (directory, journal) = journal(2000);
        let mut follower = journal.follow(everything()).unwrap();
        let mut heard = Vec::new();
        for number in 0..60 {
            journal.record(&Event::now("container", number.to_string(), "x"));
            if number % 7 == 0 {
                heard.extend(actions(&mut follower, Duration::ZERO));
            }
        }
        heard.extend(actions(&mut follower, Duration::ZERO));
        assert_eq!(heard, (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
        let files = std::fs::read_dir(directory.path().join("events")).unwrap().flatten();
        let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
        assert!(sizes.len() <= 2 && sizes.iter().all(|size| *size < 2300), "{sizes:?}");
    }

    #[test]
    fn an_end_in_the_past_ends_at_once_and_one_to_come_is_waited_for() {
        let (_directory, journal) = journal(ROTATE_AT);
        journal.record(&Event::now("container", "one", "x"));
        let until = |until| journal.follow(EventOptions { until: Some(until), ..everything() }).unwrap();
        let mut past = until(Timestamp::now());
        assert!(matches!(past.within(Duration::from_secs(20)).unwrap(), Next::Event(_)));
        assert_eq!(past.within(Duration::from_secs(20)).unwrap(), Next::End);
        let mut soon = until(Timestamp::now() + Duration::from_millis(50));
        assert!(matches!(soon.within(Duration::from_secs(20)).unwrap(), Next::Event(_)));
        assert_eq!(soon.within(Duration::from_secs(20)).unwrap(), Next::End);
    }
}
