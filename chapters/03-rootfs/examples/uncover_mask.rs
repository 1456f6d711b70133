//! What a mask holds against, and what not: three ways to hide a file from root, and how root finds it again.
//!
//! Permissions hide nothing from a process that may override them. A mount over the file does, until somebody
//! with CAP_SYS_ADMIN in the same namespaces takes it off: so a mask is worth what chapter 6 takes away. What holds by
//! itself is the kernel's lock: whoever makes a user namespace to get that capability gets a copy of the mounts
//! in which none can be taken off alone.
//!
//! Run it: `cargo run -p ch03-rootfs --example uncover_mask`. No root is needed.

use std::path::{Path, PathBuf};

use namespaces::{IdMaps, NamespaceKind, Plan, isolate};
use nix::sched::{CloneFlags, unshare};
use process::channel::Inside;
use process::{CallError, During as _, Event, Step};
use rootfs::{DeviceSupply, MountPropagationFlags, RootState, RootedStep, RootfsStep};
use rustix::fs::Mode;
use rustix::mount::UnmountFlags;

#[derive(Debug)]
enum Attempt {
    Rooted(RootedStep),
    /// The naive way to hide a file.
    TakePermissions,
    /// Take the mask off, with the capabilities that are at hand.
    Uncover(Attacker),
}

#[derive(Debug, Clone, Copy)]
enum Attacker {
    /// Reads, and does nothing else.
    Reader,
    /// Kept CAP_SYS_ADMIN.
    Administrator,
    /// Makes a user namespace of its own to have that capability there.
    Newcomer,
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
            Self::TakePermissions => "chmod",
            Self::Uncover(_) => "uncover",
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Rooted(step) => step.run(state, channel),
            Self::TakePermissions => rustix::fs::chmod("/secret", Mode::empty()).during("chmod", "/secret"),
            Self::Uncover(attacker) => {
                uncover(*attacker)?;
                let seen = std::fs::read("/secret").is_ok_and(|bytes| !bytes.is_empty());
                channel.reach(if seen { "uncovered" } else { "still hidden" }, None)
            }
        }
    }
}

fn uncover(attacker: Attacker) -> Result<(), CallError> {
    match attacker {
        Attacker::Reader => return Ok(()),
        Attacker::Administrator => {}
        Attacker::Newcomer => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).during("unshare", "user and mount")?;
        }
    }
    match rustix::mount::unmount("/secret", UnmountFlags::DETACH) {
        // EINVAL: the mount is locked to those around it.
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).during("umount2", "/secret"),
    }
}

fn main() -> anyhow::Result<()> {
    let home = std::env::temp_dir().join(format!("uncover_mask.{}", process::Pid::this()));
    std::fs::create_dir_all(home.join("dev"))?;
    std::fs::write(home.join("secret"), "of the kernel")?;
    let mask = || -> Attempt { RootfsStep::Mask(vec!["/secret".into()]).into() };
    println!("masked, and read: {}", attempt(&home, mask(), Attacker::Reader)?);
    println!("masked, and taken off with CAP_SYS_ADMIN: {}", attempt(&home, mask(), Attacker::Administrator)?);
    println!("masked, and taken off in a user namespace: {}", attempt(&home, mask(), Attacker::Newcomer)?);
    println!("without permissions, and read: {}", attempt(&home, Attempt::TakePermissions, Attacker::Reader)?);
    Ok(std::fs::remove_dir_all(&home)?)
}

fn attempt(home: &Path, hide: Attempt, attacker: Attacker) -> anyhow::Result<String> {
    let mut kinds = vec![NamespaceKind::Mount];
    if !rustix::process::geteuid().is_root() {
        kinds.push(NamespaceKind::User);
    }
    let null = rootfs::default_devices().into_iter().filter(|device| device.path == Path::new("/dev/null")).collect();
    let home = PathBuf::from(home);
    let steps: Vec<Attempt> = vec![
        RootfsStep::Isolate(MountPropagationFlags::PRIVATE).into(),
        RootfsStep::BindRoot(home.clone()).into(),
        RootfsStep::AttachRoot(home).into(),
        RootfsStep::Devices(null, DeviceSupply::BindFromHost).into(),
        RootfsStep::PivotRoot.into(),
        hide,
        Attempt::Uncover(attacker),
    ];
    let mut child = isolate(&Plan::create(kinds), None, Some(&IdMaps::only_root()), steps)?;
    let event = child.next_event();
    child.discard();
    match event? {
        Event::Reached(outcome, _) => Ok(outcome),
        other => anyhow::bail!("{other:?}"),
    }
}
