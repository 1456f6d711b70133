//! Chapter 7: the OCI runtime.
//!
//! Six chapters have each taught one thing that makes a container. A runtime puts them in order: it reads a
//! bundle (a root directory and a `config.json`), plans what init has to do, makes the process, and keeps
//! just enough state that a later call can find it again.
//!
//! - [`plan`]: the spine: from a specification to a list of steps, and why in this order;
//! - [`step`]: the steps of all chapters as one enum, for chapter 1's interpreter;
//! - [`create`](create()), [`start`](start()), [`exec`](exec()), [`lifecycle`]: the operations;
//! - [`pause`], [`update`](update()), [`watch`]: what is done to a container while it runs;
//! - [`checkpoint`](checkpoint()), [`restore`](restore()): a container written to disk, and let go on, by CRIU;
//! - [`spec`] with `rules`, [`mounts`], [`confinement`], [`resources`], [`scheduling`]: the specification's fields, turned
//!   into earlier chapters' data, and [`id_maps`], who is who in it;
//! - [`options`]: what hosts ask for by flags;
//! - `cgroup`: where a container is counted and limited; `cgroup_mount`: what it sees of that; [`prepared`]: mounts that only the parent can make;
//! - [`console`]: the terminal on our side; `agent`: whoever answers calls that a filter asks about;
//! - [`state`]: what is known between two calls; `handle`: what whoever made a container knows without looking; [`hooks`]: other people's programs at points of a life.
//!
//! # References
//! The OCI runtime specification: config.md, config-linux.md, runtime.md, runtime-linux.md

mod agent;
mod cgroup;
mod cgroup_mount;
pub mod checkpoint;
pub mod confinement;
pub mod console;
pub mod create;
pub mod error;
pub mod exec;
mod handle;
pub mod hooks;
pub mod id_maps;
pub mod lifecycle;
pub mod mounts;
pub mod options;
pub mod pause;
pub mod plan;
pub mod prepared;
pub mod resources;
pub mod restore;
mod rules;
pub mod scheduling;
pub mod spec;
pub mod start;
pub mod state;
pub mod step;
pub mod update;
pub mod watch;

pub use checkpoint::{Afterwards, Allowed, Checkpoint, Criu, checkpoint};
pub use create::{Create, Created, OnNamespaces, Planner, Started, Stdio, create, create_planned};
pub use error::Error;
pub use exec::{Exec, exec};
pub use handle::Handle;
pub use lifecycle::{All, Force, delete, kill, list, processes, state};
pub use options::{CgroupManager, CreateOptions, ExecOptions, IfNoCgroup, IfPaused, Keyring, RootChange};
pub use pause::{pause, resume};
pub use plan::RootSource;
pub use prepared::Prepared;
pub use restore::{Restore, restore};
pub use spec::{Checked, Spec};
pub use start::start;
pub use state::{Record, State, StateDir, Status};
pub use step::RuntimeStep;
pub use update::update;
