//! Files on their way into a container and out of it: archives without whiteouts, laid into trees that are in use.
//!
//! The trees belong to a stranger, who may be changing them while we copy: a directory that was there when its name was
//! looked up may be a link to somewhere else a moment later (CVE-2018-15664). So no name is looked up twice. Every path is
//! resolved inside the root by the kernel, to a descriptor, and everything else is done with that.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use process::{CallError, During};
use rootfs::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use crate::apply::{ApplyOptions, Ownership};
use crate::archive::{Limits, Members};
use crate::below::stat;
use crate::diff::Writing;
use crate::disk::{self, Found};
use crate::error::Result;
use crate::member::{Kind, Member};
use crate::tree::Tree;

/// So many links in a row are followed, as by the kernel.
const LINKS: usize = 40;

/// Writes what is at `path` in `root`, and all that is below it, as an archive whose names begin with `name`.
///
/// A link at the end of `path` is archived as a link. Sockets are left out: an archive has no place for them. Returns the
/// archive's length in bytes.
///
/// # Errors
/// Those of reading the tree, and [`Error::Write`](crate::Error::Write).
pub fn pack(root: &Root, path: &Path, name: &Path, out: impl Write) -> Result<u64> {
    let path = lexical(path);
    let mut writing = Writing::new(out);
    let top = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parent, last) = match path.as_os_str().is_empty() {
        true => (root.open_in(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?, OsStr::new(".").to_owned()),
        false => root.parent(&path)?,
    };
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let there = rustix::fs::statat(&parent, last.as_os_str(), flags).during("stat", path.display())?;
    match FileType::from_raw_mode(there.st_mode) {
        FileType::Directory => {
            let directory = rustix::fs::openat(&parent, last.as_os_str(), top, Mode::empty());
            let directory = Root::from(directory.during("open", path.display())?);
            writing.member(&Found { parent: parent.as_fd(), name: &last, path: name, stat: there })?;
            disk::walk::<crate::Error>(&directory, &mut |found| match FileType::from_raw_mode(found.stat.st_mode) {
                FileType::Socket => Ok(()),
                _ => writing.member(&Found { path: &name.join(found.path), ..*found }),
            })?;
        }
        FileType::Socket => return Err(CallError::refused("archive", path.display(), "a socket").into()),
        _ => writing.member(&Found { parent: parent.as_fd(), name: &last, path: name, stat: there })?,
    }
    Ok(writing.finish()?.size)
}

/// How [`unpack`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacking {
    /// Whose everything becomes; what the archive says if absent.
    pub owner: Option<(u32, u32)>,
}

/// Lays an uncompressed archive into `root`, below the directory `under`.
///
/// What has the name of a member is replaced by it, and directories are merged; but no directory gives way to
/// anything else, and nothing else to a directory. Names are files' names, whiteouts' too.
///
/// # Errors
/// A malformed archive, a member of another kind than what is there, and those of making files. What was laid before stays.
pub fn unpack(archive: impl Read, root: &Root, under: &Path, unpacking: Unpacking) -> Result<()> {
    let options = ApplyOptions { limits: Limits::default(), ownership: Ownership::here(), ..ApplyOptions::default() };
    let under = lexical(under);
    let mut members = Members::new(archive, options.limits);
    let mut tree = Tree::new(root, &options);
    while let Some(mut member) = members.next_member()? {
        // The directory itself is the caller's.
        if member.path.as_os_str().is_empty() {
            continue;
        }
        member.path = under.join(&member.path);
        if let Kind::HardLink(target) = &mut member.kind {
            *target = under.join(&*target);
        }
        if let Some((uid, gid)) = unpacking.owner {
            (member.uid, member.gid) = (uid, gid);
        }
        of_one_kind(root, &member)?;
        tree.lay(&member, &mut members.body())?;
    }
    tree.finish().map(drop)
}

/// Refuses a member that would put a directory in the place of something else, or the other way round.
fn of_one_kind(root: &Root, member: &Member) -> Result<()> {
    let Ok((parent, name)) = root.parent(&member.path) else { return Ok(()) };
    let Some(there) = stat(&parent, &name)? else { return Ok(()) };
    let was = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
    let reason = match (was, member.kind == Kind::Directory) {
        (true, false) => "a directory is there, and is not replaced by anything else",
        (false, true) => "something is there, and is not replaced by a directory",
        _ => return Ok(()),
    };
    Err(CallError::refused("copy to", member.path.display(), reason).into())
}

/// What is at the end of a path.
#[derive(Debug, Clone)]
pub struct Place {
    /// The thing itself, a link perhaps.
    pub stat: Stat,
    /// Where the link leads in the end, as a path in the root; for anything else its own path.
    pub target: PathBuf,
}

/// Looks at the end of a path in a root. A link that leads nowhere is still there.
///
/// # Errors
/// ENOENT and the like; ELOOP after 40 links.
pub fn look(root: &Root, path: &Path) -> Result<Place, CallError> {
    let mut here = lexical(path);
    let mut first = None;
    for _ in 0..LINKS {
        let (stat, text) = glance(root, &here)?;
        let stat = *first.get_or_insert(stat);
        match text {
            None => return Ok(Place { stat, target: Path::new("/").join(here) }),
            Some(text) => {
                let next = lexical(&here.parent().unwrap_or(Path::new("")).join(text));
                if glance(root, &next).is_err() {
                    return Ok(Place { stat, target: Path::new("/").join(next) });
                }
                here = next;
            }
        }
    }
    Err(CallError::new("look at", path.display(), nix::errno::Errno::ELOOP))
}

/// What is there, and where it leads if it is a link.
fn glance(root: &Root, path: &Path) -> Result<(Stat, Option<PathBuf>), CallError> {
    if path.as_os_str().is_empty() {
        return Ok((rustix::fs::fstat(root.as_fd()).during("stat", "/")?, None));
    }
    let (parent, name) = root.parent(path)?;
    let stat =
        rustix::fs::statat(&parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).during("stat", path.display())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok((stat, None));
    }
    let text = rustix::fs::readlinkat(&parent, name.as_os_str(), Vec::new()).during("readlink", path.display())?;
    Ok((stat, Some(PathBuf::from(OsString::from_vec(text.into_bytes())))))
}

/// The path below the root, without `.` and `..`: as a person who typed it means it.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            // An absolute link begins at the root again.
            Component::RootDir => clean.clear(),
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn a_tree_is_packed_under_another_name_and_laid_where_links_of_the_root_lead() {
        let (from, source) = root();
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        fs::write(from.path().join("a/b/.wh.file"), "not a whiteout").unwrap();
        fs::hard_link(from.path().join("a/b/.wh.file"), from.path().join("a/second")).unwrap();
        let mut archive = Vec::new();
        let size = pack(&source, Path::new("/a"), Path::new("run"), &mut archive).unwrap();
        assert_eq!(size, archive.len() as u64);

        let (into, target) = root();
        fs::create_dir_all(into.path().join("real/run")).unwrap();
        fs::write(into.path().join("real/run/old"), "stays").unwrap();
        symlink("/real", into.path().join("var")).unwrap();
        unpack(archive.as_slice(), &target, Path::new("/var"), Unpacking::default()).unwrap();
        let run = into.path().join("real/run");
        assert_eq!(fs::read_to_string(run.join("b/.wh.file")).unwrap(), "not a whiteout");
        assert_eq!(fs::read_to_string(run.join("second")).unwrap(), "not a whiteout");
        assert_eq!(fs::read_to_string(run.join("old")).unwrap(), "stays");
    }

    #[test]
    fn directories_and_files_do_not_take_each_other_s_place() {
        let (from, source) = root();
        fs::create_dir(from.path().join("directory")).unwrap();
        fs::write(from.path().join("file"), "").unwrap();
        let packed = |path: &str, name: &str| {
            let mut archive = Vec::new();
            pack(&source, Path::new(path), Path::new(name), &mut archive).unwrap();
            archive
        };
        let (into, target) = root();
        fs::create_dir_all(into.path().join("full/inside")).unwrap();
        fs::write(into.path().join("there"), "precious").unwrap();
        symlink("full", into.path().join("link")).unwrap();
        for (path, name) in [("file", "full"), ("directory", "there"), ("directory", "link")] {
            let archive = packed(path, name);
            unpack(archive.as_slice(), &target, Path::new(""), Unpacking::default()).unwrap_err();
        }
        assert!(into.path().join("full/inside").exists());
        assert_eq!(fs::read_to_string(into.path().join("there")).unwrap(), "precious");
        // A file takes the place of a link, and what that leads to stays as it is.
        unpack(packed("file", "link").as_slice(), &target, Path::new("/"), Unpacking::default()).unwrap();
        assert!(into.path().join("full/inside").exists() && into.path().join("link").is_file());
    }

    #[test]
    fn a_look_ends_where_links_lead_and_never_outside() {
        let (directory, root) = root();
        fs::create_dir(directory.path().join("run")).unwrap();
        symlink("/run", directory.path().join("first")).unwrap();
        symlink("../../../first", directory.path().join("second")).unwrap();
        symlink("loop", directory.path().join("loop")).unwrap();
        symlink("/nowhere", directory.path().join("dangling")).unwrap();
        let target = |path: &str| look(&root, Path::new(path)).map(|place| place.target);
        assert_eq!(target("/second").unwrap(), Path::new("/run"));
        assert_eq!(target("run/../../x/../run").unwrap(), Path::new("/run"));
        assert_eq!(target("dangling").unwrap(), Path::new("/nowhere"));
        assert_eq!(target("/").unwrap(), Path::new("/"));
        assert_eq!(target("loop").unwrap_err().errno(), nix::errno::Errno::ELOOP);
        assert_eq!(target("missing").unwrap_err().errno(), nix::errno::Errno::ENOENT);
    }

    /// What docker did: the name is looked up and found to be inside, and then used again.
    fn naive_unpack(root: &Path, under: &str, name: &str) -> std::io::Result<()> {
        let found = fs::canonicalize(root.join(under))?;
        if !found.starts_with(root) {
            return Err(std::io::Error::other("outside"));
        }
        fs::write(root.join(under).join(name), "planted")
    }

    /// CVE-2018-15664: a directory is exchanged for a link to the outside while files are copied into it.
    #[test]
    fn a_directory_that_is_exchanged_for_a_link_leads_nobody_outside() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (directory, root) = root();
        let outside = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir(place.join("x")).unwrap();
        symlink(outside.path(), place.join("link")).unwrap();
        let mut archive = Vec::new();
        let (from, source) = self::root();
        fs::write(from.path().join("file"), "planted").unwrap();
        pack(&source, Path::new("file"), Path::new("file"), &mut archive).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let dir = fs::File::open(&place).unwrap();
                while !over.load(Ordering::Relaxed) {
                    let exchange = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(&dir, "x", &dir, "link", exchange).unwrap();
                }
            });
            for _ in 0..2_000 {
                // Where the link stands in the root, it leads to the root's own directory of that name, which is not there.
                let _ = unpack(archive.as_slice(), &root, Path::new("/x"), Unpacking::default());
            }
            let escaped = fs::read_dir(outside.path()).unwrap().count();
            let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while fs::read_dir(outside.path()).unwrap().count() == 0 && std::time::Instant::now() < end {
                let _ = naive_unpack(&place, "x", "naive");
            }
            over.store(true, Ordering::Relaxed);
            assert_eq!(escaped, 0);
        });
        assert!(outside.path().join("naive").exists(), "a test that the naive way passes shows nothing");
        assert!(!outside.path().join("file").exists());
    }
}
