//! From facts to findings: a pure function.

use crate::facts::{Cgroups, Facts, Helper, Tun};
use crate::finding::Finding;

/// The oldest kernel with every call that the engine makes (`mount_setattr`), major and minor.
const OLDEST_KERNEL: (u32, u32) = (5, 12);
/// What a container needs to have more than one user inside, as `useradd` lends it.
const ENOUGH_IDS: u64 = 65_536;

/// Everything that was looked at, in the order in which a container needs it.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let root = facts.uid == 0;
    let mut findings = vec![kernel(facts)];
    findings.extend(wsl(facts));
    findings.push(user_namespaces(facts));
    if !root {
        findings.push(lent_ids(facts));
        findings.push(id_helpers(facts));
    }
    findings.push(cgroups(facts));
    findings.push(overlay(facts));
    if !root {
        findings.push(tun(facts));
        findings.push(network_helper(facts));
    }
    findings.extend([nft(facts), seccomp(facts), landlock(facts), labels(facts)]);
    findings
}

fn kernel(facts: &Facts) -> Finding {
    let mut numbers = facts.kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    match version {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST_KERNEL => {
            let (major, minor) = OLDEST_KERNEL;
            let remedy = format!("boot a kernel of {major}.{minor} or later");
            Finding::missing("kernel", format!("{} is too old: it has no mount_setattr", facts.kernel), remedy)
        }
        _ => Finding::good("kernel", &facts.kernel),
    }
}

/// Microsoft's kernels name themselves: version 1 only plays Linux.
fn wsl(facts: &Facts) -> Option<Finding> {
    let release = facts.kernel.to_ascii_lowercase();
    if !release.contains("microsoft") {
        return None;
    }
    Some(match (release.contains("wsl2"), &facts.cgroups) {
        (false, _) => Finding::missing(
            "WSL",
            "version 1 has no Linux kernel",
            "in PowerShell: wsl --set-version DISTRIBUTION 2, with the name that `wsl -l` shows",
        ),
        (true, Cgroups::V2 { .. }) => Finding::good("WSL", "version 2"),
        (true, _) => Finding::weak(
            "WSL",
            "version 2, with control groups of version 1",
            "in %UserProfile%\\.wslconfig below [wsl2]: kernelCommandLine = cgroup_no_v1=all; then wsl --shutdown",
        ),
    })
}

/// Whether an ordinary user may make user namespaces. For root they only matter to the exercises.
fn user_namespaces(facts: &Facts) -> Finding {
    const WHAT: &str = "user namespaces";
    let Err(errno) = &facts.trial.user_namespace else {
        let who = if facts.uid == 0 { "can be made" } else { "an ordinary user may make them" };
        return Finding::good(WHAT, who);
    };
    let lasting = |setting: &str, file: &str| {
        format!("sudo sysctl -w {setting}; and for the next boot: echo {setting} | sudo tee /etc/sysctl.d/{file}.conf")
    };
    let (found, remedy) = if facts.max_user_namespaces.is_none() {
        ("this kernel was built without them".to_owned(), "boot a kernel with CONFIG_USER_NS=y".to_owned())
    } else if facts.max_user_namespaces == Some(0) {
        ("none are allowed".to_owned(), lasting("user.max_user_namespaces=15000", "99-user-namespaces"))
    } else if facts.unprivileged_userns_clone == Some(false) {
        ("the kernel forbids them".to_owned(), lasting("kernel.unprivileged_userns_clone=1", "99-user-namespaces"))
    } else if facts.apparmor_restricts_userns {
        let setting = lasting("kernel.apparmor_restrict_unprivileged_userns=0", "99-user-namespaces");
        ("AppArmor forbids them (Ubuntu 23.10 and later)".to_owned(), setting)
    } else {
        let remedy = "inside a container of Docker's or podman's: start it with --security-opt seccomp=unconfined; \
                      else ask whoever set this machine up";
        (format!("unshare(CLONE_NEWUSER) was refused: {errno}"), remedy.to_owned())
    };
    if facts.uid == 0 { Finding::weak(WHAT, found, remedy) } else { Finding::missing(WHAT, found, remedy) }
}

/// The name to put into a remedy.
fn user(facts: &Facts) -> String {
    facts.user.clone().unwrap_or_else(|| format!("'#{}'", facts.uid))
}

fn lent_ids(facts: &Facts) -> Finding {
    let (users, groups) = (facts.subuids, facts.subgids);
    if users.min(groups) >= ENOUGH_IDS {
        return Finding::good("subuid, subgid", format!("{users} users and {groups} groups are lent"));
    }
    let user = user(facts);
    let remedy = format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}");
    let found = match users.min(groups) {
        0 => "no ids are lent: a container has one user, root, and chown to any other fails".to_owned(),
        _ => format!("{users} users and {groups} groups are lent: files of higher ids cannot be unpacked"),
    };
    Finding::weak("subuid, subgid", found, remedy)
}

fn id_helpers(facts: &Facts) -> Finding {
    const WHAT: &str = "newuidmap";
    let lacking = [("newuidmap", &facts.newuidmap), ("newgidmap", &facts.newgidmap)];
    for (name, helper) in lacking {
        match helper {
            Helper::Works(_) => {}
            Helper::Missing => {
                let remedy = "sudo apt install uidmap (Fedora: sudo dnf install shadow-utils)";
                return Finding::weak(WHAT, format!("{name} is not installed: lent ids cannot be used"), remedy);
            }
            Helper::Powerless(path) => {
                let found = format!("{} is not setuid root: lent ids cannot be used", path.display());
                return Finding::weak(WHAT, found, format!("sudo chmod u+s {}", path.display()));
            }
        }
    }
    Finding::good(WHAT, "works, and so does newgidmap")
}

fn cgroups(facts: &Facts) -> Finding {
    const WHAT: &str = "cgroups";
    let root = facts.uid == 0;
    let boot = "boot with systemd.unified_cgroup_hierarchy=1";
    match &facts.cgroups {
        Cgroups::V2 { delegated } => {
            let lacking: Vec<&str> =
                ["cpu", "memory", "pids"].into_iter().filter(|name| !delegated.iter().any(|has| has == name)).collect();
            if lacking.is_empty() {
                return Finding::good(WHAT, format!("version 2, with {}", delegated.join(" ")));
            }
            let whose = if root { "has no" } else { "this user may not limit" };
            let remedy = "sudo mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io \
                          memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf; sudo systemctl \
                          daemon-reload; then log in anew";
            Finding::weak(WHAT, format!("version 2, {whose} {}", lacking.join(", ")), remedy)
        }
        Cgroups::Hybrid | Cgroups::V1 if root => {
            let kind = if facts.cgroups == Cgroups::Hybrid { "hybrid: controllers on version 1" } else { "version 1" };
            Finding::good(WHAT, kind)
        }
        Cgroups::Hybrid | Cgroups::V1 => {
            Finding::weak(WHAT, "version 1, which only root can divide: containers run without limits", boot)
        }
        Cgroups::None => Finding::weak(
            WHAT,
            "nothing is mounted at /sys/fs/cgroup: containers run without limits",
            "sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
    }
}

fn overlay(facts: &Facts) -> Finding {
    const WHAT: &str = "overlay";
    if facts.uid == 0 {
        return match (facts.overlay, &facts.fuse_overlayfs) {
            (true, _) => Finding::good(WHAT, "native"),
            (false, Some(path)) => {
                let found = format!("the kernel has none: {} does it, slower", path.display());
                Finding::weak(WHAT, found, "sudo modprobe overlay")
            }
            (false, None) => {
                Finding::weak(WHAT, "the kernel has none: layers are copied, which is slow", "sudo modprobe overlay")
            }
        };
    }
    if facts.trial.user_namespace.is_err() {
        return Finding::weak(WHAT, "could not be tried without a user namespace", "first the user namespaces, above");
    }
    match (&facts.trial.overlay, &facts.fuse_overlayfs) {
        (Ok(()), _) => Finding::good(WHAT, "native, in a user namespace"),
        (Err(_), Some(path)) => {
            let found = format!("not in a user namespace: {} does it, slower", path.display());
            Finding::weak(WHAT, found, "boot a kernel of 5.11 or later")
        }
        (Err(errno), None) => {
            let found = format!("not in a user namespace ({errno}): layers are copied, which is slow");
            Finding::weak(WHAT, found, "boot a kernel of 5.11 or later, or sudo apt install fuse-overlayfs")
        }
    }
}

fn tun(facts: &Facts) -> Finding {
    match facts.tun {
        Tun::Open => Finding::good("/dev/net/tun", "can be opened"),
        Tun::Closed => Finding::weak(
            "/dev/net/tun",
            "this user may not open it: containers have no way out to the network",
            "sudo chmod 0666 /dev/net/tun",
        ),
        Tun::Missing => Finding::weak(
            "/dev/net/tun",
            "does not exist: containers have no way out to the network",
            "sudo modprobe tun; where that makes no file: sudo mkdir -p /dev/net; sudo mknod -m 0666 /dev/net/tun c 10 200",
        ),
    }
}

fn network_helper(facts: &Facts) -> Finding {
    match (&facts.pasta, &facts.slirp4netns) {
        (Some(path), _) => Finding::good("rootless network", format!("pasta ({})", path.display())),
        (None, Some(path)) => Finding::good("rootless network", format!("slirp4netns ({})", path.display())),
        (None, None) => Finding::weak(
            "rootless network",
            "neither pasta nor slirp4netns: containers have no way out to the network",
            "sudo apt install passt (or slirp4netns)",
        ),
    }
}

fn nft(facts: &Facts) -> Finding {
    match &facts.nft {
        Some(path) => Finding::good("nft", path.display().to_string()),
        None => Finding::weak("nft", "not installed: no published ports, no way out", "sudo apt install nftables"),
    }
}

fn seccomp(facts: &Facts) -> Finding {
    match facts.seccomp {
        true => Finding::good("seccomp", "system calls can be filtered"),
        false => Finding::missing(
            "seccomp",
            "this kernel filters no system calls",
            "boot a kernel with CONFIG_SECCOMP_FILTER=y; or, at your own risk, --security-opt seccomp=unconfined",
        ),
    }
}

fn landlock(facts: &Facts) -> Finding {
    match facts.landlock {
        Some(version) => Finding::good("landlock", format!("version {version}")),
        None => Finding::good("landlock", "not offered by this kernel; the engine does without"),
    }
}

fn labels(facts: &Facts) -> Finding {
    match facts.security_modules[..] {
        [] => Finding::good("labels", "none active: neither AppArmor nor SELinux"),
        _ => Finding::good("labels", facts.security_modules.join(", ")),
    }
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
