//! seccomp: a small program that the kernel runs before every system call.
//!
//! ```text
//!  profile (JSON, names)  ──►  table (numbers → rules)  ──►  BPF program  ──►  kernel
//!  profile.rs, default.rs      table.rs                      assemble.rs      step.rs
//!  arch.rs: which numbers                                    simulate.rs: what it will answer
//!  origin.rs: why the default                                listener.rs: answering from outside
//!  profile decides as it does
//! ```
//!
//! The program sees only the call's number, its six arguments as numbers, the architecture and the instruction
//! pointer: it cannot follow a pointer, so no rule can look at a path.
//!
//! # References
//! seccomp(2); OCI runtime spec, `linux.seccomp`; "BPF" in linux/Documentation/networking/filter.rst

mod arch;
mod assemble;
mod bpf;
mod default;
mod listener;
mod origin;
mod profile;
mod simulate;
mod table;

pub use arch::Arch;
pub use bpf::{FilterFlags, Instruction, Program};
pub use default::default_profile;
pub use listener::{Listener, Notification, Reply};
pub use origin::{Origin, origins};
pub use profile::{Action, ArchMap, Argument, Comparison, Condition, Profile, Rule};
pub use simulate::{Call, Verdict};
