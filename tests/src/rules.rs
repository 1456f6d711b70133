//! The rules of the house, one a file. Each is a pure function from sources to breaches, so that each can be
//! shown a small wrong input and be seen to object: a rule that has never caught anything proves nothing.
//!
//! In reading order: [`order`] (the dependency graph is the curriculum), [`sizes`] (a file and a function fit in a
//! reader's head, and every chapter has one spine), [`unsafe_only_in_sys`], [`no_twins`], [`lib_maps`],
//! [`said_once`] (no error prints its cause twice).

pub mod lib_maps;
pub mod no_twins;
pub mod order;
pub mod said_once;
pub mod sizes;
pub mod unsafe_only_in_sys;
