//! The tests that belong to no chapter: the rules of the house, the leak check, and the engine as a whole.
//!
//! A chapter tests its own idea beside its own code. What stands here holds for *all* of them: that the dependency graph is
//! the curriculum, that a file fits in a reader's head, that nothing is left behind in the kernel, and that the
//! finished engine understands the tools that the rest of the world uses.
//!
//! In reading order:
//!
//! 1. [`house`]: where the sources are, and how to read them.
//! 2. [`rules`]: one rule of the house a file; each takes sources and gives back [`Breach`]es.
//! 3. [`leaks`]: a picture of the kernel's objects before and after, and what was left.
//! 4. [`engine`]: the built binaries, a root of their own, and an ordinary user to run them as.
//! 5. [`peers`]: the rest of the world: a registry, skopeo, podman, buildah, each with a store of its own, beside an engine.
//! 6. [`deeds`]: lines for a program, done with two runtimes, and what differed.
//! 7. [`hosts`]: those that call an OCI runtime: podman, containerd, dockerd, each in a corner of its own.
//! 8. [`packages`]: real programs to run inside: Debian's packages, unpacked.
//! 9. [`terminal`]: a screen with somebody before it: tmux's.
//! 10. [`reader`]: the ordinary user with a toolchain and a workspace of the lab.
//! 11. [`comparison`]: commands that mean the same to docker, and what docker said.

pub mod comparison;
pub mod deeds;
pub mod engine;
pub mod hosts;
pub mod house;
pub mod leaks;
pub mod packages;
pub mod peers;
pub mod reader;
pub mod rules;
pub mod terminal;

pub use house::{Breach, House, Source};
