//! Chapter 3: a root file system of its own.
//!
//! A process with namespaces still sees the machine's files. This chapter gives it a root of its own, from
//! which no path leads out, and the few things that programs expect in it: `/proc`, `/sys`, `/dev`.
//!
//! - [`pivot`]: the spine: change the root, and let go of the old one;
//! - [`root`]: paths that stay inside a root, and [`resolver`]: how;
//! - [`mount`]: mounts by descriptor, and [`options`], as people write them;
//! - `late`: what kernels before 5.12 do instead; [`id_mapped`]: a bind mount whose files have the right owner;
//! - [`elsewhere`]: a mount of another mount namespace, for this one;
//! - `copy_up`: a tmpfs that begins with what the image has;
//! - [`devices`], [`mask`], [`procfs`]: what is added, what is hidden, what is set;
//! - [`self_exe`]: the engine's own program file, out of a container's reach;
//! - [`standard`]: what programs expect to find mounted;
//! - [`step`]: all of these as steps of init;
//! - [`mountinfo`]: the kernel's own account of what is mounted.
//!
//! # References
//! pivot_root(2), openat2(2), mount_namespaces(7), fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)

mod copy_up;
pub mod devices;
pub mod elsewhere;
pub mod id_mapped;
mod late;
pub mod mask;
pub mod mount;
pub mod mountinfo;
pub mod options;
pub mod pivot;
pub mod procfs;
pub mod resolver;
pub mod root;
pub mod self_exe;
pub mod standard;
pub mod step;
mod sys;

pub use devices::{Device, DeviceSupply, default_devices};
pub use mask::{MASKED, READ_ONLY};
pub use mount::{DetachedMount, MountEntry, Propagation, Recursion, Source};
pub use mountinfo::MountInfo;
pub use options::MountOptions;
pub use pivot::pivot_root;
pub use procfs::ProcFs;
pub use resolver::Resolver;
pub use root::Root;
pub use rustix::mount::{MountAttrFlags, MountPropagationFlags};
pub use standard::{borrowed, standard_mounts};
pub use step::{RootState, RootedStep, RootfsStep, read_if_there};
