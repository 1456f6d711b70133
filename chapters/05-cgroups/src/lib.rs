//! Chapter 5: cgroups: limits and accounting.
//!
//! Namespaces decide what a process can *see*; control groups decide what it can *use*, and count what it
//! used. A cgroup is a directory. Making it makes the group, writing a pid into `cgroup.procs` moves a process
//! there, writing a number into `memory.max` is the limit, reading `memory.events` tells whether it was hit. A
//! process's children are born where it is, so nobody gets out by forking. There is no other interface.
//!
//! There are two generations. **v2** has one tree, in which a directory hands controllers down to its children;
//! **v1** has a tree for each controller, and a process has a place in each. Machines with v1, and *hybrid* ones
//! with v1 controllers and an empty v2 tree beside, still exist: both are spoken here, behind one trait.
//!
//! Read in this order:
//!
//! - [`limits`]: what can be limited;
//! - [`controller`]: one file for each controller: from a limit to pairs of file and value, from files to numbers;
//! - [`stats`]: everything counted, in one typed snapshot;
//! - [`hierarchy`]: which generation this machine has, and whether we may use it: detection that explains itself;
//! - `mounts`: where the trees are mounted, read from two files of `/proc`; [`path`]: a group's name in them;
//! - `tree`: what both generations can do; `v2` and `v1`: how each does it, through `file`, one command a write;
//! - [`cgroup`]: one group: members, freezing, killing, removal. The spine is [`Hierarchy::create`];
//! - [`entrance`]: how a process comes in;
//! - [`systemd`]: a group that systemd makes for us, asked for over D-Bus;
//! - [`devices`]: which device nodes work: v1's rules, assembled into v2's program;
//! - `sys`: bpf(2);
//! - [`error`]: what can go wrong.

pub mod cgroup;
pub mod controller;
pub mod devices;
pub mod entrance;
pub mod error;
mod file;
pub mod hierarchy;
pub mod limits;
mod mounts;
pub mod path;
pub mod stats;
mod sys;
pub mod systemd;
mod tree;
mod v1;
mod v2;

pub use cgroup::Cgroup;
pub use controller::hugetlb::HugetlbLimit;
pub use controller::io::{IoCeiling, IoWeight};
pub use controller::net::NetPriority;
pub use controller::rdma::RdmaLimit;
pub use controller::{Controller, IfMissing, Setting, Version};
pub use devices::{DeviceKind, DeviceProgram, DeviceRequest, DeviceRule};
pub use entrance::{CgroupStep, Entrance};
pub use error::Error;
pub use hierarchy::{Availability, Hierarchy};
pub use limits::Limits;
pub use path::CgroupPath;
pub use stats::Stats;
pub use systemd::Scope;
