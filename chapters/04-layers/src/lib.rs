//! Chapter 4: layers: digests, archives, whiteouts, overlayfs.
//!
//! An image is a stack of changes. Each change travels as a tar archive, is named by what it contains,
//! and is laid on the changes below it by overlayfs, which also catches what a container changes in turn.
//! So one trip around this chapter is: archive -> [`Snapshots::extract`] -> [`Overlay::mount`] -> changes in the upper
//! directory -> `diff` -> archive.
//!
//! Archives come from strangers. They may name files outside, climb through symbolic links that they
//! planted themselves, or unpack a kilobyte into a terabyte; every one of these is a test of this chapter.
//!
//! # Reading order
//! - [`digest`], [`hashing`], [`compression`]: names made of content, and bytes that are not believed before their end
//! - [`archive`], `field`, `pax`, [`sparse`], `acl` and [`member`]: reading what a stranger wrote
//! - [`apply()`] (the spine), `tree` and `attributes`, with [`whiteout`]s: a stranger's bytes become files
//! - [`snapshots`], `staging`, `disk`: the store of extracted layers, whole or not there whatever is killed
//! - `escaped`: names that JSON cannot say, for the notes of that store
//! - `stack`, `below`, [`draft`]: layers by name, what one takes from those below it, and a new one over them
//! - [`overlay`]: stacking them, `joined`: on older kernels; [`step`]: the stack as a root
//! - [`stacking`]: where the kernel has no overlayfs for us: [`fuse`], a program's, or [`copied`]
//! - [`changes`], [`diff()`], [`tarball`]: from an upper directory back to an archive
//! - [`transfer`]: the same archives on the way into a container that is in use, and out of it
//! - [`view`]: layers side by side, for people
//! - [`idmap`]: what differs inside a user namespace

mod acl;
pub mod apply;
pub mod archive;
mod attributes;
mod below;
pub mod changes;
pub mod compression;
pub mod copied;
pub mod diff;
pub mod digest;
mod disk;
pub mod draft;
pub mod error;
mod escaped;
mod field;
pub mod fuse;
pub mod hashing;
pub mod idmap;
mod joined;
pub mod member;
pub mod overlay;
mod pax;
pub mod snapshots;
pub mod sparse;
mod stack;
pub mod stacking;
mod staging;
pub mod step;
pub mod tarball;
pub mod transfer;
mod tree;
pub mod view;
pub mod whiteout;

pub use apply::{Applied, ApplyOptions, Below, OpenEnds, Ownership, apply};
pub use archive::Limits;
pub use changes::{Change, ChangeKind, changes};
pub use compression::{Compression, decompress};
pub use copied::{diff_trees, lay_out};
pub use diff::{Diff, archive_layer, diff, diff_size};
pub use digest::{ChainId, DiffId, Digest, ParseDigestError};
pub use disk::Usage;
pub use draft::Draft;
pub use error::{Error, Result};
pub use hashing::{Hasher, HashingReader, Mismatch, VerifyingReader};
pub use overlay::{Durability, Overlay};
pub use snapshots::{LayerNote, Snapshots};
pub use stacking::{Choice, Stacked, Stacking};
pub use step::LayersStep;
pub use tarball::{Attributes, Tarball};
pub use transfer::{Place, Unpacking, look, pack, unpack};
pub use view::{Cell, Row, side_by_side};
