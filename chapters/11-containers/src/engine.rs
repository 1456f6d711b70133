//! The engine: a library over a state directory.

use std::path::{Path, PathBuf};

use images::{Image, Store};
use layers::{Change, DiffId, Snapshots};
use network::Networks;
use process::{CallError, During as _};

use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::{ContainerId, check_name};
use crate::logs::{LogOptions, Logs};
use crate::paths::{Paths, private_directory};
use crate::record::{Container, Life};
use crate::settings::Defaults;
use crate::stack::Stack;
use crate::volumes::Volumes;

/// An engine: images, layers, volumes, networks and containers below one pair of directories.
///
/// There is no process behind it. Every call reads the files, does its work under the locks that it needs, and
/// writes them; the CLI and the daemon are two callers like any other.
#[derive(Debug)]
pub struct Engine {
    paths: Paths,
    store: Store,
    snapshots: Snapshots,
    networks: Networks,
    monitor: PathBuf,
}

/// Which containers a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum All {
    /// Every one.
    Yes,
    /// Only those that run.
    No,
}

/// How `rm` goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    /// `-f`: kill it first if it runs.
    pub force: bool,
    /// `-v`: its anonymous volumes, too.
    pub volumes: bool,
}

/// What a container's root is made of.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made once a container and moved once")]
pub enum RootChain {
    /// An image.
    Image(Box<Image>),
    /// Layers, lowest first, and what stands in for an image's configuration: a build's step.
    Layers(Vec<DiffId>, Defaults),
}

/// All containers of an engine.
#[derive(Debug, Default)]
pub struct Survey {
    /// Those that can be read, newest first.
    pub sound: Vec<Container>,
    /// Those that a bad disk or a careless hand has spoilt, and what is wrong with their records. `rm -f` removes them.
    pub damaged: Vec<(ContainerId, CallError)>,
}

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The containers.
    pub containers: Vec<ContainerId>,
    /// Bytes of disk that came back.
    pub bytes: u64,
}

impl Engine {
    /// Opens the engine of whoever calls: first thing in `main`, before anything makes a thread.
    ///
    /// For root that is [`Engine::open`]. An ordinary user's process first becomes root of the user's own namespace
    /// (chapter 2), from where everything else is the same. `paths` of `None` means the user's default ones.
    ///
    /// # Errors
    /// Where user namespaces are forbidden; directories that cannot be made.
    pub fn open_as_user(paths: Option<Paths>) -> Result<Self> {
        let paths = paths.unwrap_or_else(Paths::default_for_user);
        private_directory(&paths.run)?;
        namespaces::rootless::enter(&paths.run)?;
        Self::open(paths)
    }

    /// Opens the engine below `paths`, and makes what is missing there.
    ///
    /// # Errors
    /// Directories that cannot be made or read.
    pub fn open(paths: Paths) -> Result<Self> {
        paths.make()?;
        let store = Store::open(paths.images()).doing("open", "the image store")?;
        let snapshots = Snapshots::open(paths.layers()).doing("open", "the layers")?;
        let networks = Networks::open(&paths.data, &paths.run).doing("open", "the networks")?;
        let monitor = std::env::current_exe().during("readlink", "/proc/self/exe")?;
        Ok(Self { paths, store, snapshots, networks, monitor })
    }

    /// Uses another binary for monitors than the running one: a test's, for which the running one is the test.
    #[must_use]
    pub fn with_monitor(self, monitor: impl Into<PathBuf>) -> Self {
        Self { monitor: monitor.into(), ..self }
    }

    /// Where it keeps things.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Its images.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its layers.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Its networks.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Its volumes.
    pub fn volumes(&self) -> Volumes {
        Volumes::of(&self.paths)
    }

    /// The binary that monitors are made of.
    pub(crate) fn monitor(&self) -> &Path {
        &self.monitor
    }

    /// The containers, newest first. One whose record cannot be read is not among them: see [`Engine::survey`].
    ///
    /// # Errors
    /// Those of reading the directories. A container that another process is just removing is no error.
    pub fn list(&self, all: All) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        for container in self.survey()?.sound {
            if all == All::Yes || self.life(&container)?.status.is_live() {
                containers.push(container);
            }
        }
        Ok(containers)
    }

    /// Where a container is in its life, and what its monitor's death left is put right before anybody is told that it is over.
    ///
    /// Without its monitor a container has no log, no restart policy and nobody who will ever know how it ended. As Docker
    /// does when a shim dies, whoever notices first ends its processes, so that "exited" is true whenever it is said.
    ///
    /// # Errors
    /// A state file that cannot be read. What cannot be put right now (a full disk) is left to the next one who looks.
    pub fn life(&self, container: &Container) -> Result<Life> {
        let life = container.life()?;
        if !life.abandoned || self.bury(container).is_err() {
            return Ok(life);
        }
        Ok(container.life()?)
    }

    /// Reads one container's record after the other, in no order. Who needs but a line of each is done with one before the next is
    /// read, and never has a thousand records in memory.
    ///
    /// # Errors
    /// Those of reading the directory. A record that cannot be read comes with its container's id, and hides no other.
    pub fn each(&self) -> Result<impl Iterator<Item = Result<Container, (ContainerId, CallError)>>> {
        let load = |id| match Container::load(&self.paths, &id) {
            Ok(container) => container.map(Ok),
            Err(error) => Some(Err((id, error))),
        };
        Ok(self.ids()?.into_iter().filter_map(load))
    }

    /// Reads every container's record.
    ///
    /// # Errors
    /// Those of reading the directories.
    pub fn survey(&self) -> Result<Survey> {
        let mut survey = Survey::default();
        for found in self.each()? {
            match found {
                Ok(container) => survey.sound.push(container),
                Err(damaged) => survey.damaged.push(damaged),
            }
        }
        survey.sound.sort_by_key(|container| std::cmp::Reverse(container.record.created));
        Ok(survey)
    }

    /// Finds a container by its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn find(&self, name_or_id: &str) -> Result<Container> {
        let id = self.resolve(name_or_id)?;
        Container::load(&self.paths, &id)?.ok_or_else(|| Error::NoSuchContainer(name_or_id.to_owned()))
    }

    /// The id behind a name, an id, or the beginning of an id; whether its record can be read does not matter.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn resolve(&self, name_or_id: &str) -> Result<ContainerId> {
        let missing = || Error::NoSuchContainer(name_or_id.to_owned());
        let asked = name_or_id.strip_prefix('/').unwrap_or(name_or_id);
        if let Ok(id) = asked.parse::<ContainerId>() {
            return Ok(id);
        }
        if check_name("name", asked).is_ok()
            && let Some(id) = self.holder_of(asked)?
            && self.paths.is_recorded(&id)
        {
            return Ok(id);
        }
        if asked.is_empty() || !asked.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut ids = self.ids()?;
        ids.retain(|id| id.as_str().starts_with(asked));
        match &ids[..] {
            [id] => Ok(id.clone()),
            [] => Err(missing()),
            several => Err(Error::Ambiguous { prefix: asked.to_owned(), count: several.len() }),
        }
    }

    /// The container with exactly this id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`].
    pub fn container(&self, id: &ContainerId) -> Result<Container> {
        Container::load(&self.paths, id)?.ok_or_else(|| Error::NoSuchContainer(id.short().to_owned()))
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::BadValue`].
    pub fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        check_name("name", name)?;
        let mut container = self.container(id)?;
        let _lock = container.lock()?;
        self.take_name(name, id, container.record.options.is_lasting())?;
        let before = std::mem::replace(&mut container.record.name, name.to_owned());
        container.write_record()?;
        if before != name {
            self.forget_name(&before);
        }
        self.events().record(&Event::of(&container, "rename").with("oldName", format!("/{before}")));
        Ok(())
    }

    /// What a container has changed of its image's files, in the order of the paths. Volumes and bind mounts are not part of it.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]; a layer that is not here any more.
    pub fn changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        Stack::of(&self.container(id)?, &self.snapshots).changes()
    }

    /// Bytes of files that a container has written, and of those with its image's layers.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]; a layer that is not here any more.
    pub fn size(&self, id: &ContainerId) -> Result<(u64, u64)> {
        let container = self.container(id)?;
        let own = file_sizes(&self.upper(id)?);
        let layers = self.snapshots.stack(&container.record.layers).doing("stack", "the layers")?;
        Ok((own, own + layers.iter().map(|layer| file_sizes(layer)).sum::<u64>()))
    }

    /// The directory of what a container has changed, in overlayfs's own form, as a new layer is made of it.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    pub fn upper(&self, id: &ContainerId) -> Result<PathBuf> {
        Stack::of(&self.container(id)?, &self.snapshots).upper()
    }

    /// What a container has printed.
    ///
    /// # Errors
    /// Those of opening the log; [`Error::BadValue`] where none was kept.
    pub fn logs(&self, id: &ContainerId, options: &LogOptions) -> Result<Logs> {
        let container = self.container(id)?;
        let monitor = container.monitor();
        let Some(kept) = container.record.options.log.retention()? else {
            return Err(Error::bad(
                "--log-driver",
                "none",
                format!("nothing that {} printed was kept", container.name()),
            ));
        };
        Ok(Logs::open(&container.log_file(), kept.files, options, monitor)?)
    }

    /// The ids of all container directories.
    pub(crate) fn ids(&self) -> Result<Vec<ContainerId>> {
        let directory = self.paths.containers();
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&directory).during("read", directory.display())? {
            let entry = entry.during("read", directory.display())?;
            ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<ContainerId>().ok()));
        }
        Ok(ids)
    }
}

/// The lengths of all files below a directory, together. What cannot be read counts nothing: this is for people to read.
fn file_sizes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => file_sizes(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}
