//! From the names of layers to directories that can be stacked, and what a layer takes from those below it.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use process::state::read_json_if_there;
use process::{CallError, During};
use rootfs::Root;
use serde::{Deserialize, Serialize};

use crate::apply::{ApplyOptions, OpenEnds};
use crate::below::{Lower, Shown};
use crate::digest::{ChainId, DiffId};
use crate::disk;
use crate::draft::Draft;
use crate::error::Result;
use crate::member::{Kind, Member};
use crate::overlay::Overlay;
use crate::snapshots::{NOTE, Snapshots};
use crate::staging::Staging;
use crate::tree::Tree;
use crate::whiteout;

/// What is known about a mend; its `layer.json`.
#[derive(Debug, Serialize, Deserialize)]
struct MendNote {
    /// The layer whose open ends these are.
    layer: DiffId,
    /// Nothing below mattered.
    empty: bool,
}

impl Snapshots {
    /// The directories of a stack, **topmost first**, for `layers`, lowest first.
    ///
    /// These are the layers' own directories, with three exceptions. A layer that occurs twice is stacked once, at its
    /// highest place, where it hides the lower one anyway; the kernel refuses a directory that it has already. A layer
    /// whose root is opaque ends the stack: the kernel looks for that mark everywhere but there. And what a
    /// layer left open ([`OpenEnds`]) is made now, in a small layer right above it:
    ///
    /// ```text
    /// layer 3
    /// mend     "b" (a second name of layer 1's "a"), "a" (copied up), "tmp/" (mode as in layer 1)
    /// layer 2  the archive says: "b" is a hard link to "a"; "tmp/new" is a file
    /// layer 1  "a", "tmp/"
    /// ```
    ///
    /// # Errors
    /// [`Error::NoLayer`](crate::Error::NoLayer); a hard link to a file that no layer below has.
    pub fn stack(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>> {
        let mut stack = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let note = self.note(layer)?;
            let files = self.dir(layer);
            let root = disk::open_directory(Root::open(&files)?.as_fd(), OsStr::new("."));
            if whiteout::is_opaque(root.during("open", files.display())?) {
                stack.clear();
            }
            let mend = match note.open_ends.is_empty() {
                true => None,
                false => self.mend(&layers[..=index], &files, &stack, &note.open_ends)?,
            };
            stack.retain(|there| *there != files);
            stack.push(files);
            stack.extend(mend);
        }
        stack.reverse();
        Ok(stack)
    }

    /// A stack to look at: nothing can be written into it.
    ///
    /// # Errors
    /// Those of [`stack`](Self::stack).
    pub fn view(&self, layers: &[DiffId]) -> Result<Overlay> {
        Ok(Overlay { lower: self.stack(layers)?, ..Overlay::default() })
    }

    /// A stack to change: a directory under way takes what is written. It is gone with the [`Draft`], or with this process.
    ///
    /// # Errors
    /// Those of [`stack`](Self::stack) and of making directories.
    pub fn prepare(&self, layers: &[DiffId]) -> Result<Draft> {
        Draft::new(Staging::new(self.root())?, self.stack(layers)?)
    }

    /// The mend that belongs between `chain`'s last layer and what comes above it; made once and kept.
    fn mend(&self, chain: &[DiffId], files: &Path, below: &[PathBuf], ends: &OpenEnds) -> Result<Option<PathBuf>> {
        let [.., layer] = chain else { return Ok(None) };
        let Some(id) = ChainId::of(chain) else { return Ok(None) };
        let home = self.root().join("mend").join(id.0.hex());
        let note = match read_json_if_there::<MendNote>(&home.join(NOTE))? {
            Some(note) => note,
            None => {
                let staging = Staging::new(self.root())?;
                let root = Root::open(&staging.files())?;
                let below: Vec<PathBuf> = below.iter().rev().cloned().collect();
                let entries = Mending::new(&root, files, below)?.make(ends)?;
                let note = MendNote { layer: *layer, empty: entries == 0 };
                self.commit(staging, &home, &note)?;
                note
            }
        };
        Ok((!note.empty).then(|| home.join("fs")))
    }

    /// The mends that were made for a layer.
    pub(crate) fn mends_of(&self, layer: &DiffId) -> Result<Vec<PathBuf>> {
        let dir = self.root().join("mend");
        let mut mends = Vec::new();
        for entry in fs::read_dir(&dir).during("readdir", dir.display())? {
            let home = entry.during("readdir", dir.display())?.path();
            if read_json_if_there::<MendNote>(&home.join(NOTE))?.is_some_and(|note| note.layer == *layer) {
                mends.push(home);
            }
        }
        Ok(mends)
    }
}

/// A mend being made.
struct Mending<'a> {
    files: &'a Root,
    /// The layers below.
    below: Lower,
    /// Those, and the layer itself.
    with_layer: Lower,
}

impl<'a> Mending<'a> {
    fn new(files: &'a Root, layer: &Path, below: Vec<PathBuf>) -> Result<Self> {
        let with_layer = [vec![layer.to_owned()], below.clone()].concat();
        Ok(Self { files, below: Lower::open(&below)?, with_layer: Lower::open(&with_layer)? })
    }

    /// Makes it; the number of things that it holds.
    fn make(&self, ends: &OpenEnds) -> Result<u64> {
        let options = ApplyOptions::default();
        let mut tree = Tree::new(self.files, &options);
        // From the top down, as the names are sorted: a directory before what is in it.
        for path in &ends.implied {
            if self.below.has_directory(path)? {
                self.lay_directories(&mut tree, ends, Some(path))?;
            }
        }
        for (link, target) in &ends.links {
            let missing = || CallError::refused("link to", target.display(), "no such file in the layers below");
            let file = self.below.find(target)?.filter(|file| !file.is_directory()).ok_or_else(missing)?;
            self.lay_directories(&mut tree, ends, target.parent())?;
            self.lay_directories(&mut tree, ends, link.parent())?;
            let member = Member::found(&file.parent, &file.name, target, &file.stat)?;
            match &member.kind {
                Kind::File(_) => tree.lay(&member, &mut file.open()?)?,
                _ => tree.lay(&member, &mut std::io::empty())?,
            }
            tree.lay(
                &Member { path: link.clone(), kind: Kind::HardLink(target.clone()), ..member },
                &mut std::io::empty(),
            )?;
        }
        Ok(tree.finish()?.entries)
    }

    /// Makes a directory and all above it as the stack shows them, for a mend is itself a layer.
    fn lay_directories(&self, tree: &mut Tree<'_>, ends: &OpenEnds, path: Option<&Path>) -> Result<()> {
        let ancestors = path.into_iter().flat_map(Path::ancestors).filter(|path| !path.as_os_str().is_empty());
        for path in ancestors.collect::<Vec<_>>().into_iter().rev() {
            if tree.has(path) {
                continue;
            }
            let implied = ends.implied.binary_search_by(|implied| implied.as_path().cmp(path)).is_ok();
            let below = if implied { self.below.find(path)?.filter(Shown::is_directory) } else { None };
            let shown = match below {
                Some(shown) => Some(shown),
                None => self.with_layer.find(path)?.filter(Shown::is_directory),
            };
            if let Some(shown) = shown {
                tree.lay(&Member::found(&shown.parent, &shown.name, path, &shown.stat)?, &mut std::io::empty())?;
            }
        }
        Ok(())
    }
}
