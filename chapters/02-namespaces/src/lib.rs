//! Chapter 2: namespaces.
//!
//! A process sees the machine through eight windows: which users exist, which processes, which mounts, what
//! the machine is called. A namespace is one such window's view. A new process can be given views of its own
//! as it is made, and an old one can move into another's.
//!
//! - [`kind`]: the eight kinds as one table, in the order in which they are joined;
//! - [`step`]: a child's namespaces as a plan, and the ordering rules with what breaks otherwise;
//! - [`isolate`](isolate()): the spine: make the child, write its id maps from outside, let it become root inside;
//! - [`fd`]: a namespace held by a descriptor, entered and left again;
//! - [`idmap`]: who the users of a user namespace are outside of it;
//! - [`rootless`]: how an ordinary user's engine becomes root of a world of its own.
//!
//! # References
//! namespaces(7), clone3(2), setns(2), user_namespaces(7), pid_namespaces(7), time_namespaces(7)

pub mod fd;
pub mod idmap;
pub mod isolate;
pub mod kind;
pub mod rootless;
pub mod step;
mod sys;

pub use fd::{NamespaceFd, within};
pub use idmap::{IdMap, IdMaps};
pub use isolate::{IsolateError, Isolated, IsolatedStep, NAMESPACES, isolate};
pub use kind::NamespaceKind;
pub use step::{NamespaceStep, Plan};
