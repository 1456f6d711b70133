//! Applying an archive to a directory: the one place where a stranger's bytes become files.

use std::io::Read;
use std::path::PathBuf;

use rootfs::Root;
use serde::{Deserialize, Serialize};

use crate::archive::{Limits, Members};
use crate::error::{Error, Result};
use crate::idmap::Ids;
use crate::member::Member;
use crate::tree::Tree;
use crate::whiteout::Mark;

/// How to apply an archive.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// What the archive may ask for at most.
    pub limits: Limits,
    /// What to do about owners and devices that cannot be made here.
    pub ownership: Ownership,
    /// What to do about names of the layers below.
    pub below: Below,
}

/// What an archive may assume to be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// Nothing: it is all there is. A hard link to a file that it does not have is an error.
    Nothing,
    /// Layers that are not known yet. What depends on them is noted as [`OpenEnds`], to be made once they are.
    Unknown,
}

/// What cannot be made without the layers below.
///
/// Layers are extracted alone, so that images can share them. Nearly all can be: builders write each directory above a
/// file that they write, and a file whenever they write a second name of it. But the specification asks for
/// neither, and some archives rely on the files below them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenEnds {
    /// Directories that only longer names imply. If there is one below, its owner, mode and times count.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::escaped::list")]
    pub implied: Vec<PathBuf>,
    /// Hard links, each with its target, which can only be in a layer below.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::escaped::pairs")]
    pub links: Vec<(PathBuf, PathBuf)>,
}

impl OpenEnds {
    /// Whether the layer is the same on whatever it lies.
    pub fn is_empty(&self) -> bool {
        self.implied.is_empty() && self.links.is_empty()
    }
}

/// What to do where this process may not make a file as the archive says: owners that do not exist in its user
/// namespace, device nodes, some attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Fail.
    Exact,
    /// Leave the file to whoever applies it, without setuid and setgid, skip device nodes, and count both.
    WherePossible,
}

impl Ownership {
    /// What suits this process: only the host's root can give every file its owner.
    pub fn here() -> Self {
        match Ids::here() {
            Ids::Host if rustix::process::geteuid().is_root() => Self::Exact,
            _ => Self::WherePossible,
        }
    }
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), ownership: Ownership::here(), below: Below::Nothing }
    }
}

/// What applying an archive did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Files, directories, links and so on that were made.
    pub entries: u64,
    /// Bytes of regular files, each hard-linked file once.
    pub bytes: u64,
    /// Whiteouts and opaque directories.
    pub whiteouts: u64,
    /// Files whose owner does not exist here.
    pub owners_ignored: u64,
    /// Device nodes that cannot be made here.
    pub devices_skipped: u64,
    /// Extended attributes that are not for layers to set, or that this file system does not take.
    pub xattrs_skipped: u64,
    /// What depends on the layers below.
    pub open_ends: OpenEnds,
}

/// Applies an uncompressed archive to the directory `into`, which should be empty.
///
/// The result is one layer in overlayfs's own form: whiteouts are devices, not `.wh.` files. Nothing outside
/// `into` is read or changed, whatever the archive says: names are checked, every path is resolved inside the root by the
/// kernel, and what a member replaces is removed first and never written through.
///
/// The archive is read up to its end mark; what follows it is left to the caller, who must still hash it.
///
/// # Errors
/// [`Error::Archive`] or [`Error::Member`] name the member; [`Error::Limit`]; [`Error::Read`]. What was made before stays in
/// `into`: extract into a fresh directory and throw it away on error, as [`Snapshots`](crate::Snapshots) does.
///
/// # References
/// OCI image specification, layer.md, "Applying Changesets"
// spine
pub fn apply(archive: impl Read, into: &Root, options: &ApplyOptions) -> Result<Applied> {
    let mut members = Members::new(archive, options.limits);
    let mut tree = Tree::new(into, options);
    while let Some(member) = members.next_member()? {
        let refused = |reason| Error::Archive { member: member.number, path: shown(&member), reason };
        let done = match Mark::of(&member.path).map_err(refused)? {
            Mark::None => tree.lay(&member, &mut members.body()),
            Mark::Gone(parent, name) => tree.hide(&parent, &name),
            Mark::Opaque(directory) => tree.hide_all_below(&directory),
            Mark::Ignored => Ok(()),
        };
        done.map_err(|error| match error {
            Error::Call(reason) => Error::Member { member: member.number, path: shown(&member), reason },
            other => other,
        })?;
    }
    tree.finish()
}

fn shown(member: &Member) -> String {
    member.path.display().to_string()
}
