//! What the registry does: for a client that knows the specification, for the tools that people
//! use, and for one that means harm.
#![allow(clippy::unwrap_used)]

mod interoperability;
mod output;
mod serving;
mod specification;
mod wire;
