//! Creating: a directory, a name, a first layer. Nothing of the kernel's is held afterwards.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use images::Image;
use jiff::Timestamp;
use layers::Stacking;
use process::During as _;
use process::state::{self, Lock};

use crate::copy_up::copy_up;
use crate::engine::{Engine, RootChain};
use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::{ContainerId, check_name, random_name};
use crate::mounts::{MountRequest, Source, VolumeWishes, container_path};
use crate::options::CreateOptions;
use crate::record::{Container, Record};
use crate::restart::RestartPolicy;
use crate::settings::{Defaults, Settings};
use crate::sharing::{Ipc, Share};
use crate::stack::{Stack, make_target};
use crate::volumes::{LOCAL, MountKind, MountPoint, VolumeRequest};

impl Engine {
    /// Creates a container of an image. It does not run yet.
    ///
    /// # Errors
    /// [`Error::NameInUse`]; [`Error::BadValue`] for an option that makes no sense; those of the layers and volumes.
    /// Nothing is left behind then.
    pub fn create(&self, image: &Image, options: CreateOptions) -> Result<Container> {
        self.create_on(RootChain::Image(Box::new(image.clone())), options)
    }

    /// Creates a container on an image or on bare layers.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create_on(&self, root: RootChain, mut options: CreateOptions) -> Result<Container> {
        // Until the record says so, nobody knows that these layers are needed.
        let _lease = self.store().lease().doing("lock", "the image store")?;
        let id = ContainerId::random()?;
        let (image_id, layers, defaults) = match root {
            RootChain::Image(image) => (Some(image.id), image.diff_ids().to_vec(), (&image.config.config).into()),
            RootChain::Layers(layers, defaults) => (None, layers, defaults),
        };
        let settings = Settings::merge(&defaults, &options, &id)?;
        check_wishes(&options)?;
        options.sharing.resolve(self)?;
        self.take_volumes(&mut options)?;
        let wanted = wanted_mounts(&defaults, &options)?;
        let name = options.name.take();
        name.as_ref().map_or(Ok(()), |name| check_name("--name", name))?;
        options.network.check()?;

        let directory = self.paths().container(&id);
        DirBuilder::new().mode(0o700).create(&directory).during("mkdir", directory.display())?;
        // Held until the record is there: a directory without a record that nobody holds is a crash's, and prune's.
        let _making = Lock::exclusive(&directory.join("lock"))?;
        let record = self.claim_name(&id, name, options.is_lasting()).map(|name| Record {
            id,
            name,
            created: Timestamp::now(),
            image_id,
            layers,
            settings,
            options,
            mounts: Vec::new(),
            stacking: Stacking::default(),
        });
        let made = record.map(|record| Container { paths: self.paths().clone(), record: Box::new(record) });
        let made = made.and_then(|container| self.furnish(container, &wanted));
        if made.is_err() {
            // The first error is the one to tell; what cannot be removed now, prune will.
            let _ = std::fs::remove_dir_all(&directory);
        }
        if let Ok(container) = &made {
            self.events().record(&Event::of(container, "create"));
        }
        made
    }

    /// `--volumes-from`: the volumes and bind mounts of other containers, where they are there. What was asked for by name
    /// comes first.
    fn take_volumes(&self, options: &mut CreateOptions) -> Result<()> {
        for text in &options.volumes_from {
            let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
            let read_only = match mode {
                "ro" => true,
                "rw" => false,
                _ => return Err(Error::bad("--volumes-from", text, "NAME, NAME:ro or NAME:rw")),
            };
            for point in &self.find(name)?.record.mounts {
                let source = match &point.kind {
                    MountKind::Bind => Source::Bind { path: point.source.clone(), create: false },
                    MountKind::Volume { name, .. } => Source::Volume { name: Some(name.clone()) },
                    MountKind::Tmpfs { .. } => continue,
                };
                let (target, propagation) = (point.target.clone(), point.propagation.clone());
                if options.mounts.iter().all(|mount| mount.target != target) {
                    let read_only = read_only || point.read_only;
                    let subpath = point.subpath.clone();
                    let volume = VolumeWishes { subpath, no_copy: true, ..VolumeWishes::default() };
                    options.mounts.push(MountRequest { source, target, read_only, propagation, owners: None, volume });
                }
            }
        }
        Ok(())
    }

    /// Makes volumes and the first layer, then writes the record: from then on the container exists.
    fn furnish(&self, mut container: Container, wanted: &[MountRequest]) -> Result<Container> {
        let _in_use = self.volumes().in_use()?;
        let mut volumes = Vec::new();
        let furnished = self.mount_points(wanted, &mut volumes).and_then(|mounts| {
            container.record.mounts = mounts;
            // What has to be mounted is for as long as content is copied into it.
            let lent = self.lend_volumes(&container)?;
            container.record.stacking = Stack::of(&container, self.snapshots()).furnish(|root| {
                for point in &lent {
                    if matches!(point.kind, MountKind::Volume { .. }) && point.subpath.is_none() && !point.no_copy {
                        copy_up(root, &point.target, &point.source)?;
                    }
                    // A socket or a device is mounted on a file, like a file; volumes and memory on directories.
                    let directory = match (&point.kind, &point.subpath) {
                        (MountKind::Bind, _) => point.source.is_dir(),
                        (_, Some(subpath)) => !point.source.join(subpath).is_file(),
                        (_, None) => true,
                    };
                    make_target(root, &point.target, directory)?;
                }
                for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
                    make_target(root, Path::new(file), false)?;
                }
                if container.record.options.init {
                    make_target(root, Path::new(crate::spec::INIT.trim_start_matches('/')), false)?;
                }
                for directory in ["proc", "dev", "sys", container.record.settings.workdir.as_str()] {
                    make_target(root, Path::new(directory), true)?;
                }
                Ok(())
            })?;
            // Without a state.json, a container is `created`: one file fewer to wait for the disk for.
            Ok(container.write_record()?)
        });
        let returned = self.take_volumes_back(container.id());
        if let Err(error) = furnished.and(returned) {
            self.forget_name(container.name());
            for name in volumes {
                // The first error is the one to tell.
                let _ = self.volumes().remove(&name);
            }
            return Err(error);
        }
        Ok(container)
    }

    /// Turns wishes into sources: volumes are made, missing host directories too. Anonymous volumes are added to `made`.
    fn mount_points(&self, wanted: &[MountRequest], made: &mut Vec<String>) -> Result<Vec<MountPoint>> {
        let mut points = Vec::new();
        for request in wanted {
            let (mut lent, mut memory, mut driver_name) = (false, false, None);
            let (kind, source) = match &request.source {
                Source::Bind { path, create } => (MountKind::Bind, host_source(path, *create)?),
                Source::Tmpfs { options } => (MountKind::Tmpfs { options: options.clone() }, PathBuf::new()),
                Source::Volume { name } => {
                    let wishes = request.volume.clone();
                    let (driver, options, labels) = (wishes.driver, wishes.options, wishes.labels);
                    let wanted = VolumeRequest { name: name.clone(), driver, options, labels };
                    let (volume, _) = self.volumes().make(&wanted)?;
                    (lent, memory) = (volume.is_lent(), volume.is_memory());
                    driver_name = Some(volume.driver.clone()).filter(|driver| driver != LOCAL);
                    if volume.anonymous {
                        made.push(volume.name.clone());
                    }
                    let source = self.volumes().data(&volume.name);
                    (MountKind::Volume { anonymous: volume.anonymous, name: volume.name }, source)
                }
            };
            let (target, propagation) = (request.target.clone(), request.propagation.clone());
            let owners = request.owners.as_ref().map(|owners| owners.find(&source)).transpose()?;
            points.push(MountPoint {
                kind,
                source,
                target,
                read_only: request.read_only,
                propagation,
                owners,
                subpath: request.volume.subpath.clone(),
                // What would be gone before the container begins need not be copied.
                no_copy: request.volume.no_copy || memory,
                lent,
                driver: driver_name,
            });
        }
        Ok(points)
    }

    /// Gives the container its name, or one that nobody has.
    fn claim_name(&self, id: &ContainerId, wanted: Option<String>, lasting: bool) -> Result<String> {
        for attempt in 0..100 {
            let name = match &wanted {
                Some(name) => name.clone(),
                None if attempt < 10 => random_name()?,
                // A thousand containers have used up the easy ones.
                None => format!("{}_{}", random_name()?, &id.as_str()[..4 + attempt % 8]),
            };
            match self.take_name(&name, id, lasting) {
                Err(Error::NameInUse { .. }) if wanted.is_none() => {}
                taken => return taken.map(|()| name),
            }
        }
        Err(Error::bad("--name", "", "no free name was found: give one"))
    }

    /// Takes a name: the file `names/NAME` holds the id of who has it. O(1), however many containers there are.
    /// Only a `lasting` one is worth waiting for the disk.
    pub(crate) fn take_name(&self, name: &str, id: &ContainerId, lasting: bool) -> Result<()> {
        let _lock = Lock::exclusive(&self.paths().names().join(".lock"))?;
        if let Some(holder) = self.holder_of(name)?
            && holder != *id
            && self.paths().container(&holder).exists()
        {
            return Err(Error::NameInUse { name: name.to_owned(), id: holder.short().to_owned() });
        }
        let write = if lasting { state::write } else { state::write_run };
        Ok(write(&self.paths().names().join(name), id.as_str().as_bytes())?)
    }

    /// Whose name that is, by the file alone.
    pub(crate) fn holder_of(&self, name: &str) -> Result<Option<ContainerId>> {
        let path = self.paths().names().join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Ok(Err(error).during("read", path.display())?),
        }
    }

    /// Lets a name go.
    pub(crate) fn forget_name(&self, name: &str) {
        // A name whose container is gone is free in any case: see take_name.
        let _ = std::fs::remove_file(self.paths().names().join(name));
    }
}

/// What was asked for, and the image's volumes that nothing was asked for in place of. One mount a target.
fn wanted_mounts(defaults: &Defaults, options: &CreateOptions) -> Result<Vec<MountRequest>> {
    let mut wanted: Vec<MountRequest> = Vec::new();
    for request in &options.mounts {
        if wanted.iter().any(|other| other.target == request.target) {
            return Err(Error::bad("--volume", request.target.display().to_string(), "two mounts on one path"));
        }
        wanted.push(request.clone());
    }
    for volume in &defaults.volumes {
        // An image that declares `../../etc` (CVE-2022-23648) declares `/etc` of its own root, here as everywhere.
        let target = container_path("VOLUME", &volume.to_string_lossy(), &volume.to_string_lossy())?;
        if !wanted.iter().any(|other| other.target == target) {
            wanted.push(MountRequest::new(Source::Volume { name: None }, target));
        }
    }
    Ok(wanted)
}

/// A host path to bind: `-v` makes a missing one a directory, as docker does.
fn host_source(path: &Path, create: bool) -> Result<PathBuf> {
    match path.try_exists().during("stat", path.display())? {
        true => {}
        false if create => std::fs::create_dir_all(path).during("mkdir", path.display())?,
        false => {
            let shown = path.display().to_string();
            return Err(Error::bad("--mount", shown, "the source does not exist (-v would make a directory)"));
        }
    }
    Ok(path.to_path_buf())
}

/// Whether somebody is just making the container in `directory`.
pub(crate) fn is_being_made(directory: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(directory.join("lock"));
    lock.is_ok_and(|file| file.try_lock().is_err())
}

/// Whether `--cgroup-parent` names a group at all.
fn group_below(options: &CreateOptions) -> Result<()> {
    match &options.cgroup_parent {
        Some(parent) => crate::spec::group(&ContainerId::random()?, Some(parent)).map(drop),
        None => Ok(()),
    }
}

/// Wishes that contradict each other, or that nobody could grant.
fn check_wishes(options: &CreateOptions) -> Result<()> {
    if options.init && !process::init::IS_STATIC {
        let reason = "this engine was built without a static C library, and its init would not run in an image";
        return Err(Error::bad("--init", "", reason));
    }
    if options.auto_remove && options.restart != RestartPolicy::No {
        let reason = "it cannot be restarted when it is removed: say --restart or --rm, not both";
        return Err(Error::bad("--restart", options.restart.to_string(), reason));
    }
    if let Some(score) = options.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::bad("--oom-score-adj", score.to_string(), "from -1000 to 1000"));
    }
    options.log.retention()?;
    crate::own_ids::check(options)?;
    group_below(options)?;
    if options.sharing.uts == Share::Host && (options.hostname.is_some() || options.domainname.is_some()) {
        return Err(Error::bad(
            "--hostname",
            "",
            "the machine's own host name is not the container's to set (--uts host)",
        ));
    }
    let ipc = &options.sharing.ipc;
    if let (Some(size), false) = (options.shm_size, matches!(ipc, Ipc::Private | Ipc::Shareable)) {
        let reason = format!("with --ipc {ipc} it has no /dev/shm of its own");
        return Err(Error::bad("--shm-size", size.to_string(), reason));
    }
    Ok(())
}
