//! Chapter 13: a registry.
//!
//! A registry is a web server for three kinds of things: *blobs* (bytes named by their digest),
//! *manifests* (small JSON documents that name blobs), and *tags* (names that point at manifests
//! and may move). Pushing is: send the blobs that are not there, then the manifest. Pulling is
//! the reverse. That is all; no image is ever unpacked here, and nothing is executed.
//!
//! ```text
//!  client                                     registry
//!    | HEAD  /v2/app/blobs/sha256:L              |   is the layer there?
//!    |<------------------------------ 404 -------|
//!    | POST  /v2/app/blobs/uploads/              |   then take it
//!    |<------ 202, Location: .../uploads/S ------|
//!    | PUT   .../uploads/S?digest=sha256:L bytes |
//!    |<------------------------------ 201 -------|   hashed on the way in, and it fits
//!    | PUT   /v2/app/manifests/latest  {...}     |   all parts are here: the tag may move
//!    |<------------------------------ 201 -------|
//! ```
//!
//! # Reading order
//!
//! 1. [`name`]: what may be a name, checked once
//! 2. [`route`]: which path means what
//! 3. [`storage`]: plain files, and in which order they appear
//! 4. [`upload`]: bytes that are not believed yet
//! 5. [`manifest`] and [`listing`]: what gives the bytes a meaning
//! 6. [`account`]: who may come in
//! 7. [`answer`]: the endpoints on one page (the chapter's spine), and [`transfer`]: blobs out and in
//! 8. [`server`]: connections, bounds, the end
//!
//! # References
//! OCI distribution-spec 1.1.

#![forbid(unsafe_code)]

pub mod account;
pub mod answer;
pub mod error;
pub mod listing;
pub mod manifest;
pub mod name;
pub mod route;
pub mod server;
pub mod storage;
pub mod transfer;
pub mod upload;

pub use error::Error;
pub use server::{Bound, Config, Journal, run, serve};
