//! A tree under construction: members of an archive become files below a root.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::acl;
use crate::apply::{Applied, ApplyOptions, Below, Ownership};
use crate::attributes::{self, Node};
use crate::below::stat;
use crate::disk;
use crate::error::{Error, Result};
use crate::member::{Kind, Member, Time};
use crate::sparse::SparseMap;
use crate::whiteout;

/// Directories that only a longer name implies. An entry of the directory itself may follow and change it.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Each costs a look into the layers below whenever the layer is stacked on others.
const MOST_OPEN_ENDS: usize = 10_000;

/// Files being made below a root.
pub(crate) struct Tree<'a> {
    root: &'a Root,
    options: &'a ApplyOptions,
    /// The user and the group that own what this process makes.
    own: (u32, u32),
    applied: Applied,
    /// Directories without a member of their own, so far.
    implied: BTreeSet<PathBuf>,
    implied_so_far: u64,
    /// The directory of the member before: archives are in order, so most members share theirs with it.
    last_parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// What has to be set last on directories.
    late: HashMap<PathBuf, Late>,
    buffer: Vec<u8>,
}

/// Making something in a directory changes its time, and a list of access for new files would be given to all that
/// follow.
struct Late {
    time: Time,
    acl: Option<Vec<u8>>,
}

impl Late {
    fn of(member: &Member) -> Self {
        let acl = member.xattrs.iter().find(|(name, _)| name == acl::DEFAULT);
        Self { time: member.mtime, acl: acl.map(|(_, value)| value.clone()) }
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: &'a Root, options: &'a ApplyOptions) -> Self {
        Self {
            root,
            options,
            own: (geteuid().as_raw(), getegid().as_raw()),
            applied: Applied::default(),
            implied: BTreeSet::new(),
            implied_so_far: 0,
            last_parent: None,
            late: HashMap::new(),
            buffer: vec![0; 256 * 1024],
        }
    }

    /// Makes one member.
    pub(crate) fn lay(&mut self, member: &Member, body: &mut dyn Read) -> Result<()> {
        let Some(name) = member.path.file_name() else { return self.lay_root(member) };
        let parent = self.directory(member.path.parent().unwrap_or(Path::new("")))?;
        match &member.kind {
            Kind::File(size) => self.lay_file(member, &parent, name, *size, None, body)?,
            Kind::Sparse(map) => self.lay_file(member, &parent, name, map.size, Some(map), body)?,
            Kind::Directory => self.lay_directory(member, &parent, name)?,
            Kind::HardLink(target) => self.lay_hard_link(member, &parent, name, target)?,
            Kind::Symlink(text) => {
                self.make(&parent, name, &member.path, |parent| rustix::fs::symlinkat(text, parent, name))
                    .during("symlink", member.path.display())?;
                self.dress(Node::Name(parent.as_fd(), name), member)?;
            }
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => self.lay_node(member, &parent, name)?,
        }
        self.applied.entries += 1;
        Ok(())
    }

    /// A whiteout: `name` of the layers below is gone. What this very layer has there stays.
    pub(crate) fn hide(&mut self, parent: &Path, name: &OsStr) -> Result<()> {
        let parent = self.directory(parent)?;
        self.applied.whiteouts += 1;
        match whiteout::make(&*parent, name) {
            Err(error) if error.errno() == nix::errno::Errno::EEXIST => {
                let opened = rustix::fs::openat(&*parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty());
                // A file hides what is below by being there; a directory needs to say so.
                opened.map_or(Ok(()), |directory| Ok(whiteout::make_opaque(directory, Path::new(name))?))
            }
            result => Ok(result?),
        }
    }

    /// An opaque mark: nothing of the layers below is seen in this directory.
    pub(crate) fn hide_all_below(&mut self, directory: &Path) -> Result<()> {
        self.directory(directory)?;
        self.applied.whiteouts += 1;
        // A link is resolved like any parent: inside the root.
        let opened = self.root.open_in(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(whiteout::make_opaque(opened, directory)?)
    }

    /// Whether a member described this directory.
    pub(crate) fn has(&self, directory: &Path) -> bool {
        self.late.contains_key(directory)
    }

    /// Removes what an earlier layer laid at a name: for trees in which layers are laid over each other.
    pub(crate) fn clear(&mut self, path: &Path) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        match disk::remove(parent.as_fd(), name) {
            Err(Errno::NOENT) => Ok(()),
            result => {
                self.forget(path);
                Ok(result.during("remove", path.display())?)
            }
        }
    }

    /// Sets what comes last, on directories that nothing changes any more.
    pub(crate) fn finish(mut self) -> Result<Applied> {
        for (path, late) in std::mem::take(&mut self.late) {
            let directory = match self.root.open_in(&path, OFlags::RDONLY | DIRECTORY) {
                // A later member took its place.
                Err(error) if matches!(error.errno(), nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => {
                    continue;
                }
                result => result?,
            };
            let node = Node::Open(directory.as_fd());
            if let Some(list) = late.acl {
                match attributes::set_xattr(node, OsStr::from_bytes(acl::DEFAULT), &list) {
                    Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::RANGE | Errno::PERM) => {
                        self.applied.xattrs_skipped += 1;
                    }
                    result => result.during("setxattr on", path.display())?,
                }
            }
            attributes::set_times(node, late.time, &path)?;
        }
        self.applied.open_ends.implied = self.implied.into_iter().collect();
        Ok(self.applied)
    }

    fn lay_root(&mut self, member: &Member) -> Result<()> {
        if member.kind != Kind::Directory {
            return Err(CallError::refused("replace the root", "/", "only a directory can be the root").into());
        }
        let root = self.root.open_in(Path::new(""), OFlags::RDONLY | DIRECTORY)?;
        attributes::strip(root.as_fd(), OsStr::new("."), member)?;
        self.late.insert(PathBuf::new(), Late::of(member));
        self.dress(Node::Open(root.as_fd()), member)
    }

    fn lay_file(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
        size: u64,
        map: Option<&SparseMap>,
        body: &mut dyn Read,
    ) -> Result<()> {
        // Nobody else reads it before its owner is set; where that is who we are, it has its mode from the beginning.
        let mode = match (member.uid, member.gid) == self.own {
            true => Mode::from_raw_mode(member.mode & 0o777),
            false => Mode::RUSR | Mode::WUSR,
        };
        let file = self.make(parent, name, &member.path, |parent| rustix::fs::openat(parent, name, NEW_FILE, mode));
        let mut file = File::from(file.during("create", member.path.display())?);
        match map {
            None => self.fill(&mut file, body, member)?,
            Some(map) => {
                for segment in &map.segments {
                    file.seek(SeekFrom::Start(segment.offset)).during("lseek", member.path.display())?;
                    self.fill(&mut file, &mut (&mut *body).take(segment.length), member)?;
                }
                // A hole at the end is nothing that anybody writes.
                file.set_len(map.size).during("ftruncate", member.path.display())?;
            }
        }
        self.applied.bytes += size;
        self.dress(Node::Open(file.as_fd()), member)
    }

    /// Writes what a body holds at the place where the file stands. Most files are small, and one call writes them whole,
    /// in however many pieces they came.
    fn fill(&mut self, file: &mut File, body: &mut dyn Read, member: &Member) -> Result<()> {
        loop {
            let mut filled = 0;
            while filled < self.buffer.len() {
                match body.read(&mut self.buffer[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::Read(error)),
                }
            }
            if filled > 0 {
                file.write_all(&self.buffer[..filled]).during("write", member.path.display())?;
            }
            if filled < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn lay_directory(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let mode = Mode::RWXU;
        let made = match rustix::fs::mkdirat(parent, name, mode) {
            Err(Errno::EXIST) => match stat(parent, name)? {
                // Two members, or a member and names that implied it: one directory.
                Some(there) if FileType::from_raw_mode(there.st_mode) == FileType::Directory => {
                    attributes::strip(parent.as_fd(), name, member)?;
                    Ok(false)
                }
                there => {
                    let below_is_gone = there.as_ref().is_some_and(|stat| whiteout::is_whiteout(parent, name, stat));
                    self.make(parent, name, &member.path, |parent| rustix::fs::mkdirat(parent, name, mode))
                        .map(|()| below_is_gone)
                }
            },
            result => result.map(|()| false),
        };
        let replaces_whiteout = made.during("mkdir", member.path.display())?;
        let directory = rustix::fs::openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty())
            .during("open", member.path.display())?;
        if replaces_whiteout {
            whiteout::make_opaque(&directory, &member.path)?;
        }
        self.implied.remove(&member.path);
        self.late.insert(member.path.clone(), Late::of(member));
        self.dress(Node::Open(directory.as_fd()), member)
    }

    fn lay_hard_link(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr, target: &Path) -> Result<()> {
        let refuse = |reason: &str| CallError::refused("link to", target.display(), reason);
        let missing = || refuse("no such file in this layer");
        if *target == member.path || target.as_os_str().is_empty() {
            return Err(refuse("a hard link to itself or to the root").into());
        }
        let found = match self.root.parent(target) {
            Ok((parent, name)) => stat(&parent, &name)?.map(|stat| (parent, name, stat)),
            Err(_) => None,
        };
        let found = found.filter(|(parent, name, stat)| !whiteout::is_whiteout(parent, name, stat));
        let Some((target_parent, target_name, there)) = found else {
            return match self.options.below {
                Below::Unknown => self.leave_open(member, parent, name, target),
                Below::Nothing => Err(missing().into()),
            };
        };
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            return Err(refuse("it is a directory").into());
        }
        // No AT_SYMLINK_FOLLOW: a link to a symbolic link is a second name of that, wherever it points.
        let link =
            |parent: BorrowedFd<'_>| rustix::fs::linkat(&target_parent, &*target_name, parent, name, AtFlags::empty());
        Ok(self.make(parent, name, &member.path, link).during("link", member.path.display())?)
    }

    /// Notes a link whose target can only be in a layer below. What this layer has in its place goes, as it would
    /// for any other member.
    fn leave_open(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr, target: &Path) -> Result<()> {
        match disk::remove(parent.as_fd(), name) {
            Err(Errno::NOENT) => {}
            result => {
                result.during("remove", member.path.display())?;
                self.forget(&member.path);
            }
        }
        if self.applied.open_ends.links.len() >= MOST_OPEN_ENDS {
            return Err(Error::Limit { limit: MOST_OPEN_ENDS as u64, what: "hard links to the layers below" });
        }
        self.applied.open_ends.links.push((member.path.clone(), target.to_owned()));
        Ok(())
    }

    fn lay_node(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let (kind, device) = match member.kind {
            Kind::CharDevice(0, 0) => {
                let reason = "a character device 0/0 would be overlayfs's whiteout";
                return Err(CallError::refused("mknod", member.path.display(), reason).into());
            }
            Kind::CharDevice(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
            Kind::BlockDevice(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            _ => (FileType::Fifo, 0),
        };
        let mode = Mode::RUSR | Mode::WUSR;
        let made =
            self.make(parent, name, &member.path, |parent| rustix::fs::mknodat(parent, name, kind, mode, device));
        if made == Err(Errno::PERM) && kind != FileType::Fifo && self.options.ownership == Ownership::WherePossible {
            self.applied.devices_skipped += 1;
            return Ok(());
        }
        made.during("mknod", member.path.display())?;
        self.dress(Node::Name(parent.as_fd(), name), member)
    }

    /// Makes something new at a name, whatever was there before.
    ///
    /// Every call that makes something refuses to touch what exists, links included. Only then, what is in the way is
    /// removed, and the call is tried again: nothing is ever opened, followed or truncated.
    fn make<T>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        make: impl Fn(BorrowedFd<'_>) -> std::result::Result<T, Errno>,
    ) -> std::result::Result<T, Errno> {
        match make(parent.as_fd()) {
            Err(Errno::EXIST) => {
                disk::remove(parent.as_fd(), name)?;
                // The handle may be of a directory that is gone now, and the times are certainly.
                self.forget(path);
                make(parent.as_fd())
            }
            result => result,
        }
    }

    /// Owner, mode, attributes and times of what was just made.
    fn dress(&mut self, node: Node<'_>, member: &Member) -> Result<()> {
        let possible = self.options.ownership == Ownership::WherePossible;
        let left = attributes::dress(node, member, possible)?;
        self.applied.owners_ignored += u64::from(left.owner);
        self.applied.xattrs_skipped += left.xattrs;
        Ok(())
    }

    /// The directory at `path`, made if only this name implies it.
    fn directory(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some((last, handle)) = &self.last_parent
            && last == path
        {
            return Ok(handle.clone());
        }
        let handle = match self.root.open_in(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.errno() == nix::errno::Errno::ENOENT => self.imply(path)?,
            result => result?,
        };
        let handle = Rc::new(handle);
        self.last_parent = Some((path.to_owned(), handle.clone()));
        Ok(handle)
    }

    /// Makes a directory that no member described.
    fn imply(&mut self, path: &Path) -> Result<OwnedFd> {
        let missing = |path: &&Path| self.root.open_in(path, OFlags::PATH).is_err();
        let made: Vec<PathBuf> = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        self.implied_so_far += path.components().count() as u64;
        if self.implied_so_far > self.options.limits.entries {
            return Err(Error::Limit { limit: self.options.limits.entries, what: "implied directories" });
        }
        let handle = self.root.mkdir_all(path, IMPLIED)?;
        for path in made {
            // Not left to the umask of whoever extracts. A dangling link got its directory elsewhere: that one keeps it.
            if let Ok(directory) = self.root.open_in(&path, OFlags::RDONLY | DIRECTORY) {
                rustix::fs::fchmod(&directory, IMPLIED).during("chmod", path.display())?;
                self.implied.insert(path);
            }
        }
        Ok(handle)
    }

    /// Something was removed: a handle may be of a directory that is gone now, and notes are about nothing.
    fn forget(&mut self, path: &Path) {
        self.last_parent = None;
        self.late.remove(path);
        // Paths are ordered by their components, so all below this one stand together.
        let gone = self.implied.range(path.to_owned()..).take_while(|implied| implied.starts_with(path));
        for implied in gone.cloned().collect::<Vec<_>>() {
            self.implied.remove(&implied);
        }
    }
}
