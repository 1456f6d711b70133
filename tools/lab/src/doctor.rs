//! `lab doctor`: what this machine can run, and how to change that. Every line was tried or read just now.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What was found; the error says what to do about it.
    pub state: Result<String, String>,
}

/// Looks at everything that the exercises may need.
pub fn examine() -> Vec<Finding> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        Finding { what: "kernel", state: Ok(kernel.trim().to_owned()) },
        Finding {
            what: "user namespaces",
            state: user_namespaces().map(|()| "an ordinary user may make them".to_owned()),
        },
        Finding { what: "cgroups", state: cgroups() },
        Finding { what: "git", state: program("git", "--version") },
        Finding { what: "cargo", state: program("cargo", "--version") },
    ]
}

/// Tries to make a user namespace, in a process of its own.
///
/// # Errors
/// Why not, and the exact remedy.
pub fn user_namespaces() -> Result<(), String> {
    let tried = Command::new("/proc/self/exe").args(["inside", "try-user-namespace"]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default().trim().to_owned();
    Err(if read("kernel/apparmor_restrict_unprivileged_userns") == "1" {
        "AppArmor forbids them: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0".to_owned()
    } else if read("kernel/unprivileged_userns_clone") == "0" {
        "the kernel forbids them: sudo sysctl kernel.unprivileged_userns_clone=1".to_owned()
    } else if read("user/max_user_namespaces") == "0" {
        "none are allowed: sudo sysctl user.max_user_namespaces=15000".to_owned()
    } else {
        "the kernel refused unshare(CLONE_NEWUSER); inside Docker, try --security-opt seccomp=unconfined".to_owned()
    })
}

/// What the process behind [`user_namespaces`] does.
///
/// # Errors
/// The kernel's.
pub fn try_user_namespace() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)
}

fn cgroups() -> Result<String, String> {
    let has = |path: &str| Path::new("/sys/fs/cgroup").join(path).exists();
    match (has("cgroup.controllers"), has("memory")) {
        (true, _) => Ok("version 2".to_owned()),
        (false, true) if has("unified") => Ok("hybrid: controllers on version 1".to_owned()),
        (false, true) => Ok("version 1".to_owned()),
        (false, false) => Err("no controllers below /sys/fs/cgroup: limits cannot be tried here".to_owned()),
    }
}

fn program(name: &str, argument: &str) -> Result<String, String> {
    match Command::new(name).arg(argument).output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()),
        Err(_) => Err(format!("not found: install {name}")),
    }
}
