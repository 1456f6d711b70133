//! The questions: what a check asks of a reader's program, one function each.
//!
//! A question builds a scene with random names, runs the program, and holds what it did against what the kernel shows
//! from outside. It knows the right answer without the reader's code, so it never asks the program whether it did well.
//!
//! One module a chapter; a chapter's `lab.toml` names its questions.

mod cgroups;
mod containers;
mod distribution;
mod images;
mod layers;
mod namespaces;
mod network;
mod privileges;
mod process;
mod rootfs;
mod runtime;

use crate::scene::Scene;
use crate::verdict::Asked;

/// A question.
pub type Ask = fn(&Scene) -> Asked;

/// Every question with its name.
pub const ALL: &[&[(&str, Ask)]] = &[
    process::ALL,
    namespaces::ALL,
    rootfs::ALL,
    layers::ALL,
    cgroups::ALL,
    privileges::ALL,
    runtime::ALL,
    images::ALL,
    distribution::ALL,
    network::ALL,
    containers::ALL,
];

/// The question of a name.
pub fn named(name: &str) -> Option<Ask> {
    ALL.iter().flat_map(|chapter| chapter.iter()).find(|(known, _)| *known == name).map(|(_, ask)| *ask)
}
