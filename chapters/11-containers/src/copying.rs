//! Files into a container and out of it, whether it runs or not.
//!
//! A container that runs has its own view of its files, volumes and all: `/proc/PID/root` leads into it. For one
//! that does not, the same view is put together in a mount namespace that lasts as long as the copy.

use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use layers::{Place, Stacking, Unpacking, copied, look, pack, unpack};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use process::{During as _, Pid, step};
use rootfs::{DetachedMount, MountAttrFlags, Recursion, Root};
use rustix::fs::OFlags;

use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::id::ContainerId;
use crate::lending::open_part;
use crate::record::Container;
use crate::stack::Stack;
use crate::user;
use crate::volumes::{MountKind, MountPoint};

/// An archive that is longer when it is unpacked is a mistake or a bomb, bytes.
const LARGEST: u64 = 1 << 40;

/// Whose files that are copied into a container become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewOwner {
    /// The archive's numbers.
    #[default]
    Archive,
    /// The container's user's (`cp -a`).
    User,
}

impl Engine {
    /// Writes what is at `path` in a container as an archive whose names begin with `name`. Returns its length.
    ///
    /// # Errors
    /// A path that is not there, and those of reading and writing.
    pub fn copy_out(&self, id: &ContainerId, path: &Path, name: &Path, out: impl Write + Send) -> Result<u64> {
        self.with_files(id, |root| pack(root, path, name, out).doing("copy", path.display()))
    }

    /// Lays an archive, compressed or not, into the directory `under` of a container.
    ///
    /// # Errors
    /// Those of [`layers::unpack`]; EROFS where the container may not write either.
    pub fn copy_in(&self, id: &ContainerId, under: &Path, archive: impl Read + Send, owner: NewOwner) -> Result<()> {
        let record = self.container(id)?.record;
        self.with_files(id, |root| {
            let owner = match owner {
                NewOwner::Archive => None,
                NewOwner::User => {
                    let (user, _) = user::resolve(root, &record.settings.user, &record.options.groups)?;
                    Some((user.uid, user.gid))
                }
            };
            let archive = layers::decompress(archive, LARGEST).doing("read", "the archive")?;
            unpack(archive, root, under, Unpacking { owner }).doing("copy to", under.display())
        })
    }

    /// Looks at the end of a path in a container.
    ///
    /// # Errors
    /// A path that is not there.
    pub fn look_at(&self, id: &ContainerId, path: &Path) -> Result<Place> {
        self.with_files(id, |root| Ok(look(root, path)?))
    }

    /// Calls `act` with a container's files as it sees them.
    fn with_files<T: Send>(&self, id: &ContainerId, act: impl FnOnce(&Root) -> Result<T> + Send) -> Result<T> {
        let container = self.container(id)?;
        if container.record.options.id_maps.is_some() && container.life()?.pid.is_some() {
            let reason =
                "its users are not the machine's, and files would get owners that it does not know: stop it first";
            return Err(Error::bad("cp", container.name(), reason));
        }
        if let Some(root) = live_root(&container)? {
            return act(&root);
        }
        // Held for as long as it takes: two overlays with one upper directory would spoil it.
        let _lock = container.lock()?;
        if let Some(root) = live_root(&container)? {
            return act(&root);
        }
        self.with_still_files(&container, act)
    }

    /// The same for a container that does not run.
    ///
    /// A thread of its own has the mount namespace: nobody else sees the mounts, and the kernel takes them back when it
    /// ends, however it ends. Unlike a new process, this is allowed in a process that has other threads.
    fn with_still_files<T: Send>(
        &self,
        container: &Container,
        act: impl FnOnce(&Root) -> Result<T> + Send,
    ) -> Result<T> {
        let mounts = self.lend_volumes(container)?;
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                step!(11, "unshare", "unshare(2)", "keep the mounts of this copy to itself", "CLONE_NEWNS");
                unshare(CloneFlags::CLONE_NEWNS).during("unshare", "CLONE_NEWNS")?;
                let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).during("mount", "/, MS_PRIVATE")?;
                let root = assemble(container, &Stack::of(container, self.snapshots()), &mounts)?;
                act(&root)
            });
            let panicked = |_| Err(Error::bad("copy", container.name(), "the copying thread ended early"));
            thread.join().unwrap_or_else(panicked)
        });
        self.take_volumes_back(container.id())?;
        done
    }
}

/// The root of a container that runs.
fn live_root(container: &Container) -> Result<Option<Root>> {
    let pid = || Ok::<Option<Pid>, Error>(container.life()?.pid);
    let Some(first) = pid()? else { return Ok(None) };
    let root = Root::open(Path::new(&format!("/proc/{first}/root")));
    // Had it ended before we looked, the number could be another process's by now.
    match pid()? == Some(first) {
        true => Ok(Some(root?)),
        false => Ok(None),
    }
}

/// Mounts a container's layers and volumes where only this thread sees them.
fn assemble(container: &Container, stack: &Stack<'_>, mounts: &[MountPoint]) -> Result<Root> {
    let overlay = stack.overlay()?;
    overlay.prepare()?;
    // Where the kernel has no overlayfs for it, the layers lie there as one tree.
    let top = match container.record.stacking {
        Stacking::Copy => DetachedMount::bind(&copied::tree(&overlay).doing("stack", "the layers")?, Recursion::One)?,
        Stacking::Overlay => DetachedMount::from(overlay.mount()?),
        Stacking::FuseOverlayfs => {
            let reason = "its layers are stacked by fuse-overlayfs, and only while it runs: start it first";
            return Err(Error::bad("cp", container.name(), reason));
        }
    };
    if container.record.options.read_only {
        top.set(MountAttrFlags::MOUNT_ATTR_RDONLY, Recursion::One)?;
    }
    // In our namespace alone, its own directory is as good a place as any: it is there, and nothing else is needed from it.
    let place = container.directory();
    let target =
        rustix::fs::open(&place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    top.attach(target.during("open", place.display())?.as_fd())?;
    let root = Root::open(&place)?;
    let mut mounts: Vec<&MountPoint> = mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for point in mounts {
        // What was in memory is gone.
        if matches!(point.kind, MountKind::Tmpfs { .. }) {
            continue;
        }
        let bind = match open_part(point)? {
            Some(part) => DetachedMount::bind_fd(part.as_fd(), Recursion::All)?,
            None => DetachedMount::bind(&point.source, Recursion::All)?,
        };
        if point.read_only {
            bind.set(MountAttrFlags::MOUNT_ATTR_RDONLY, Recursion::All)?;
        }
        bind.attach(root.open_in(&point.target, OFlags::PATH)?.as_fd())?;
    }
    Ok(root)
}
