//! Chapter 2: namespaces.
//!
//! A process sees the machine through eight windows: which users exist, which processes, which mounts, what
//! the machine is called. A namespace is one such window's view. A new process can be given views of its own
//! as it is made, and an old one can move into another's.
//!
//! - [`kind`]: the eight kinds as one table, in the order in which they are joined;
//! - [`isolate`](isolate()): the spine: make the child, write its id maps from outside, let it become root inside;
//! - [`plan`]: a child's namespaces as data, and the rules of order with what breaks otherwise;
//! - [`step`]: the steps that such a plan becomes; [`clock`]: how far a time namespace's clocks are ahead;
//! - [`fd`]: a namespace held by a descriptor, entered and left again; [`kept`]: by a name, without any process;
//! - [`idmap`]: who the users of a user namespace are outside of it; [`lent`]: ids that an ordinary user is lent;
//! - [`userns`]: a user namespace for its maps alone, as chapter 3's id-mapped mounts want it;
//! - [`rootless`]: how an ordinary user's engine becomes root of a world of its own;
//! - [`view`]: what a process sees, kind by kind.
//!
//! # References
//! namespaces(7), clone3(2), setns(2), user_namespaces(7), pid_namespaces(7), time_namespaces(7)

pub mod clock;
pub mod fd;
pub mod idmap;
pub mod isolate;
pub mod kept;
pub mod kind;
pub mod lent;
pub mod plan;
pub mod rootless;
pub mod step;
mod sys;
pub mod userns;
pub mod view;

pub use clock::{ClockOffset, ClockOffsets};
pub use fd::{NamespaceFd, within};
pub use idmap::{IdMap, IdMaps};
pub use isolate::{IsolateError, IsolatedStep, isolate};
pub use kept::{Kept, KeptNamespaces};
pub use kind::NamespaceKind;
pub use plan::{Join, Plan, RULES};
pub use step::NamespaceStep;
pub use view::View;
