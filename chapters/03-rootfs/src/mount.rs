//! Mounts by descriptor: made detached, configured while nobody sees them, attached in one step.
//!
//! The old `mount(2)` names its target by a path, which somebody may exchange between check and use, and
//! makes a mount visible before its flags are set. With the newer calls a file system is opened (`fsopen`),
//! turned into a detached mount (`fsmount`; `open_tree` for a bind mount), given its attributes
//! (`mount_setattr`) and then attached (`move_mount`) to a directory that is held open.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use process::{CallError, During, step};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::copy_up;
use crate::late::Late;
use crate::options::MountOptions;
use crate::root::{self, Root};
use crate::sys::{self, MountAttr};

/// Whether an operation also takes what is mounted below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursion {
    /// This mount alone.
    One,
    /// This mount and all below it.
    All,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A new instance of a file system.
    Filesystem {
        /// Its type: `proc`, `tmpfs`, ...
        kind: String,
        /// What mountinfo shows as its source.
        source: String,
        /// Its own options: `("mode", Some("755"))`, `("newinstance", None)`.
        options: Vec<(String, Option<String>)>,
    },
    /// A directory or file of the machine, seen a second time.
    Bind(PathBuf, Recursion),
    /// What is mounted there already: only its attributes change.
    Mounted,
    /// A detached mount that the parent has made, behind an inherited descriptor: what needs power over the machine.
    Prepared {
        /// The descriptor's number.
        mount: RawFd,
        /// What it shows, for the narration.
        shown: PathBuf,
    },
}

/// How mount and unmount events travel between copies of a mount.
///
/// # References
/// mount_namespaces(7), "Shared subtrees"
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// From the machine into the container only.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and the mount cannot be bind-mounted.
    Unbindable,
}

/// One mount of a container, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// What.
    pub source: Source,
    /// Where, as a path inside the root.
    pub target: PathBuf,
    /// Attributes to set: read-only, nosuid, ...
    pub attributes: MountAttrFlags,
    /// Whether the attributes hold for submounts of a bind mount too.
    pub reach: Recursion,
    /// How events propagate, and how far down.
    pub propagation: Option<(Propagation, Recursion)>,
    /// Whether the mount begins with what lies in its place.
    pub copy_up: bool,
}

/// A mount that is attached nowhere yet. It is gone when dropped.
#[derive(Debug)]
pub struct DetachedMount {
    fd: OwnedFd,
    /// What a kernel without `mount_setattr` can only set once the mount is attached.
    late: RefCell<Vec<Late>>,
}

impl DetachedMount {
    /// A new file system instance.
    ///
    /// # Errors
    /// ENODEV for an unknown type, EINVAL for an option that it does not know; the option is named.
    ///
    /// # References
    /// fsopen(2), fsconfig(2), fsmount(2)
    pub fn filesystem(
        kind: &str,
        source: &str,
        options: &[(String, Option<String>)],
        attributes: MountAttrFlags,
    ) -> Result<Self, CallError> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen", kind)?;
        if !source.is_empty() {
            fsconfig_set_string(&context, "source", source).during("fsconfig source", source)?;
        }
        for (key, value) in options {
            match value {
                Some(value) => fsconfig_set_string(&context, key, value).during("fsconfig", format!("{key}={value}")),
                None => fsconfig_set_flag(&context, key).during("fsconfig", key),
            }
            .map_err(|error| error.with(kind))?;
        }
        fsconfig_create(&context).during("fsconfig create", kind)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(Self::from).during("fsmount", kind)
    }

    /// A second view of a directory or file.
    ///
    /// # Errors
    /// ENOENT and the like.
    ///
    /// # References
    /// open_tree(2), `OPEN_TREE_CLONE`
    pub fn bind(path: &Path, recursion: Recursion) -> Result<Self, CallError> {
        open_tree(CWD, path, clone_flags(recursion)).map(Self::from).during("open_tree", path.display())
    }

    /// A second view of what is already held open.
    ///
    /// # Errors
    /// EINVAL when it lies in another mount namespace.
    pub fn bind_fd(fd: BorrowedFd<'_>, recursion: Recursion) -> Result<Self, CallError> {
        let flags = clone_flags(recursion) | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(fd, "", flags).map(Self::from).during("open_tree", "descriptor")
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// EPERM where a user namespace may not change what its parent locked; ENOSYS before Linux 5.12 if submounts are
    /// to have them too.
    pub fn set(&self, attributes: MountAttrFlags, reach: Recursion) -> Result<(), CallError> {
        if attributes.is_empty() {
            return Ok(());
        }
        // How access times are kept is one choice of several, and has to be cleared before it is set.
        let times = MountAttrFlags::MOUNT_ATTR__ATIME;
        let cleared = if attributes.intersects(times) { u64::from(times.bits()) } else { 0 };
        let attr = MountAttr { attr_set: u64::from(attributes.bits()), attr_clr: cleared, ..MountAttr::default() };
        self.change(&attr, reach, Late::Attributes(attributes))
    }

    /// Sets the propagation.
    ///
    /// # Errors
    /// Those of `mount_setattr(2)`; before Linux 5.12 only what has no mounts below can be changed.
    pub fn propagate(&self, propagation: Propagation, reach: Recursion) -> Result<(), CallError> {
        let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
        self.change(&attr, reach, Late::Propagation(propagation, reach))
    }

    fn change(&self, attr: &MountAttr, reach: Recursion, late: Late) -> Result<(), CallError> {
        match sys::mount_setattr(self.fd.as_fd(), reach == Recursion::All, attr) {
            Err(nix::errno::Errno::ENOSYS) => {
                late.is_possible(reach)?;
                self.late.borrow_mut().push(late);
                Ok(())
            }
            done => done.during("mount_setattr", late),
        }
    }

    /// Attaches the mount to the file or directory behind `target`.
    ///
    /// # Errors
    /// ENOTDIR when one is a file and the other a directory.
    ///
    /// # References
    /// move_mount(2)
    pub fn attach(&self, target: BorrowedFd<'_>) -> Result<(), CallError> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.fd, "", target, "", flags).during("move_mount", "")?;
        self.late.take().iter().try_for_each(|late| late.apply(self.fd.as_fd()))
    }

    /// Whether the root of the mount is a directory.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn is_directory(&self) -> Result<bool, CallError> {
        let stat = rustix::fs::fstat(&self.fd).during("fstat", "mount")?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

impl From<OwnedFd> for DetachedMount {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, late: RefCell::default() }
    }
}

impl From<DetachedMount> for OwnedFd {
    fn from(mount: DetachedMount) -> Self {
        mount.fd
    }
}

impl AsFd for DetachedMount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Propagation {
    pub(crate) fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

impl MountEntry {
    /// Adds options to those that the entry has: later ones win.
    pub fn add_options(&mut self, options: &MountOptions) {
        self.attributes |= options.attributes;
        self.propagation = options.propagation.or(self.propagation);
        if let Source::Filesystem { options: own, .. } = &mut self.source {
            own.extend(options.data.iter().cloned());
        }
    }

    /// Makes the mount and attaches it inside `root`, with its mount point where that is missing.
    ///
    /// # Errors
    /// The failing call, with the target's path.
    pub fn mount(&self, root: &Root) -> Result<(), CallError> {
        let target = self.target.display();
        let mount = match &self.source {
            Source::Filesystem { kind, source, options } => {
                step!(3, "fsmount", "fsmount(2)", "mount a file system of its own", "{kind} on {target}");
                // What is copied into it must be written before nobody may write any more.
                let first = if self.copy_up { MountAttrFlags::empty() } else { self.attributes };
                let mount = DetachedMount::filesystem(kind, source, options, first)
                    .map_err(|error| in_place(error, &self.target))?;
                if self.copy_up {
                    copy_up::copy_up(root, &self.target, mount.as_fd())?;
                    mount.set(self.attributes, Recursion::One)?;
                }
                mount
            }
            Source::Mounted => return self.remount(root),
            Source::Bind(path, recursion) => {
                step!(3, "open_tree", "open_tree(2)", "show a place twice", "{} on {target}", path.display());
                let mount = DetachedMount::bind(path, *recursion)?;
                mount.set(self.attributes, self.reach)?;
                mount
            }
            Source::Prepared { mount, shown } => {
                step!(3, "move_mount", "move_mount(2)", "show a place twice", "{} on {target}", shown.display());
                let prepared = rustix::io::fcntl_dupfd_cloexec(sys::borrow(*mount), 3);
                let mount = DetachedMount::from(prepared.during("dup", shown.display())?);
                mount.set(self.attributes, self.reach)?;
                mount
            }
        };
        if let Some((propagation, reach)) = self.propagation {
            mount.propagate(propagation, reach)?;
        }
        // A file system begins with a directory; what is shown twice may be a file.
        let directory = matches!(self.source, Source::Filesystem { .. }) || mount.is_directory()?;
        let place = mount_point(root, &self.target, directory)?;
        mount.attach(place.as_fd()).map_err(|error| in_place(error, &self.target))
    }
}

impl MountEntry {
    /// Changes the attributes of what is mounted on the target.
    fn remount(&self, root: &Root) -> Result<(), CallError> {
        let target = self.target.display();
        step!(3, "mount_setattr", "mount_setattr(2)", "change a mount that is there", "{target}");
        let place = mount_point(root, &self.target, true)?;
        let attr = MountAttr {
            attr_set: u64::from(self.attributes.bits()),
            attr_clr: u64::from((MOUNT_ATTRIBUTES - self.attributes).bits()),
            ..MountAttr::default()
        };
        sys::mount_setattr(place.as_fd(), self.reach == Recursion::All, &attr).during("mount_setattr", &target).map_err(
            |error| {
                if error.errno() == nix::errno::Errno::EINVAL { error.with("nothing is mounted there") } else { error }
            },
        )
    }
}

/// What a remount sets anew as a whole.
const MOUNT_ATTRIBUTES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Opens the place for a mount inside the root; makes it if it is missing.
///
/// Below `/proc`, `/sys` and `/dev` no link may lie on the way: an image in which `/proc` is a link would
/// have us mask, and write to, files of its choice (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
fn mount_point(root: &Root, target: &Path, directory: bool) -> Result<OwnedFd, CallError> {
    let relative = target.strip_prefix("/").unwrap_or(target);
    if ["proc", "sys", "dev"].iter().any(|kernel| relative.starts_with(kernel)) {
        return kernel_mount_point(root, relative, directory);
    }
    match root.open_in(relative, OFlags::PATH) {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => make_mount_point(root, relative, directory),
        opened => opened,
    }
}

fn kernel_mount_point(root: &Root, relative: &Path, directory: bool) -> Result<OwnedFd, CallError> {
    use nix::errno::Errno::{ELOOP, ENOENT};
    match root.open_plain(relative, OFlags::PATH) {
        Err(error) if error.errno() == ENOENT => make_kernel_mount_point(root, relative, directory),
        Err(error) if error.errno() == ELOOP => {
            Err(CallError::refused("mount on", relative.display(), "a symbolic link of the image is in its place"))
        }
        opened => opened,
    }
}

/// Makes it in the directory above, which is made likewise.
fn make_kernel_mount_point(root: &Root, relative: &Path, directory: bool) -> Result<OwnedFd, CallError> {
    let (above, name) = root::split(relative)?;
    let parent = match above.as_os_str().is_empty() {
        true => root.open_plain(Path::new("."), OFlags::PATH)?,
        false => kernel_mount_point(root, above, true)?,
    };
    let made = if directory {
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
    } else {
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, new, Mode::from_raw_mode(0o644)).map(drop)
    };
    match made {
        Ok(()) | Err(rustix::io::Errno::EXIST) => root.open_plain(relative, OFlags::PATH),
        Err(errno) => Err(errno).during("create", relative.display()),
    }
}

fn make_mount_point(root: &Root, relative: &Path, directory: bool) -> Result<OwnedFd, CallError> {
    if directory {
        return root.mkdir_all(relative, Mode::from_raw_mode(0o755));
    }
    if let Some(parent) = relative.parent() {
        drop(root.mkdir_all(parent, Mode::from_raw_mode(0o755))?);
    }
    drop(root.create_file(relative, Mode::from_raw_mode(0o644))?);
    root.open_in(relative, OFlags::PATH)
}

fn clone_flags(recursion: Recursion) -> OpenTreeFlags {
    let recursive = match recursion {
        Recursion::One => OpenTreeFlags::empty(),
        Recursion::All => OpenTreeFlags::AT_RECURSIVE,
    };
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive
}

fn in_place(error: CallError, target: &Path) -> CallError {
    let target = target.display();
    let data = if error.data.is_empty() { format!("on {target}") } else { format!("on {target}, {}", error.data) };
    CallError { data, ..error }
}
