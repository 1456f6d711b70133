//! The naive root, and the way out of it.
//!
//! `chroot` changes where this process's paths begin, and nothing else: the machine's root stays mounted, and
//! the working directory may lie outside the new root. A process with CAP_SYS_CHROOT makes itself a second root
//! further in, finds itself outside of that, and walks up. After `pivot_root` the same walk ends at the root,
//! because above it nothing is mounted any more.
//!
//! Run it: `cargo run -p ch03-rootfs --example climb_out`. No root is needed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use namespaces::{IdMaps, NamespaceKind, Plan, isolate};
use process::channel::Inside;
use process::{CallError, During as _, Event, Step};
use rootfs::{MountPropagationFlags, RootState, RootedStep, RootfsStep};

/// The library's steps, the naive one beside them, and the attack.
#[derive(Debug)]
enum Attempt {
    Rooted(RootedStep),
    /// The naive way into a root.
    Chroot(PathBuf),
    /// Walk up, make what is found there the root, and look for a file of the machine's.
    Climb(PathBuf),
}

impl<T: Into<RootedStep>> From<T> for Attempt {
    fn from(step: T) -> Self {
        Self::Rooted(step.into())
    }
}

impl Step for Attempt {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Rooted(step) => step.name(),
            Self::Chroot(_) => "chroot",
            Self::Climb(_) => "climb",
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Rooted(step) => step.run(state, channel),
            Self::Chroot(path) => {
                rustix::process::chroot(path).during("chroot", path.display())?;
                rustix::process::chdir("/").during("chdir", "/")
            }
            Self::Climb(secret) => {
                climb()?;
                let seen = secret.exists();
                channel.reach(if seen { "climbed out" } else { "stayed inside" }, None)
            }
        }
    }
}

/// Four calls: a second root below, the working directory left above it, up as far as it goes, and that is the root.
fn climb() -> Result<(), CallError> {
    std::fs::create_dir("/deeper").during("mkdir", "/deeper")?;
    rustix::process::chroot("/deeper").during("chroot", "/deeper")?;
    for _ in 0..64 {
        rustix::process::chdir("..").during("chdir", "..")?;
    }
    rustix::process::chroot(".").during("chroot", ".")
}

fn main() -> anyhow::Result<()> {
    let home = std::env::temp_dir().join(format!("climb_out.{}", process::Pid::this()));
    std::fs::create_dir(&home).context("make a directory for the roots")?;
    let secret = home.join("secret");
    std::fs::write(&secret, "of the machine").context("write the secret")?;
    for (name, way) in [("chroot", Way::Chroot), ("pivot_root", Way::PivotRoot)] {
        let root = home.join(name);
        std::fs::create_dir(&root).context("make a root")?;
        println!("{name}: {}", attempt(way, &root, &secret)?);
    }
    std::fs::remove_dir_all(&home).context("tidy up")
}

#[derive(Clone, Copy)]
enum Way {
    Chroot,
    PivotRoot,
}

/// Confines a child in `root` in one of the two ways, and reports whether the climb led out.
fn attempt(way: Way, root: &Path, secret: &Path) -> anyhow::Result<String> {
    let mut steps: Vec<Attempt> = vec![RootfsStep::Isolate(MountPropagationFlags::DOWNSTREAM).into()];
    match way {
        Way::Chroot => steps.push(Attempt::Chroot(root.to_owned())),
        Way::PivotRoot => {
            steps.push(RootfsStep::BindRoot(root.to_owned()).into());
            steps.push(RootfsStep::AttachRoot(root.to_owned()).into());
            steps.push(RootfsStep::PivotRoot.into());
        }
    }
    steps.push(Attempt::Climb(secret.to_owned()));
    let mut create = vec![NamespaceKind::Mount];
    if !rustix::process::geteuid().is_root() {
        create.push(NamespaceKind::User);
    }
    let plan = Plan { create, join: Vec::new() };
    let mut child = isolate(&plan, None, Some(&IdMaps::only_root()), steps)?;
    let event = child.next_event();
    child.discard();
    match event? {
        Event::Reached(outcome, _) => Ok(outcome),
        other => anyhow::bail!("{other:?}"),
    }
}
