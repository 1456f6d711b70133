//! Why the first step of a root is to cut the mount namespace off: a mount that travels to the machine.
//!
//! A new mount namespace is a copy, and copies of a *shared* mount are peers: what is mounted in one appears in all.
//! systemd makes `/` shared, so on most machines a container that merely has a mount namespace of its own still
//! mounts things for everybody. Here one namespace plays the machine, and a second one, inside it, the container.
//!
//! Run it: `cargo run -p ch03-rootfs --example mount_reaches_out`. No root is needed.

use std::path::{Path, PathBuf};

use namespaces::{IdMaps, NamespaceKind, Plan, isolate};
use process::channel::Inside;
use process::{CallError, CloneArgs, During as _, Event, ProcessStep, Step, spawn};
use rootfs::{MountInfo, MountPropagationFlags, RootState, RootedStep, RootfsStep};

#[derive(Debug)]
enum Attempt {
    Rooted(RootedStep),
    /// Make a directory a shared mount, as `/` of a machine is, and start a container in that machine.
    Machine(PathBuf, Cut),
    /// The container's mount.
    MountOn(PathBuf),
}

/// Whether the container is cut off from the machine's mounts first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Never,
    First,
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
            Self::Machine(..) => "machine",
            Self::MountOn(_) => "mount",
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Rooted(step) => step.run(state, channel),
            Self::Machine(home, cut) => channel.reach(machine(home, *cut)?, None),
            Self::MountOn(path) => {
                let flags = rustix::mount::MountFlags::empty();
                rustix::mount::mount("container", path, "tmpfs", flags, None).during("mount", path.display())
            }
        }
    }
}

fn machine(home: &Path, cut: Cut) -> Result<&'static str, CallError> {
    rustix::mount::mount_bind(home, home).during("mount", home.display())?;
    rustix::mount::mount_change(home, MountPropagationFlags::SHARED).during("mount", home.display())?;
    let mut steps: Vec<Attempt> = Vec::new();
    if cut == Cut::First {
        steps.push(RootfsStep::Isolate(MountPropagationFlags::DOWNSTREAM).into());
    }
    steps.push(Attempt::MountOn(home.join("data")));
    steps.push(ProcessStep::Checkpoint("mounted").into());
    let arguments = CloneArgs { namespaces: NamespaceKind::Mount.bits(), cgroup: None };
    let mut container = spawn(&arguments, &steps)?;
    let event = container.next_event();
    let mounts = MountInfo::read(Path::new("/proc/self/mountinfo"));
    container.discard();
    let Event::Reached(..) = event? else {
        return Err(CallError::refused("run", "container", "it did not mount"));
    };
    let seen = mounts?.iter().any(|mount| mount.source == "container");
    Ok(if seen { "the machine sees the container's mount" } else { "stayed inside" })
}

fn main() -> anyhow::Result<()> {
    let home = std::env::temp_dir().join(format!("mount_reaches_out.{}", process::Pid::this()));
    std::fs::create_dir_all(home.join("data"))?;
    for (name, cut) in [("a mount namespace alone", Cut::Never), ("cut off first", Cut::First)] {
        println!("{name}: {}", attempt(&home, cut)?);
    }
    Ok(std::fs::remove_dir_all(&home)?)
}

fn attempt(home: &Path, cut: Cut) -> anyhow::Result<String> {
    let mut kinds = vec![NamespaceKind::Mount];
    if !rustix::process::geteuid().is_root() {
        kinds.push(NamespaceKind::User);
    }
    let steps: Vec<Attempt> =
        vec![RootfsStep::Isolate(MountPropagationFlags::PRIVATE).into(), Attempt::Machine(home.to_owned(), cut)];
    let mut child = isolate(&Plan::create(kinds), None, Some(&IdMaps::only_root()), steps)?;
    let event = child.next_event();
    child.discard();
    match event? {
        Event::Reached(outcome, _) => Ok(outcome),
        other => anyhow::bail!("{other:?}"),
    }
}
