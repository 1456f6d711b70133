//! A cgroup of the test's own, which is gone afterwards.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};

use cgroups::{Cgroup, CgroupPath, Hierarchy, Limits};
use process::Pid;

/// A cgroup that is emptied and removed whatever the test does.
pub(crate) struct Scratch(pub(crate) Cgroup);

impl Scratch {
    pub(crate) fn new(name: &str, limits: &Limits) -> Self {
        Self(Hierarchy::detect().create(&path(name), limits).unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let emptied = self.0.kill().and_then(|()| self.0.remove());
        if !std::thread::panicking() {
            emptied.unwrap();
        }
    }
}

pub(crate) fn path(name: &str) -> CgroupPath {
    format!("/cooper-test-{}-{name}/leaf", std::process::id()).parse().unwrap()
}

pub(crate) fn usable() -> bool {
    process::needs::root() && {
        let usable = Hierarchy::detect().is_usable();
        assert!(usable || std::env::var_os("CI").is_none(), "CI lacks cgroups");
        if !usable {
            eprintln!("SKIP: needs cgroups that can be made");
        }
        usable
    }
}

pub(crate) fn sleeper() -> (Child, Pid) {
    let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
    // It has its name a moment after `spawn` has come back.
    while std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() != "sleep" {
        std::thread::yield_now();
    }
    (child, pid)
}
