//! What is known of a container between two calls of the runtime: files that a reader can `cat`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use nix::errno::Errno;
use oci_spec::runtime::{Hooks, Spec};
use process::state::{self, Lock};
use process::{CallError, During as _, Pid, journal, kernel_file};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::spec::Checked;

/// The directory of all containers' states: `DIR/ID/{states.jsonl, config.json, start.sock, root}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

/// Where a container is in its life.
///
/// # References
/// OCI runtime spec, runtime.md, "State"
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Complete; its program has not been started.
    Created,
    /// Its program runs.
    Running,
    /// Its processes stand still, until somebody resumes it.
    Paused,
    /// Its program has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container's state: the fields of the specification, in its JSON names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// The id.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// Its first process; absent once it has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Pid>,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a line of the state file holds: the state, and what is needed to find the container's kernel objects again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the world is told.
    pub state: State,
    /// When the first process started, in clock ticks: with the pid, a name that is never reused.
    pub start_time: Option<u64>,
    /// Its cgroup, if it has one of its own.
    pub cgroup: Option<cgroups::CgroupPath>,
    /// RFC 3339.
    pub created: String,
    /// Who makes it, as long as it is being made: pid and start. Where that process is gone, so is the making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<(Pid, u64)>,
    /// The file that init is executed from until it becomes the program: device and inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<(u64, u64)>,
    /// Its root directory on the machine; none where its root is made of layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<PathBuf>,
}

/// The file that a container's records are in: a line for each state that it came to, and the last one holds.
const RECORDS: &str = "states.jsonl";

impl StateDir {
    /// The directory at this path; made when the first container is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A container's own directory.
    ///
    /// # Errors
    /// An id that is not a single plain file name.
    pub fn container(&self, id: &str) -> Result<PathBuf, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.bytes().all(plain) {
            let reason = "an id has letters, digits, _ + - . only, and does not begin with a dot";
            return Err(CallError::refused("use id", id, reason).into());
        }
        Ok(self.path.join(id))
    }

    /// Takes an id: makes its directory, which must not exist.
    pub(crate) fn reserve(&self, id: &str) -> Result<PathBuf, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let directory = self.container(id)?;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        builder.recursive(true).create(&self.path).during("mkdir", self.path.display())?;
        match builder.recursive(false).create(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(id.to_owned())),
            made => Ok(made.during("mkdir", directory.display()).map(|()| directory)?),
        }
    }

    /// The ids of all containers.
    ///
    /// # Errors
    /// Those of reading the directory; that it does not exist is none.
    pub fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.during("read", self.path.display())?,
        };
        let mut ids: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// A container's record, with its status as the kernel has it now.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn record(&self, id: &str) -> Result<Record, Error> {
        let record = journal::last::<Record>(&self.container(id)?.join(RECORDS))?;
        record.map(Record::now).ok_or_else(|| Error::Unknown(id.to_owned()))
    }

    /// The same, and whether it is paused: that, only its cgroup knows.
    ///
    /// # Errors
    /// As [`StateDir::record`]; a cgroup that cannot be read.
    pub fn record_now(&self, id: &str) -> Result<Record, Error> {
        let mut record = self.record(id)?;
        let lives = matches!(record.state.status, Status::Created | Status::Running);
        if let Some(path) = record.cgroup.as_ref().filter(|_| lives)
            && Cgroup::open(path)?.is_frozen()?
        {
            record.state.status = Status::Paused;
        }
        Ok(record)
    }

    /// The owner of a container: whoever made it.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn owner(&self, id: &str) -> Result<u32, Error> {
        use std::os::unix::fs::MetadataExt as _;
        let directory = self.container(id)?;
        Ok(std::fs::metadata(&directory).during("stat", directory.display())?.uid())
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        Ok(journal::append(&self.container(&record.state.id)?.join(RECORDS), record)?)
    }

    /// Keeps two calls of the runtime from working on one container at a time.
    pub(crate) fn lock(&self, id: &str) -> Result<Lock, Error> {
        match Lock::of_directory(&self.container(id)?) {
            Err(error) if error.errno() == Errno::ENOENT => Err(Error::Unknown(id.to_owned())),
            lock => Ok(lock?),
        }
    }

    /// Removes a container's directory. Its records go last: until then the removal can be asked for again.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        let directory = self.container(id)?;
        let entries = std::fs::read_dir(&directory).during("read", directory.display())?;
        for entry in entries {
            let entry = entry.during("read", directory.display())?;
            if entry.file_name() != RECORDS {
                let path = entry.path();
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let removed = if is_directory { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                removed.during("remove", path.display())?;
            }
        }
        let records = directory.join(RECORDS);
        match std::fs::remove_file(&records) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.during("remove", records.display())?,
        }
        Ok(std::fs::remove_dir(&directory).during("remove", directory.display())?)
    }

    pub(crate) fn write_spec(&self, id: &str, spec: &Checked) -> Result<(), Error> {
        Ok(state::write_run(&self.container(id)?.join("config.json"), spec.text().as_bytes())?)
    }

    /// The configuration that the container was made from.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn spec(&self, id: &str) -> Result<Spec, Error> {
        // Checked when it was written, by us.
        Ok(state::read_json(&self.container(id)?.join("config.json"))?)
    }

    /// Of that configuration the hooks alone: who ends a container need not know what it was allowed to do.
    pub(crate) fn hooks(&self, id: &str) -> Result<Option<Hooks>, Error> {
        #[derive(Deserialize)]
        struct Part {
            hooks: Option<Hooks>,
        }
        let part: Part = state::read_json(&self.container(id)?.join("config.json"))?;
        Ok(part.hooks)
    }
}

impl Record {
    /// That of a container which is just being made, and has nothing of the kernel's yet.
    pub(crate) fn begun(id: &str, spec: &Spec, bundle: &Path) -> Self {
        Self {
            state: State {
                oci_version: spec.version().clone(),
                id: id.to_owned(),
                status: Status::Creating,
                pid: None,
                bundle: bundle.to_owned(),
                annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            },
            start_time: None,
            cgroup: None,
            created: jiff::Timestamp::now().to_string(),
            creator: None,
            init: None,
            rootfs: None,
        }
    }

    /// With the status that the kernel has now.
    pub(crate) fn now(mut self) -> Self {
        match self.state.status {
            Status::Creating if self.creator.is_some_and(|(pid, ticks)| is(pid, ticks)) => {}
            _ if !self.lives() => {
                self.state.status = Status::Stopped;
                self.state.pid = None;
            }
            // Whoever creates says so at the end. One that was killed before leaves an init that follows it.
            Status::Creating => self.state.status = Status::Stopped,
            Status::Created if self.has_become_its_program() => self.state.status = Status::Running,
            _ => {}
        }
        self
    }

    /// Whether the first process is still that process, and not a zombie.
    fn lives(&self) -> bool {
        let Some((pid, start_time)) = self.state.pid.zip(self.start_time) else { return false };
        is(pid, start_time) && !is_zombie(pid)
    }

    /// Whether the first process executes another file than init does: then somebody has started it, and was killed before
    /// it could write so down.
    fn has_become_its_program(&self) -> bool {
        let Some((pid, init)) = self.state.pid.zip(self.init) else { return false };
        file_of(&format!("/proc/{pid}/exe")).is_some_and(|file| file != init)
    }
}

/// The file behind a path, by device and inode.
pub(crate) fn file_of(path: &str) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether a process is still the one that began at this time.
fn is(pid: Pid, start_time: u64) -> bool {
    pid.start_time().is_ok_and(|ticks| ticks == start_time)
}

/// Whether a process has ended and only waits to be reaped.
fn is_zombie(pid: Pid) -> bool {
    let stat = kernel_file::read_text(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, None | Some('Z' | 'X'))
}
