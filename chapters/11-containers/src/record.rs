//! A container, as its two files tell of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use layers::{DiffId, Digest, Stacking};
use network::{Endpoint, PortMapping};
use process::state::{self, Lock};
use process::{CallError, Pid, PidFd};
use serde::{Deserialize, Serialize};

use crate::id::ContainerId;
use crate::options::{self, CreateOptions};
use crate::paths::Paths;
use crate::settings::Settings;
use crate::volumes::MountPoint;
use crate::watcher::Watcher;

/// What a container is made of and was asked to be: `container.json`, written once by `create` (and by `rename`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: ContainerId,
    /// Its name, unique in the engine.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The image's id; none if it stands on layers alone, as a build's steps do.
    pub image_id: Option<Digest>,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What runs in it.
    pub settings: Settings,
    /// What was asked for. What was not is not written either: a record is read more often than anything else, by people, too.
    #[serde(serialize_with = "options::serialize_asked")]
    pub options: CreateOptions,
    /// Volumes and bind mounts, with their sources found or made.
    pub mounts: Vec<MountPoint>,
    /// How its layers become one tree. What it changes is kept in this way's form, so that it stays with it.
    #[serde(default)]
    pub stacking: Stacking,
}

/// Where a container is in its life: `state.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Created, running, exited.
    pub status: Status,
    /// Its first process, as the host numbers it, while it runs.
    pub pid: Option<Pid>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// How it last ended. `None` for an exited container means unknown: nobody was there to see it.
    pub exit_code: Option<u8>,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Why it did not start.
    pub error: String,
    /// How often its restart policy has started it again since somebody last did.
    pub restart_count: u32,
    /// Whether it ended because somebody asked it to.
    pub stopped: bool,
    /// Log lines lost to a full disk.
    pub log_lines_lost: u64,
    /// Where it is reached while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Published ports while it runs, with the host's ports that they really got.
    pub ports: Vec<PortMapping>,
    /// The monitor that wrote that it runs. As long as that very process lives and `monitor.json` is there, what it wrote is true; what
    /// stands in that file says whether another has taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monitor: Option<Watcher>,
    /// Whether its monitor died and nobody has put it right: its processes may live still.
    #[serde(skip)]
    pub abandoned: bool,
}

impl Life {
    /// The same life after its monitor's death. How a container ended that was only about to be restarted is known.
    pub(crate) fn abandoned(self) -> Self {
        let exit_code = self.exit_code.filter(|_| self.status == Status::Restarting);
        let (endpoints, ports) = (Vec::new(), Vec::new());
        Self { status: Status::Exited, pid: None, exit_code, endpoints, ports, monitor: None, abandoned: true, ..self }
    }
}

/// In two words, for people: `running`, `exited 0`, `exited ?`.
impl std::fmt::Display for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.exit_code.map_or("?".to_owned(), |code| code.to_string());
        match self.status {
            Status::Exited => write!(f, "exited {code}"),
            status => f.write_str(status.as_str()),
        }
    }
}

/// Created, running, exited: Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never ran.
    #[default]
    Created,
    /// Its first process lives.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended, and its monitor is about to start it again.
    Restarting,
    /// It ran, and ended.
    Exited,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Whether somebody takes care of it: processes of it exist, or will in a moment.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// A container of an engine.
#[derive(Debug, Clone)]
pub struct Container {
    pub(crate) paths: Paths,
    /// In a box: a listing sorts containers and hands them on, and a record is some kilobytes.
    pub(crate) record: Box<Record>,
}

impl Container {
    /// Reads a container's record.
    pub(crate) fn load(paths: &Paths, id: &ContainerId) -> Result<Option<Self>, CallError> {
        let record = state::read_run_json(&paths.record(id))?;
        Ok(record.map(|record| Self { paths: paths.clone(), record }))
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.record.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What it is made of and was asked to be.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where it is in its life.
    ///
    /// A container that says "running" but whose monitor is gone (killed, or a reboot came between) has
    /// ended in a way that nobody saw: it is reported as exited, its exit code unknown. That its processes have ended, too,
    /// is for [`Engine::life`](crate::Engine::life) to see to.
    ///
    /// # Errors
    /// A state file that cannot be read.
    pub fn life(&self) -> Result<Life, CallError> {
        let mut life: Life = state::read_run_json(&self.state_file())?.unwrap_or_default();
        let run = self.run_directory();
        let is_watched = |life: &Life| {
            let known = life.monitor.as_ref().is_some_and(Watcher::is_alive) && Watcher::is_named(&run);
            known || Watcher::is_there(&run)
        };
        if life.status.is_live() && !is_watched(&life) {
            // It may just have ended in good order, between our two looks.
            life = state::read_run_json(&self.state_file())?.unwrap_or_default();
            if life.status.is_live() {
                life = life.abandoned();
            }
        }
        Ok(life)
    }

    pub(crate) fn write_life(&self, life: &Life) -> Result<(), CallError> {
        self.write(&self.state_file(), life)
    }

    pub(crate) fn write_record(&self) -> Result<(), CallError> {
        self.write(&self.paths.record(self.id()), &self.record)
    }

    /// Nobody waits for a disk on behalf of what will not be there after a reboot: see [`CreateOptions::is_lasting`].
    fn write<T: Serialize>(&self, file: &Path, value: &T) -> Result<(), CallError> {
        match self.record.options.is_lasting() {
            true => state::write_json(file, value),
            false => state::write_run_json(file, value),
        }
    }

    /// Whether state.json says that it runs, whatever became of its monitor.
    pub(crate) fn claims_to_live(&self) -> bool {
        state::read_json::<Life>(&self.state_file()).is_ok_and(|life| life.status.is_live())
    }

    /// Its monitor, if that lives.
    pub(crate) fn monitor(&self) -> Option<PidFd> {
        Watcher::alive(&self.run_directory())
    }

    /// Held while something about the container changes: started, removed, renamed. Never while it runs.
    pub(crate) fn lock(&self) -> Result<Lock, CallError> {
        Lock::exclusive(&self.directory().join("lock"))
    }

    /// Its directory.
    pub fn directory(&self) -> PathBuf {
        self.paths.container(&self.record.id)
    }

    /// Its run directory: sockets, `monitor.json`.
    pub fn run_directory(&self) -> PathBuf {
        self.paths.container_run(&self.record.id)
    }

    /// Where what it has changed is kept. To read it, ask [`Engine::upper`](crate::Engine::upper).
    pub fn upper(&self) -> PathBuf {
        self.directory().join("upper")
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.directory().join("log.json")
    }

    fn state_file(&self) -> PathBuf {
        self.directory().join("state.json")
    }
}
