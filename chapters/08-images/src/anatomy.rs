//! What an image is made of, file by file: which layer adds, changes or hides which, and how many bytes nobody can see.
//!
//! A layer can only add. A file that a later layer changes or removes still travels, and lies on the disk, below the
//! one that hides it:
//!
//! ```text
//! layer 3   .wh.cache          removes cache/: 90 MB are hidden, and not saved
//! layer 2   app (2 MB)         changes app: the 1 MB below is hidden
//! layer 1   app (1 MB)  cache/big (90 MB)
//!                              efficiency: 2 of 93 MB can be seen
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use layers::archive::Members;
use layers::member::{Kind, Member};
use layers::whiteout::Mark;
use layers::{DiffId, Digest, Limits};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::store::Store;

/// What a layer does to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there.
    Added,
    /// It was there, and this one takes its place.
    Changed,
    /// It is there no more.
    Removed,
    /// A directory of which everything that was in it is there no more.
    Emptied,
}

impl Change {
    /// One letter, as `docker diff` has them.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Removed | Self::Emptied => 'D',
        }
    }
}

/// A path in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerFile {
    /// Relative to the root.
    pub path: PathBuf,
    /// What the layer does to it.
    pub change: Change,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes of its content; 0 for everything but a regular file, and for a second name of one.
    pub size: u64,
    /// The layer, counted from 0, that changes or removes it later; none if it can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_by: Option<usize>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerAnatomy {
    /// What it changes, by name.
    pub diff_id: DiffId,
    /// How it travels, by name.
    pub digest: Digest,
    /// Bytes on the way.
    pub packed: u64,
    /// What made it, if the history says.
    pub created_by: String,
    /// Its paths, in order.
    pub files: Vec<LayerFile>,
}

impl LayerAnatomy {
    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Bytes of those of its files that a later layer hides.
    pub fn wasted(&self) -> u64 {
        self.files.iter().filter(|file| file.hidden_by.is_some()).map(|file| file.size).sum()
    }
}

/// An image's layers, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Anatomy {
    /// The layers.
    pub layers: Vec<LayerAnatomy>,
}

impl Anatomy {
    /// Reads all of an image's layers.
    ///
    /// # Errors
    /// A layer that is missing or damaged.
    pub fn of(store: &Store, image: &Image) -> Result<Self> {
        let mut steps = image.config.history.iter().filter(|step| !step.empty_layer);
        let mut dissection = Dissection::default();
        for (blob, diff_id) in image.manifest.layers.iter().zip(image.diff_ids()) {
            let created_by = steps.next().and_then(|step| step.created_by.clone().or(step.comment.clone()));
            let (digest, packed) = (blob.digest, blob.size);
            let limits = Limits::default();
            let archive = layers::decompress(store.blob(&digest)?, limits.bytes);
            let archive = archive.map_err(|reason| Error::Transfer { digest, reason })?;
            let files = dissection.layer(archive, limits)?;
            dissection.anatomy.layers.push(LayerAnatomy {
                diff_id: *diff_id,
                digest,
                packed,
                created_by: created_by.unwrap_or_default(),
                files,
            });
        }
        Ok(dissection.anatomy)
    }

    /// Bytes of all files of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(LayerAnatomy::size).sum()
    }

    /// Bytes that no container can see.
    pub fn wasted(&self) -> u64 {
        self.layers.iter().map(LayerAnatomy::wasted).sum()
    }

    /// How much of the image can be seen, in percent; an image without files wastes none.
    pub fn efficiency(&self) -> u64 {
        ((self.size() - self.wasted()) * 100).checked_div(self.size()).unwrap_or(100)
    }
}

/// Where a path that can be seen stands: the layer, and its place there.
type Place = (usize, usize);

/// Layers being read, lowest first.
#[derive(Default)]
struct Dissection {
    anatomy: Anatomy,
    visible: BTreeMap<PathBuf, Place>,
}

impl Dissection {
    /// Reads one layer: its files, and what it does to those below.
    fn layer(&mut self, archive: impl Read, limits: Limits) -> Result<Vec<LayerFile>> {
        let mut archive = archive;
        let mut members = Members::new(&mut archive, limits);
        let (mut marks, mut own) = (Vec::new(), Vec::new());
        while let Some(member) = members.next_member()? {
            match Mark::of(&member.path) {
                Ok(Mark::None) if member.path.as_os_str().is_empty() => {}
                Ok(Mark::None) => own.push(member),
                Ok(Mark::Gone(parent, name)) => marks.push((parent.join(name), Change::Removed)),
                Ok(Mark::Opaque(directory)) => marks.push((directory, Change::Emptied)),
                Ok(Mark::Ignored) => {}
                Err(reason) => {
                    return Err(layers::Error::Archive {
                        member: member.number,
                        path: member.path.display().to_string(),
                        reason,
                    }
                    .into());
                }
            }
        }
        // The archive may go on behind its end mark, and only behind that is its digest compared.
        io::copy(&mut archive, &mut io::sink()).map_err(layers::Error::Read)?;
        let here = self.anatomy.layers.len();
        let mut files = Vec::new();
        // Whiteouts are about the layers below, wherever in the archive they stand.
        for (path, change) in marks {
            let directory = self.is_directory(&path);
            if change == Change::Removed {
                self.hide(&path, here);
            }
            self.hide_below(&path, here);
            files.push(LayerFile { path, change, directory, size: 0, hidden_by: None });
        }
        for member in own {
            let file = self.lay(&member, here);
            self.visible.insert(member.path, (here, files.len()));
            files.push(file);
        }
        self.sort(here, &mut files);
        Ok(files)
    }

    /// One member over what was there.
    fn lay(&mut self, member: &Member, here: usize) -> LayerFile {
        let path = member.path.clone();
        let directory = member.kind == Kind::Directory;
        let was_there = self.visible.get(&path).is_some_and(|(layer, _)| *layer < here);
        if was_there {
            // Directories merge, and nothing of either is hidden.
            if !(directory && self.is_directory(&path)) {
                self.hide(&path, here);
                self.hide_below(&path, here);
            }
        }
        let size = match &member.kind {
            Kind::File(size) => *size,
            Kind::Sparse(map) => map.segments.iter().map(|segment| segment.length).sum(),
            _ => 0,
        };
        let change = if was_there { Change::Changed } else { Change::Added };
        LayerFile { path, change, directory, size, hidden_by: None }
    }

    fn is_directory(&self, path: &Path) -> bool {
        let below =
            |place: &Place| self.anatomy.layers.get(place.0).is_some_and(|layer| layer.files[place.1].directory);
        self.visible.get(path).is_some_and(below)
    }

    /// Notes that a path of a lower layer cannot be seen from layer `here` on.
    fn hide(&mut self, path: &Path, here: usize) {
        let Some((layer, file)) = self.visible.remove(path) else { return };
        if let Some(layer) = self.anatomy.layers.get_mut(layer) {
            layer.files[file].hidden_by = Some(here);
        }
    }

    /// The same for everything below a path.
    fn hide_below(&mut self, path: &Path, here: usize) {
        let bounds = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
        let behind = self.visible.range::<PathBuf, _>(bounds).map(|(path, _)| path);
        // In the order of paths, what is below a directory comes right behind it.
        let below: Vec<PathBuf> = behind.take_while(|other| other.starts_with(path)).cloned().collect();
        for path in below {
            // What this very layer adds is not hidden by its own whiteouts.
            if self.visible.get(&path).is_some_and(|(layer, _)| *layer < here) {
                self.hide(&path, here);
            }
        }
    }

    /// Puts a layer's files in order, and says where they are now.
    fn sort(&mut self, here: usize, files: &mut [LayerFile]) {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        for (place, file) in files.iter().enumerate() {
            if let Some(visible) = self.visible.get_mut(&file.path)
                && visible.0 == here
            {
                visible.1 = place;
            }
        }
    }
}

#[cfg(test)]
#[path = "anatomy_tests.rs"]
mod tests;
