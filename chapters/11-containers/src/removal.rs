//! Letting go: of what a run held, of containers, of what crashes left behind.

use network::Departure;
use process::During as _;
use process::state::{self, Lock};

use crate::creation::is_being_made;
use crate::engine::{All, Engine, Pruned, RemoveOptions, Survey};
use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::ContainerId;
use crate::lifecycle::{WHOLE, wrong_state};
use crate::record::Container;
use crate::volumes::MountKind;

impl Engine {
    /// Removes a container and everything that is its own.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it runs and `force` is not given.
    pub fn remove(&self, id: &ContainerId, options: RemoveOptions) -> Result<()> {
        let container = match self.container(id) {
            Err(Error::Call(_)) if options.force => return self.remove_damaged(id),
            container => container?,
        };
        if container.life()?.status.is_live() {
            if !options.force {
                return Err(wrong_state(&container, "rm", "not running (or rm -f)")?);
            }
            self.kill_and_wait(&container, WHOLE)?;
        }
        self.release_if_dead(&container)?;
        let _lock = match container.lock() {
            Ok(lock) => lock,
            // Its monitor was quicker (--rm).
            Err(error) if error.errno() == nix::errno::Errno::ENOENT => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if container.life()?.status.is_live() {
            // Somebody started it while we waited for the lock.
            return Err(wrong_state(&container, "rm", "not running (or rm -f)")?);
        }
        self.remove_files(&container, options.volumes)
    }

    /// Removes a container whose record cannot be read. Which volumes were its own nobody can say: they stay.
    fn remove_damaged(&self, id: &ContainerId) -> Result<()> {
        // Processes, cgroup and network are found by the id alone.
        self.release(id)?;
        remove_directory(&self.paths().container(id))?;
        self.sweep_names()
    }

    /// Removes the files of a container that holds nothing any more. The caller has its lock.
    pub(crate) fn remove_files(&self, container: &Container, volumes: bool) -> Result<()> {
        // The record first: from here on the container does not exist, and whatever a crash leaves of it is prune's.
        let directory = container.directory();
        for name in ["container.json", "state.json"] {
            remove_file(&directory.join(name))?;
        }
        if self.holder_of(container.name())?.as_ref() == Some(container.id()) {
            self.forget_name(container.name());
        }
        self.events().record(&Event::of(container, "destroy"));
        if volumes {
            self.remove_anonymous_volumes(container)?;
        }
        remove_directory(&directory)
    }

    /// Removes a volume that no container uses.
    ///
    /// # Errors
    /// [`Error::VolumeInUse`], [`Error::NoSuchVolume`].
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let _unused = self.volumes().unused()?;
        match self.volume_users(name)?.first() {
            Some(user) => Err(Error::VolumeInUse { name: name.to_owned(), id: user.short().to_owned() }),
            None => self.volumes().remove(name),
        }
    }

    /// The containers, running or not, that mount a volume.
    ///
    /// # Errors
    /// Those of listing containers; a container whose record cannot be read, since it may use any.
    pub fn volume_users(&self, volume: &str) -> Result<Vec<ContainerId>> {
        let uses = |kind: &MountKind| matches!(kind, MountKind::Volume { name, .. } if name == volume);
        let Survey { sound: mut users, damaged } = self.survey()?;
        if let Some((_, error)) = damaged.into_iter().next() {
            return Err(error.into());
        }
        users.retain(|container| container.record.mounts.iter().any(|mount| uses(&mount.kind)));
        Ok(users.into_iter().map(|container| container.record.id).collect())
    }

    fn remove_anonymous_volumes(&self, container: &Container) -> Result<()> {
        for mount in &container.record.mounts {
            if let MountKind::Volume { name, anonymous: true } = &mount.kind {
                match self.remove_volume(name) {
                    Err(Error::NoSuchVolume(_) | Error::VolumeInUse { .. }) => {}
                    removed => removed?,
                }
            }
        }
        Ok(())
    }

    /// Removes every container that does not run, and what crashes left: of dead monitors, of unfinished creations.
    ///
    /// # Errors
    /// The first refusal; everything else is removed all the same.
    pub fn prune(&self) -> Result<Pruned> {
        let (mut pruned, mut outcome) = (Pruned::default(), Ok(()));
        for container in self.list(All::Yes)? {
            // A container that was created just now is about to be started: docker prunes it, and so do we. One whose
            // state cannot be read does not run, or has a monitor.
            if container.life().is_ok_and(|life| life.status.is_live()) || container.monitor().is_some() {
                continue;
            }
            // A copy of the layers, where there is one, lies beside what overlayfs would work with.
            let bytes = disk_usage(&container.upper()) + disk_usage(&container.directory().join("work"));
            match self.remove(container.id(), RemoveOptions { force: true, volumes: false }) {
                Ok(()) => {
                    pruned.bytes += bytes;
                    pruned.containers.push(container.id().clone());
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome = outcome.and(self.sweep());
        outcome.map(|()| pruned)
    }

    /// Removes what no container owns: half-made directories, run directories and leases without a container.
    fn sweep(&self) -> Result<()> {
        for id in self.ids()? {
            let directory = self.paths().container(&id);
            if !self.paths().is_recorded(&id) && !is_being_made(&directory) {
                remove_directory(&directory)?;
            }
        }
        let runs = self.paths().run.join("containers");
        for entry in std::fs::read_dir(&runs).during("read", runs.display())? {
            let name = entry.during("read", runs.display())?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<ContainerId>().ok()) else { continue };
            if !self.paths().container(&id).exists() {
                self.release(&id)?;
            }
        }
        self.sweep_names()?;
        self.volumes().sweep()?;
        self.sweep_drafts()?;
        let is_live = |id: &str| id.parse().is_ok_and(|id| self.container(&id).is_ok_and(|it| it.claims_to_live()));
        self.networks().reconcile(is_live).doing("clean up", "networks").map(drop)
    }

    /// Removes state files that were never finished, because their writers were killed.
    fn sweep_drafts(&self) -> Result<()> {
        let paths = self.paths();
        let (run, build) = (&paths.run, paths.data.join("build"));
        for directory in [paths.names(), paths.volumes(), paths.data.join("networks"), run.clone(), build.clone()] {
            state::sweep(&directory)?;
        }
        let parents = [paths.containers(), run.join("containers"), paths.volumes(), run.join("networks"), build];
        for parent in parents.into_iter().chain([paths.runtime()]).filter(|parent| parent.exists()) {
            for entry in std::fs::read_dir(&parent).during("read", parent.display())? {
                let entry = entry.during("read", parent.display())?;
                if entry.file_type().during("stat", entry.path().display())?.is_dir() {
                    state::sweep(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Forgets names whose containers are gone. Under the lock: a name that was free when we looked may have been taken since.
    fn sweep_names(&self) -> Result<()> {
        let _lock = Lock::exclusive(&self.paths().names().join(".lock"))?;
        for name in names(&self.paths().names())? {
            let holder = self.holder_of(&name)?;
            if holder.is_none_or(|id| !self.paths().container(&id).exists()) {
                self.forget_name(&name);
            }
        }
        Ok(())
    }

    /// Puts right a container whose monitor died without doing so. Nothing happens to any other.
    ///
    /// A run directory is made before anything of the kernel's and removed after everything: where there is none, and none is missed,
    /// nothing is held.
    pub(crate) fn bury(&self, container: &Container) -> Result<()> {
        let Some(_lock) = self.release_if_dead(container)? else { return Ok(()) };
        if !container.claims_to_live() {
            return Ok(());
        }
        // What `life` says of a container without a monitor is what is to be written.
        Ok(container.write_life(&container.life()?)?)
    }

    /// [`bury`](Self::bury) without writing anything, which a full disk would refuse; the lock, if there was something to do.
    fn release_if_dead(&self, container: &Container) -> Result<Option<Lock>> {
        // Somebody may have emptied the directory of all runs, which takes nothing from the kernel: then the state still claims a run.
        let has_run = container.run_directory().exists() || container.claims_to_live();
        if !has_run || container.monitor().is_some() {
            return Ok(None);
        }
        let lock = match container.lock() {
            // It was no crash: its monitor has just removed everything (--rm).
            Err(error) if error.errno() == nix::errno::Errno::ENOENT => return Ok(None),
            lock => lock?,
        };
        if container.monitor().is_some() {
            // Somebody started it while we waited for the lock, and has cleaned up before.
            return Ok(None);
        }
        self.release(container.id())?;
        // Nobody lingers for a monitor that was killed.
        self.networks().lower_idle().doing("clean up", "networks")?;
        Ok(Some(lock))
    }

    /// Takes back everything of the kernel's that a run of this container held; fine to do twice.
    ///
    /// Processes first: whoever still runs could still use the network and write to the layers.
    pub(crate) fn release(&self, id: &ContainerId) -> Result<()> {
        self.release_kernel_objects(id)?.finish().doing("disconnect", id.short())?;
        // Last, and only when nothing is left: as long as it is there, the next try finds the rest.
        self.forget_run(id)
    }

    /// [`release`](Self::release) without its last steps, for a monitor that has something to write down before: what it
    /// returns is the container's cables.
    pub(crate) fn release_kernel_objects(&self, id: &ContainerId) -> Result<Departure> {
        let runtime =
            runtime::delete(&self.runtime(), id.as_str(), runtime::Force::Yes).doing("release", id.short()).map(drop);
        let cgroup = self.remove_cgroup(id);
        let network = self.networks().leave(id.as_str()).doing("disconnect", id.short());
        // After the processes: nobody uses them any more.
        let volumes = self.take_volumes_back(id);
        runtime.and(cgroup).and(volumes).and(network)
    }

    /// The runtime removes the cgroup of every container that it has recorded; one that a crash kept it from recording is ours.
    fn remove_cgroup(&self, id: &ContainerId) -> Result<()> {
        let Ok(cgroup) = self.cgroup(id) else { return Ok(()) };
        cgroup.kill().doing("kill", id.short())?;
        cgroup.remove().doing("remove", id.short())
    }

    /// Removes the run directory: from now on the container counts as one that does not run.
    pub(crate) fn forget_run(&self, id: &ContainerId) -> Result<()> {
        remove_directory(&self.paths().container_run(id))
    }
}

fn remove_file(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.during("unlink", path.display())?),
    }
}

fn remove_directory(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.during("remove", path.display())?),
    }
}

fn names(directory: &std::path::Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).during("read", directory.display())? {
        names.extend(entry.during("read", directory.display())?.file_name().into_string().ok());
    }
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}

/// Bytes that a directory's files take on disk. What cannot be read counts nothing: this is for people to read.
pub(crate) fn disk_usage(directory: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
