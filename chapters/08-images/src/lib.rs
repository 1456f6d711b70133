//! Chapter 8: the OCI image and its store.
//!
//! An image is four kinds of documents that name each other by digest:
//!
//! ```text
//! name -> index -> manifest -> config   how to run it, and the layers' diff ids
//!         (many    (one for  \-> layer   an archive, compressed or not
//!         platforms) one)     \-> layer
//! ```
//!
//! Because every arrow is a digest, whoever trusts the first one can check all the rest, wherever the bytes came
//! from. This chapter reads those documents with suspicion, keeps them in a directory that other tools can open, and lays
//! the layers out for [`layers`] to stack.
//!
//! # Reading order
//! - [`mod@reference`]: what a name means
//! - [`descriptor`], [`media`], [`manifest`], [`config`]: the documents
//! - [`store`], [`blob`], [`ingest`], `spare`, [`gc`], [`mod@taken`]: the store, a plain OCI image layout, and the disk that
//!   it takes
//! - [`verify`], [`repair`]: whether everything is still what its name says, and what to do where it is not
//! - [`image`], with [`unpack`], the spine
//! - [`layer`], [`import()`]: a new layer, and an image of one archive
//! - [`archive`]: images in one file, out and in
//! - [`anatomy`]: which layer adds, changes and hides which file
//! - [`builtin`] and [`elf`]: images made from nothing but this program and this machine

pub mod anatomy;
pub mod archive;
pub mod blob;
pub mod builtin;
pub mod config;
pub mod descriptor;
pub mod elf;
pub mod error;
pub mod gc;
pub mod image;
pub mod import;
pub mod ingest;
pub mod layer;
pub mod manifest;
pub mod media;
pub mod reference;
pub mod repair;
mod spare;
pub mod store;
pub mod taken;
pub mod verify;

pub use anatomy::{Anatomy, Change, LayerAnatomy, LayerFile};
pub use blob::BlobWriter;
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::{Descriptor, Platform};
pub use error::{Error, Result};
pub use gc::{Collected, Parts};
pub use image::{Image, unpack};
pub use import::{Imported, import};
pub use ingest::Ingest;
pub use layer::LayerWriter;
pub use manifest::{Document, Index, LARGEST_DOCUMENT, Manifest};
pub use reference::{ParseReferenceError, Reference};
pub use repair::{Mended, Repair};
pub use store::{Lease, Named, REF_NAME, Store};
pub use taken::taken;
pub use verify::{Verified, VerifiedLayers};
