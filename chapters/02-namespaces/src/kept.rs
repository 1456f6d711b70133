//! Namespaces that outlive their processes, by name: each is bind-mounted on a file.
//!
//! ```text
//! /run/cooper/namespaces/          a private mount of its own
//!   blue/                          one name
//!     net   uts                    one file a kind, with the namespace mounted on it
//! ```
//!
//! `ip netns` does the same for networks, and its users know the pitfalls, which are avoided here:
//! - a *shared* directory copies each kept namespace into every mount namespace made later, where it lives on
//!   after it was removed: this directory is private, and made so under a lock, so that two callers do not
//!   stack two mounts on it;
//! - a failure half-way leaves a plain file that looks like a namespace: here it is undone, and a file with
//!   nothing mounted on it is listed as broken and can be removed;
//! - a removed name may live on in processes: [`KeptNamespaces::remove`] says in which.

use std::path::{Path, PathBuf};

use process::state::Lock;
use process::{CallError, During, Pid, step};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::fd::NamespaceFd;
use crate::kind::NamespaceKind;

/// A directory of kept namespaces.
#[derive(Debug)]
pub struct KeptNamespaces {
    directory: PathBuf,
}

/// One kept namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name that it was kept under.
    pub name: String,
    /// Its kind.
    pub kind: NamespaceKind,
    /// Its inode number; none if nothing is mounted on the file any more.
    pub id: Option<u64>,
}

impl KeptNamespaces {
    /// The namespaces kept in this directory. Nothing is made before something is kept.
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Keeps these kinds of a process's namespaces under a name.
    ///
    /// # Errors
    /// A name that exists or is malformed; a pid namespace, which is over with its pid 1 whoever holds it; EPERM
    /// without CAP_SYS_ADMIN; EINVAL for the mount namespace that the directory itself lies in.
    ///
    /// # References
    /// namespaces(7), "The /proc/pid/ns/ directory"; mount(2), MS_BIND
    pub fn keep(&self, name: &str, pid: Pid, kinds: &[NamespaceKind]) -> Result<(), CallError> {
        check_name(name)?;
        if kinds.contains(&NamespaceKind::Pid) {
            return Err(CallError::refused("keep", "pid", "a pid namespace ends with its pid 1, whoever holds it"));
        }
        for kind in kinds {
            if NamespaceFd::of(pid, *kind)?.id()? == NamespaceFd::own(*kind)?.id()? {
                return Err(CallError::refused("keep", kind, "the process shares it with this one: it is kept anyway"));
            }
        }
        std::fs::create_dir_all(&self.directory).during("mkdir", self.directory.display())?;
        let _lock = self.lock()?;
        make_private(&self.directory)?;
        let place = self.directory.join(name);
        std::fs::create_dir(&place).during("mkdir", place.display())?;
        let kept = kinds.iter().try_for_each(|kind| keep_one(&place, pid, *kind));
        if kept.is_err() {
            // The first error is the one to report. What cannot be undone is listed as broken, and removed by name.
            let _ = remove_all(&place);
        }
        kept
    }

    /// All that is kept, by name and kind.
    ///
    /// # Errors
    /// Those of reading the directory. One that does not exist holds nothing.
    pub fn list(&self) -> Result<Vec<Kept>, CallError> {
        let mut list = Vec::new();
        for name in names_in(&self.directory)?.into_iter().filter(|name| check_name(name).is_ok()) {
            let place = self.directory.join(&name);
            if place.is_dir() {
                list.extend(kinds_in(&place)?.into_iter().map(|kind| {
                    let id = NamespaceFd::open(&place.join(kind.proc_name()), kind).and_then(|held| held.id()).ok();
                    Kept { name: name.clone(), kind, id }
                }));
            }
        }
        Ok(list)
    }

    /// Opens what is kept under a name, to join it.
    ///
    /// # Errors
    /// ENOENT for an unknown name; a file that nothing is mounted on.
    pub fn open(&self, name: &str) -> Result<Vec<NamespaceFd>, CallError> {
        check_name(name)?;
        let place = self.directory.join(name);
        if !place.is_dir() {
            return Err(
                CallError::new("open", place.display(), nix::errno::Errno::ENOENT).with("nothing is kept there")
            );
        }
        kinds_in(&place)?.into_iter().map(|kind| NamespaceFd::open(&place.join(kind.proc_name()), kind)).collect()
    }

    /// Lets go of a name. The namespaces end as soon as nobody is in them; whoever still is, is returned.
    ///
    /// # Errors
    /// ENOENT for an unknown name.
    pub fn remove(&self, name: &str) -> Result<Vec<Pid>, CallError> {
        check_name(name)?;
        let _lock = self.lock()?;
        let place = self.directory.join(name);
        let held: Vec<_> = self.list()?.into_iter().filter(|kept| kept.name == name).collect();
        let members = members_of(&held)?;
        remove_all(&place)?;
        if names_in(&self.directory)?.is_empty() {
            self.close()?;
        }
        Ok(members)
    }

    /// Takes the directory away with the last name in it. The lock beside it stays: who waits for it needs it.
    fn close(&self) -> Result<(), CallError> {
        let shown = &self.directory.display();
        match rustix::mount::unmount(&self.directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // EINVAL: nothing was mounted there.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno).during("umount2", shown),
        }
        std::fs::remove_dir(&self.directory).during("rmdir", shown)
    }

    fn lock(&self) -> Result<Lock, CallError> {
        // Beside the directory, which is about to be mounted upon.
        Lock::exclusive(&self.directory.with_extension("lock"))
    }
}

/// Mounts the directory on itself, private, unless that was done before.
fn make_private(directory: &Path) -> Result<(), CallError> {
    let shown = &directory.display();
    let stat = rustix::fs::statx(CWD, directory, AtFlags::empty(), StatxFlags::BASIC_STATS).during("statx", shown)?;
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        step!(2, "mount", "mount(2)", "a place whose mounts reach no other mount namespace", "{shown} MS_BIND");
        rustix::mount::mount_bind(directory, directory).during("mount MS_BIND", shown)?;
    }
    rustix::mount::mount_change(directory, MountPropagationFlags::PRIVATE).during("mount MS_PRIVATE", shown)
}

fn keep_one(place: &Path, pid: Pid, kind: NamespaceKind) -> Result<(), CallError> {
    let (file, source) = (place.join(kind.proc_name()), format!("/proc/{pid}/ns/{}", kind.proc_name()));
    std::fs::File::create_new(&file).during("create", file.display())?;
    step!(2, "mount", "mount(2)", "keep the namespace without a process", "{source} on {} MS_BIND", file.display());
    rustix::mount::mount_bind(&source, &file)
        .during("mount MS_BIND", file.display())
        .map_err(|error| error.with(source))
}

/// Unmounts and removes every file of a name, and the name.
fn remove_all(place: &Path) -> Result<(), CallError> {
    for kind in kinds_in(place)? {
        let file = place.join(kind.proc_name());
        step!(2, "umount2", "umount(2)", "let go of the namespace", "{} MNT_DETACH", file.display());
        match rustix::mount::unmount(&file, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // EINVAL: nothing was mounted there.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno).during("umount2", file.display()),
        }
        std::fs::remove_file(&file).during("unlink", file.display())?;
    }
    std::fs::remove_dir(place).during("rmdir", place.display())
}

fn kinds_in(place: &Path) -> Result<Vec<NamespaceKind>, CallError> {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(place).during("read", place.display())? {
        let name = entry.during("read", place.display())?.file_name();
        kinds.push(name.to_string_lossy().parse()?);
    }
    kinds.sort_unstable();
    Ok(kinds)
}

fn names_in(directory: &Path) -> Result<Vec<String>, CallError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during("read", directory.display())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.during("read", directory.display())?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The processes that are in one of these namespaces.
fn members_of(kept: &[Kept]) -> Result<Vec<Pid>, CallError> {
    let pids = names_in(Path::new("/proc"))?.into_iter().filter_map(|name| name.parse::<Pid>().ok());
    let is_member = |pid: &Pid| {
        // A process that ends while we look is no member.
        kept.iter().any(|kept| {
            let theirs = NamespaceFd::of(*pid, kept.kind).and_then(|namespace| namespace.id());
            kept.id.is_some() && theirs.ok() == kept.id
        })
    };
    let mut members: Vec<Pid> = pids.filter(is_member).collect();
    members.sort_unstable();
    Ok(members)
}

/// A name becomes a directory's: letters, digits, `-`, `_` and `.`, and no dot in front.
fn check_name(name: &str) -> Result<(), CallError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    let reason = "expected 1 to 64 letters, digits, '-', '_' and '.', the first no '.'";
    Err(CallError::refused("keep namespaces as", name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\0", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["blue", "a.b-c_1", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
