//! What this machine can run, and the exact remedy for what it cannot.
//!
//! `cooper system doctor` and `lab doctor` say the same, because both ask here. This crate imports no chapter: a reader
//! whose chapter does not compile at the moment still has a doctor.
//!
//! Read in this order:
//!
//! - [`facts`]: what there is to know, as plain data, and how it is read;
//! - [`trial`]: what cannot be read but only tried, in a process of its own;
//! - [`examine`](mod@examine): from facts to findings, a pure function, and so tested on machines that nobody here has;
//! - [`finding`]: what was found, how bad it is, and what to do;
//! - `sys`: the one kernel call without a wrapper.

pub mod examine;
pub mod facts;
pub mod finding;
mod sys;
pub mod trial;

pub use examine::examine;
pub use facts::Facts;
pub use finding::{Finding, Grade, is_fit};
