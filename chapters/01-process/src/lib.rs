//! Chapter 1: a process.
//!
//! A container is a process. Before anything is hidden from it, limited or taken away, somebody has to make
//! it, know when it ends, and clean up behind it. This chapter is that careful parent:
//!
//! - it makes a child with `clone3`, which returns a *pidfd*, a name that is never reused;
//! - what the child does before it becomes the program is a list of [steps](step), planned as data;
//! - a [channel](channel) carries every failure back, with operation, object and errno;
//! - nothing is inherited by accident: descriptors are close-on-exec, signals are reset;
//! - signals are passed on, orphans are reaped, and a terminal is given back as it was found.
//!
//! # Reading order
//! [`spawn`](crate::spawn()) (the spine), [`step`], with `descriptors`, [`scheduling`] and [`program`]; [`channel`], [`pid`], [`signals`],
//! [`reaper`] and its other form, the tiny [`init`], which share `passed_on`; [`pty`]. Then what all chapters use:
//! [`error`], [`narrate`] and [`explain`], [`state`] and [`journal`], [`kernel_file`], and for tests [`needs`].

pub mod channel;
mod descriptors;
pub mod error;
pub mod explain;
pub mod init;
pub mod journal;
pub mod kernel_file;
pub mod narrate;
pub mod needs;
mod passed_on;
pub mod pid;
pub mod program;
pub mod pty;
pub mod reaper;
pub mod scheduling;
pub mod signals;
pub mod spawn;
pub mod state;
pub mod step;
mod sys;

pub use channel::ChildError;
pub use error::{CallError, During};
pub use nix::sys::resource::Resource;
pub use pid::{ExitStatus, Pid, PidFd};
pub use program::Program;
pub use scheduling::{IoClass, IoPriority, Scheduling};
pub use signals::Signal;
pub use spawn::{CloneArgs, Event, Spawned, refuse_threads, spawn};
pub use step::{ProcessStep, Step};
