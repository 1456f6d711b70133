//! What can only be tried: a user namespace, and an overlay inside of it.
//!
//! Whether the kernel allows them depends on settings of five kinds, and on the seccomp filter of whoever runs us. So a
//! child tries. It is this very program, started again with one word, since a process with threads may not enter a
//! user namespace; what it makes ends with it.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The word that asks a program for the trial.
const WORD: &str = "doctor-trial";

/// How a trial ended: the errno's name if it failed.
pub type Outcome = Result<(), String>;

/// What was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// A user namespace with the caller as its root.
    pub user_namespace: Outcome,
    /// An overlay mount inside.
    pub overlay: Outcome,
}

/// Does the trial if these are the arguments of one. Call it first thing in `main` of a program that calls [`run`].
pub fn if_asked(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != WORD {
        return None;
    }
    let line = |outcome: Result<(), Errno>| match outcome {
        Ok(()) => println!("ok"),
        Err(errno) => println!("{errno:?}"),
    };
    let namespace = user_namespace();
    line(namespace);
    line(namespace.and_then(|()| overlay()));
    Some(ExitCode::SUCCESS)
}

/// Tries, in a child.
pub(crate) fn run() -> Trial {
    let tried = Command::new("/proc/self/exe").arg(WORD).output();
    let said = tried.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut lines = said.lines();
    let mut outcome = || match lines.next() {
        Some("ok") => Ok(()),
        Some(errno) => Err(errno.to_owned()),
        None => Err("it could not be tried".to_owned()),
    };
    Trial { user_namespace: outcome(), overlay: outcome() }
}

fn user_namespace() -> Result<(), Errno> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let write = |file: &str, text: String| {
        fs::write(file, text).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    };
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Stacks two directories of a tmpfs, in the mount namespace made before: nobody else ever sees it.
fn overlay() -> Result<(), Errno> {
    let none: Option<&Path> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let place = std::env::temp_dir();
    mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), none)?;
    std::env::set_current_dir(&place).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    for name in ["lower", "upper", "work", "merged"] {
        nix::unistd::mkdir(name, nix::sys::stat::Mode::S_IRWXU)?;
    }
    let data = "lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    mount(Some("overlay"), "merged", Some("overlay"), MsFlags::empty(), Some(data))
}
