//! What there is to know about a machine and a user, as plain data.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::{sys, trial};

/// Everything that the findings are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release: `6.18.5`.
    pub kernel: String,
    /// The user's id.
    pub uid: u32,
    /// The user's name, if it has one.
    pub user: Option<String>,
    /// `user.max_user_namespaces`; absent in a kernel without user namespaces.
    pub max_user_namespaces: Option<u64>,
    /// Debian's old switch `kernel.unprivileged_userns_clone`, where it exists.
    pub unprivileged_userns_clone: Option<bool>,
    /// `kernel.apparmor_restrict_unprivileged_userns`: Ubuntu since 23.10.
    pub apparmor_restricts_userns: bool,
    /// What became of trying a user namespace, and an overlay inside.
    pub trial: trial::Trial,
    /// How many ids `/etc/subuid` lends to the user.
    pub subuids: u64,
    /// How many ids `/etc/subgid` lends.
    pub subgids: u64,
    /// `newuidmap`.
    pub newuidmap: Helper,
    /// `newgidmap`.
    pub newgidmap: Helper,
    /// The control groups.
    pub cgroups: Cgroups,
    /// Whether the kernel has overlayfs.
    pub overlay: bool,
    /// `fuse-overlayfs`, if it is installed.
    pub fuse_overlayfs: Option<PathBuf>,
    /// `/dev/net/tun`.
    pub tun: Tun,
    /// `pasta`.
    pub pasta: Option<PathBuf>,
    /// `slirp4netns`.
    pub slirp4netns: Option<PathBuf>,
    /// `nft`.
    pub nft: Option<PathBuf>,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// The version of Landlock, if the kernel offers it.
    pub landlock: Option<u32>,
    /// Security modules that label processes and are at work.
    pub security_modules: Vec<String>,
}

/// A program that needs root's power to do one thing for ordinary users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helper {
    /// It is not installed.
    Missing,
    /// It is, and neither the setuid bit nor a capability gives it power.
    Powerless(PathBuf),
    /// It is, and works.
    Works(PathBuf),
}

/// How control groups are mounted, and what the user may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroups {
    /// One tree. `delegated` are the controllers in a group that belongs to the user (root: all there are).
    V2 {
        /// `cpu`, `memory`, ...
        delegated: Vec<String>,
    },
    /// Controllers in trees of their own, and an empty one of version 2.
    Hybrid,
    /// Controllers in trees of their own.
    V1,
    /// Nothing is mounted.
    None,
}

/// Whether virtual network devices can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tun {
    /// There is no such device.
    Missing,
    /// It is there, and the user may not open it.
    Closed,
    /// The user may open it.
    Open,
}

impl Facts {
    /// Reads and tries everything.
    pub fn gather() -> Self {
        let uid = nix::unistd::geteuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
        let (subuids, subgids) =
            (lent("/etc/subuid", uid.as_raw(), user.as_deref()), lent("/etc/subgid", uid.as_raw(), user.as_deref()));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            max_user_namespaces: read("/proc/sys/user/max_user_namespaces").and_then(|text| text.parse().ok()),
            unprivileged_userns_clone: read("/proc/sys/kernel/unprivileged_userns_clone").map(|text| text != "0"),
            apparmor_restricts_userns: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                .is_some_and(|text| text != "0"),
            trial: trial::run(),
            subuids,
            subgids,
            newuidmap: helper("newuidmap"),
            newgidmap: helper("newgidmap"),
            cgroups: cgroups(uid.as_raw()),
            overlay: read("/proc/filesystems").is_some_and(|text| text.lines().any(|line| line.ends_with("overlay"))),
            fuse_overlayfs: find("fuse-overlayfs").filter(|_| Path::new("/dev/fuse").exists()),
            tun: tun(),
            pasta: find("pasta"),
            slirp4netns: find("slirp4netns"),
            nft: find("nft"),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            landlock: sys::landlock_version().ok(),
            security_modules: security_modules(),
            uid: uid.as_raw(),
            user,
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Where a program is, if it is in `PATH` or in the directories of the administrator's programs.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrator = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(administrator).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn helper(name: &str) -> Helper {
    let Some(path) = find(name) else { return Helper::Missing };
    let setuid = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o4000 != 0 && metadata.uid() == 0);
    // Fedora gives the file a capability instead.
    let capable = rustix::fs::getxattr(&path, "security.capability", &mut [0_u8; 64]).is_ok_and(|length| length > 0);
    if setuid || capable { Helper::Works(path) } else { Helper::Powerless(path) }
}

/// The ids that lines `USER:FIRST:COUNT` lend to a user.
fn lent(path: &str, uid: u32, user: Option<&str>) -> u64 {
    count_lent(&fs::read_to_string(path).unwrap_or_default(), uid, user)
}

fn count_lent(text: &str, uid: u32, user: Option<&str>) -> u64 {
    let id = uid.to_string();
    let count = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let ours = owner == id || Some(owner) == user;
        fields.nth(1)?.trim().parse::<u64>().ok().filter(|_| ours)
    };
    text.lines().filter_map(count).fold(0, u64::saturating_add)
}

fn cgroups(uid: u32) -> Cgroups {
    let below = |name: &str| Path::new("/sys/fs/cgroup").join(name);
    if below("cgroup.controllers").exists() {
        // A user manager's group belongs to the user, and lists what may be limited in it.
        let own = if uid == 0 {
            below("cgroup.controllers")
        } else {
            below(&format!("user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"))
        };
        let delegated = fs::read_to_string(own).unwrap_or_default();
        return Cgroups::V2 { delegated: delegated.split_whitespace().map(str::to_owned).collect() };
    }
    match (below("memory").exists(), below("unified").exists()) {
        (true, true) => Cgroups::Hybrid,
        (true, false) => Cgroups::V1,
        (false, _) => Cgroups::None,
    }
}

fn tun() -> Tun {
    let path = "/dev/net/tun";
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Tun::Open,
        Err(_) if Path::new(path).exists() => Tun::Closed,
        Err(_) => Tun::Missing,
    }
}

fn security_modules() -> Vec<String> {
    let apparmor = read("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text == "Y");
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    [("AppArmor", apparmor), ("SELinux", selinux)]
        .into_iter()
        .filter(|(_, active)| *active)
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_lent_by_name_or_by_number_and_added_up() {
        let text = "other:100000:65536\nana:165536:65536\n1000:300000:10\nana:x\n";
        assert_eq!(count_lent(text, 1000, Some("ana")), 65546);
        assert_eq!(count_lent(text, 1000, None), 10);
        assert_eq!(count_lent(text, 7, Some("nobody")), 0);
    }
}
