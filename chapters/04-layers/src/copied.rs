//! Where the kernel has no overlayfs: a stack laid out as one plain tree, and what was changed in it.
//!
//! ```text
//! overlay   layers -- mount --> a tree     changes are caught in the upper directory as they happen
//! copied    layers -- copy ---> a tree     changes are found afterwards, by comparing every file
//! ```
//!
//! The result is the same archive; the price is a copy of the image for each container, and twice the reading.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use process::{CallError, During, step};
use rootfs::Root;
use rustix::fs::FileType;

use crate::apply::{Applied, ApplyOptions, apply};
use crate::archive::Limits;
use crate::below::{Lower, Shown, open_file};
use crate::diff::{Diff, Writing};
use crate::disk::{self, Found};
use crate::error::Result;
use crate::member::{Kind, Member};
use crate::overlay::Overlay;
use crate::tree::Tree;
use crate::whiteout;

/// Lays the layers `lower` (topmost first) out in the directory `into`, as an overlay would show them.
///
/// # Errors
/// Those of reading the layers and of making files.
pub fn lay_out(lower: &[PathBuf], into: &Root) -> Result<Applied> {
    // These layers were bounded when they came out of archives.
    let limits = Limits { entries: u64::MAX, ..Limits::default() };
    let options = ApplyOptions { limits, ..ApplyOptions::default() };
    let mut tree = Tree::new(into, &options);
    for layer in lower.iter().rev() {
        step!(4, "copy", "read(2)", "lay a layer over those below it", "{}", layer.display());
        lay_layer(&mut tree, &Root::open(layer)?)?;
    }
    tree.finish()
}

fn lay_layer(tree: &mut Tree<'_>, layer: &Root) -> Result<()> {
    let here = OsStr::new(".");
    let stat = rustix::fs::fstat(layer.as_fd()).during("stat", "/")?;
    tree.lay(&Member::found(layer.as_fd(), here, Path::new(""), &stat)?, &mut io::empty())?;
    let mut first_names = HashMap::new();
    disk::walk(layer, &mut |found| {
        let stat = &found.stat;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            return Ok(());
        }
        if whiteout::is_whiteout(found.parent, found.name, stat) {
            return tree.clear(found.path);
        }
        let mut member = Member::found(found.parent, found.name, found.path, stat)?;
        if kind == FileType::Directory {
            let directory = disk::open_directory(found.parent, found.name).during("open", found.path.display())?;
            if whiteout::is_opaque(directory) {
                tree.clear(found.path)?;
            }
        } else if stat.st_nlink > 1 {
            let first = first_names.entry(stat.st_ino).or_insert_with(|| found.path.to_owned());
            if *first != found.path {
                member.kind = Kind::HardLink(first.clone());
            }
        }
        match &member.kind {
            Kind::File(_) => tree.lay(&member, &mut open_file(found.parent, found.name)?),
            _ => tree.lay(&member, &mut io::empty()),
        }
    })
}

/// Where a stack without overlayfs is one tree: a directory below its work directory, laid out when it is asked for first.
///
/// It is laid out under another name. A copy that was interrupted is begun again.
///
/// # Errors
/// A stack that takes no changes; those of [`lay_out`].
pub fn tree(overlay: &Overlay) -> Result<PathBuf> {
    let Some((_, work)) = &overlay.upper_work else {
        return Err(CallError::refused("copy", "the layers", "there is no directory to copy them to").into());
    };
    let (tree, unfinished) = (work.join("tree"), work.join("unfinished"));
    if !tree.exists() {
        disk::remove_all(&unfinished)?;
        std::fs::create_dir_all(&unfinished).during("mkdir", unfinished.display())?;
        lay_out(&overlay.lower, &Root::open(&unfinished)?)?;
        std::fs::rename(&unfinished, &tree).during("rename", tree.display())?;
    }
    Ok(tree)
}

/// Makes the upper directory anew, as an overlay would have left it: all that the tree changes of the layers below, and
/// nothing else.
pub(crate) fn settle(overlay: &Overlay, upper: &Path) -> Result<()> {
    let beside = upper.parent().unwrap_or(upper);
    let mut archive = tempfile::tempfile_in(beside).during("make a file in", beside.display())?;
    diff_trees(&overlay.lower, &Root::open(&tree(overlay)?)?, io::BufWriter::new(&archive))?;
    archive.rewind().during("lseek", "an archive of changes")?;
    let made = tempfile::tempdir_in(beside).during("mkdir", beside.display())?;
    // These files were bounded by the disk that they are on.
    let limits = Limits { entries: u64::MAX, bytes: u64::MAX, ..Limits::default() };
    let options = ApplyOptions { limits, ..ApplyOptions::default() };
    apply(BufReader::new(archive), &Root::open(made.path())?, &options)?;
    dress_root(upper, made.path())?;
    disk::remove_all(upper)?;
    Ok(std::fs::rename(made.keep(), upper).during("rename", upper.display())?)
}

/// A change's root is in no archive: it keeps mode, owner and times.
fn dress_root(from: &Path, to: &Path) -> Result<()> {
    let stat = rustix::fs::stat(from).during("stat", from.display())?;
    let (from, to) = (Root::open(from)?, Root::open(to)?);
    let here = OsStr::new(".");
    let like = Member::found(from.as_fd(), here, Path::new(""), &stat)?;
    let options = ApplyOptions::default();
    let mut tree = Tree::new(&to, &options);
    tree.lay(&like, &mut io::empty())?;
    tree.finish().map(drop)
}

/// Writes what the tree `after` changes against the layers `before` (topmost first) as an archive, like
/// [`diff()`](crate::diff()), though nothing noted the changes.
///
/// Everything is compared, contents too: a program may set a file's time back after it wrote.
///
/// # Errors
/// Those of reading the trees, and [`Error::Write`](crate::Error::Write).
pub fn diff_trees(before: &[PathBuf], after: &Root, out: impl Write) -> Result<Diff> {
    let before = Lower::open(before)?;
    let comparison = Comparison::of(&before, after)?;
    let mut writing = Writing::new(out);
    writing.whiteouts(comparison.gone.get(Path::new("")))?;
    disk::walk(after, &mut |found| {
        if comparison.changed.contains(found.path) {
            writing.member(found)?;
        }
        writing.whiteouts(comparison.gone.get(found.path))
    })?;
    writing.finish()
}

/// What differs between two trees.
#[derive(Default)]
struct Comparison {
    /// Paths to write: what is new or another, and every directory above that.
    changed: BTreeSet<PathBuf>,
    /// For a directory, what is not there any more.
    gone: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Comparison {
    fn of(before: &Lower, after: &Root) -> Result<Self> {
        let mut this = Self::default();
        let mut links = Links::default();
        let top = disk::open_directory(after.as_fd(), OsStr::new(".")).during("open", "/")?;
        this.note_gone(before, Path::new(""), disk::names(&top).during("readdir", "/")?)?;
        disk::walk::<crate::Error>(after, &mut |found| {
            let kind = FileType::from_raw_mode(found.stat.st_mode);
            if kind == FileType::Socket {
                return Ok(());
            }
            let there = before.find(found.path)?;
            let changed = match &there {
                Some(there) => !same(there, found)?,
                None => true,
            };
            if changed {
                this.note_changed(found.path);
            }
            if kind == FileType::Directory {
                let directory = disk::open_directory(found.parent, found.name).during("open", found.path.display())?;
                let names = disk::names(&directory).during("readdir", found.path.display())?;
                if there.is_some_and(|there| there.is_directory()) {
                    this.note_gone(before, found.path, names)?;
                }
            } else {
                links.note(found, there.as_ref(), changed);
            }
            Ok(())
        })?;
        links.broken().for_each(|path| this.note_changed(path));
        Ok(this)
    }

    fn note_changed(&mut self, path: &Path) {
        let new = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        self.changed.extend(new.map(Path::to_owned));
    }

    fn note_gone(&mut self, before: &Lower, directory: &Path, now: Vec<std::ffi::OsString>) -> Result<()> {
        let now: HashSet<_> = now.into_iter().collect();
        let gone = before.names(directory)?.into_iter().filter(|name| !now.contains(name));
        let gone: Vec<PathBuf> = gone.map(|name| directory.join(name)).collect();
        if !gone.is_empty() {
            if !directory.as_os_str().is_empty() {
                self.note_changed(directory);
            }
            self.gone.insert(directory.to_owned(), gone);
        }
        Ok(())
    }
}

/// Files with several names. Names can be joined or parted without any file changing, and an archive can only say that
/// names belong together if it has all of them.
#[derive(Default)]
struct Links {
    /// Files as they are now.
    now: HashMap<Inode, Group>,
    /// For a file before: the files that its names are now.
    before: HashMap<Inode, BTreeSet<Inode>>,
}

/// Device and number.
type Inode = (u64, u64);

/// The names of one file.
#[derive(Default)]
struct Group {
    names: Vec<PathBuf>,
    /// What these were names of before.
    before: BTreeSet<Inode>,
    /// Whether any of them changed.
    changed: bool,
}

impl Links {
    fn note(&mut self, found: &Found<'_>, there: Option<&Shown>, changed: bool) {
        let now = (found.stat.st_dev, found.stat.st_ino);
        let group = self.now.entry(now).or_default();
        group.names.push(found.path.to_owned());
        group.changed |= changed;
        if let Some(there) = there {
            let before = (there.stat.st_dev, there.stat.st_ino);
            group.before.insert(before);
            self.before.entry(before).or_default().insert(now);
        }
    }

    /// Names of groups of which not everything is as it was.
    fn broken(&self) -> impl Iterator<Item = &Path> {
        let parted = |inode: &Inode| self.before.get(inode).is_some_and(|now| now.len() > 1);
        let broken = move |group: &&Group| group.changed || group.before.len() > 1 || group.before.iter().any(parted);
        self.now.values().filter(broken).flat_map(|group| group.names.iter().map(PathBuf::as_path))
    }
}

/// Whether a file, link, device or directory is the same as before.
fn same(there: &Shown, found: &Found<'_>) -> Result<bool> {
    let before = Member::found(&there.parent, &there.name, found.path, &there.stat)?;
    let now = Member::found(found.parent, found.name, found.path, &found.stat)?;
    match (before == now, &now.kind) {
        (true, Kind::File(_)) => {
            let (before, now) = (there.open()?, open_file(found.parent, found.name)?);
            Ok(same_bytes(before, now).during("compare", found.path.display())?)
        }
        (equal, _) => Ok(equal),
    }
}

fn same_bytes(one: File, other: File) -> io::Result<bool> {
    let open = |file| BufReader::with_capacity(1 << 16, file);
    let (mut one, mut other) = (open(one), open(other));
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let n = one.read(&mut ours)?;
        // The sizes were equal; a file that shrinks meanwhile is another one.
        match other.read_exact(&mut theirs[..n]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if n == 0 || ours[..n] != theirs[..n] {
            return Ok(n == 0);
        }
    }
}
