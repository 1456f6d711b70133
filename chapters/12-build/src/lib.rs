//! Chapter 12: Dockerfile builds.
//!
//! A Dockerfile is a recipe, an image is the dish. Between them stand three ideas, and each is a
//! part of this chapter:
//!
//! 1. **A language.** Lines become instructions, instructions become stages, stages a graph.
//! 2. **A function.** A step takes a chain of layers and some words, and gives one layer more.
//!    What it gives depends on nothing else, so it can be remembered: that is the cache.
//! 3. **A container.** `RUN` is an ordinary container on the chain so far; what it changed is the
//!    layer. `COPY` needs none: it writes into the same overlay by itself.
//!
//! In reading order:
//!
//! - [`lines`], [`words`], [`pattern`]: the text, its words, its patterns
//! - [`instruction`], [`parser`], [`dockerfile`]: what a line asks for, and the graph of stages
//! - [`scope`]: which variables a line sees
//! - [`ignore`], [`tree`], [`sources`]: what may be copied, and what it is
//! - [`copy`], [`owner`], [`draft`], [`epoch`]: writing it into a layer
//! - `run`: a command in a container, and its layer
//! - [`cache`]: remembering what a step gave, and saying why
//! - [`stage`], `steps`, `base`, `export`, [`builder`]: the build itself; its spine is [`build`]
//! - [`amend()`]: single lines, for images that are made without a build
//! - [`options`], [`progress`], [`error`]: what the caller says, and hears

mod amend;
mod base;
pub mod builder;
pub mod cache;
pub mod copy;
pub mod dockerfile;
pub mod draft;
pub mod epoch;
pub mod error;
mod export;
pub mod ignore;
pub mod instruction;
pub mod lines;
pub mod options;
pub mod owner;
pub mod parser;
pub mod pattern;
pub mod progress;
mod run;
pub mod scope;
pub mod sources;
pub mod stage;
mod steps;
pub mod tree;
pub mod words;

pub use amend::amend;
pub use builder::build;
pub use dockerfile::Dockerfile;
pub use error::{Error, Place};
pub use options::{BuildOptions, CacheUse, Pull};
pub use progress::{Event, Plain, Progress, Reasons, Silent};
