//! `lab doctor`: what this machine can run, and how to change that.
//!
//! What containers need is looked at by the crate `doctor`, for the engine too; here is added what exercises need.

use std::process::Command;

use ::doctor::{Facts, Finding, Grade};

/// Looks at everything that the exercises may need.
pub fn examine() -> Vec<Finding> {
    let mut findings = ::doctor::examine(&Facts::gather());
    findings.extend([program("git"), program("cargo")]);
    findings
}

/// Whether user namespaces can be made here.
///
/// # Errors
/// Why not, and the exact remedy.
pub fn user_namespaces() -> Result<(), String> {
    let findings = ::doctor::examine(&Facts::gather());
    let finding = findings.into_iter().find(|finding| finding.what == "user namespaces");
    match finding {
        Some(Finding { grade, found, remedy: Some(remedy), .. }) if grade != Grade::Good => {
            Err(format!("user namespaces: {found}: {remedy}"))
        }
        _ => Ok(()),
    }
}

/// Whether this user may make control groups where it stands.
///
/// # Errors
/// Why not, and what would help.
pub fn control_groups() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let place = match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => format!("/sys/fs/cgroup{}", unified.unwrap_or("/")),
        false => "/sys/fs/cgroup/pids".to_owned(),
    };
    match nix::unistd::access(place.as_str(), nix::unistd::AccessFlags::W_OK) {
        Ok(()) => Ok(()),
        Err(errno) => Err(format!(
            "control groups: {place}: {errno}: run as root, or in `systemd-run --user --scope -p Delegate=yes`"
        )),
    }
}

fn program(name: &'static str) -> Finding {
    let version = Command::new(name).arg("--version").output();
    let finding = |grade, found: String, remedy| Finding { what: name, grade, found, remedy };
    match version {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
            finding(Grade::Good, version, None)
        }
        Err(_) => finding(Grade::Missing, "not found".to_owned(), Some(format!("install {name}"))),
    }
}
