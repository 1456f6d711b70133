//! The way into a group: born there, or by one's own word.
//!
//! On v2 a child is born inside (`CLONE_INTO_CGROUP`). v1 knows no such birth, and the obvious way, in which the parent
//! writes the child's pid into `cgroup.procs` of every tree, is slow: to move another's threads all at once the kernel
//! stops every fork and exit of the machine, and waits until all CPUs have noticed. That is 10 to 25 ms for the first
//! write. A thread that moves *itself*, by writing `0` into `tasks`, needs none of that (Linux 5.5), and takes less than
//! a tenth of a millisecond for all trees together. A child just cloned has a single thread; so where it goes, the
//! process goes.
//!
//! The parent opens the files. What may be written through a descriptor is decided by who opened it, so it does not
//! matter who the child is by then, or in which namespaces; and the child can reach no other group by them.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use process::channel::Inside;
use process::{CallError, During as _, Step, step};

use crate::sys;

/// How a child gets into a group. Hold it until the child has been cloned.
#[derive(Debug)]
pub enum Entrance {
    /// v2: pass the directory to `clone3`.
    Birth(OwnedFd),
    /// v1: the child takes this step, before it does anything that counts.
    Step(Vec<OwnedFd>),
}

impl Entrance {
    /// The directory to be born in.
    pub fn birth(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Birth(directory) => Some(directory.as_fd()),
            Self::Step(_) => None,
        }
    }

    /// The step to take.
    pub fn step(&self) -> Option<CgroupStep> {
        match self {
            Self::Birth(_) => None,
            Self::Step(files) => Some(CgroupStep::Enter(files.iter().map(OwnedFd::as_raw_fd).collect())),
        }
    }
}

/// The step of this chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupStep {
    /// Move oneself into a group of v1, through inherited descriptors of its `tasks` files.
    Enter(Vec<RawFd>),
}

impl Step for CgroupStep {
    type State = ();

    fn name(&self) -> &'static str {
        "tasks"
    }

    fn run(&self, (): &mut (), _: &mut Inside) -> Result<(), CallError> {
        let Self::Enter(files) = self;
        step!(
            5,
            "write",
            "cgroups(7)",
            "move oneself into the group, tree by tree",
            "tasks <- 0, {} times",
            files.len()
        );
        files.iter().try_for_each(|file| {
            let written = rustix::io::write(sys::borrow(*file), b"0");
            written.map(drop).during("write", "tasks").map_err(|error| error.with("0"))
        })
    }
}
