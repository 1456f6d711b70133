//! Chapter 6: privileges: what root inside may not do.
//!
//! A container's root has uid 0, yet it must not load modules, set the clock or mount disks. Linux lets
//! root be taken apart in four independent ways, and an engine uses all of them (a fifth, Landlock, is for programs):
//!
//! 1. **capabilities** split root's power into 41 pieces; a container keeps 11 of them;
//! 2. **identity**: user, group, supplementary groups: often the process should not even be root;
//! 3. **no_new_privs** makes setuid programs and file capabilities powerless from here on;
//! 4. **seccomp** puts a small program in front of every system call, which refuses those that no container needs
//!    before the kernel's own (large, occasionally faulty) code is reached.
//!
//! Read in this order:
//!
//! - [`capability`]: one capability, a set of them, the default eleven;
//! - [`capabilities`]: the five sets of a process, and how they change at `execve`;
//! - [`user`]: `USER name:group` as people write it, and every form that was once misread;
//! - [`identity`]: who the process will be, by the container's own account files;
//! - [`seccomp`]: a profile in the field's JSON form, the default one, its assembly to BPF, a simulator;
//! - [`landlock`]: a fence of files and ports that a process builds around itself;
//! - [`label`]: what AppArmor and SELinux go by, passed on where they are at work;
//! - [`step`]: the kernel calls of a child that lays privileges down, and the only order in which they work;
//! - [`confinement`]: that order, written once. The spine is [`Confinement::steps`];
//! - `sys`: the raw calls underneath; [`error`]: what can be wrong with a description of privileges.

pub mod capabilities;
pub mod capability;
pub mod confinement;
pub mod error;
pub mod identity;
pub mod label;
pub mod landlock;
pub mod seccomp;
pub mod step;
mod sys;
pub mod user;

pub use capabilities::Capabilities;
pub use capability::{CapSet, Capability};
pub use confinement::Confinement;
pub use error::Error;
pub use identity::{Identity, home_of, resolve_owner, resolve_user};
pub use label::{Label, SecurityModule};
pub use step::Step;
pub use user::UserSpec;
