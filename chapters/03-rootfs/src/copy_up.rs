//! A tmpfs that begins with what the image has in its place (`tmpcopyup`): writable, and gone with the container.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use process::{CallError, During, step};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::root::Root;

/// Deeper trees are refused: each level holds two descriptors open.
const DEEPEST: usize = 128;

/// Copies what the directory `target` of `root` holds into the root of the mount `into`.
///
/// Directories, files and links are copied, with owners, modes, times and the capabilities of files. Devices and sockets
/// are passed over: a tmpfs inside a container has none. Every file is reached through a handle of its directory, so no link
/// of the image leads the copy elsewhere.
///
/// # Errors
/// The failing call, with the name. A target that is missing has nothing to copy.
pub(crate) fn copy_up(root: &Root, target: &Path, into: BorrowedFd<'_>) -> Result<(), CallError> {
    let from = match root.open_in(target, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.errno() == nix::errno::Errno::ENOENT => return Ok(()),
        opened => opened?,
    };
    step!(3, "openat", "tmpfs(5)", "begin with what the image has there", "{}", target.display());
    let into = rustix::fs::openat(into, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during("open", "tmpfs")?;
    copy_attributes(from.as_fd(), into.as_fd(), "tmpfs")?;
    copy_directory(from, into, 0)
        .map_err(|error| CallError { object: format!("{}/{}", target.display(), error.object), ..error })
}

fn copy_directory(from: OwnedFd, into: OwnedFd, depth: usize) -> Result<(), CallError> {
    if depth > DEEPEST {
        return Err(CallError::refused("copy up", "", format!("deeper than {DEEPEST} directories")));
    }
    let entries = Dir::read_from(&from).during("read", "directory")?;
    for entry in entries {
        let entry = entry.during("read", "directory")?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let shown = name.to_string_lossy();
        let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).during("stat", &shown)?;
        let open = |directory: &OwnedFd, flags: OFlags, mode: Mode| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, mode).during("open", &shown)
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(&into, name, Mode::RWXU).during("mkdir", &shown)?;
                let (old, new) =
                    (open(&from, OFlags::DIRECTORY, Mode::empty())?, open(&into, OFlags::DIRECTORY, Mode::empty())?);
                copy_attributes(old.as_fd(), new.as_fd(), &shown)?;
                copy_directory(old, new, depth + 1)?;
            }
            FileType::RegularFile => {
                let old = open(&from, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
                let new = open(&into, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::RUSR)?;
                let (mut reader, mut writer) = (std::fs::File::from(old), std::fs::File::from(new));
                std::io::copy(&mut reader, &mut writer).during("copy", &shown)?;
                copy_attributes(reader.as_fd(), writer.as_fd(), &shown)?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(&from, name, Vec::new()).during("readlink", &shown)?;
                rustix::fs::symlinkat(link.as_c_str(), &into, name).during("symlink", &shown)?;
                let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                rustix::fs::chownat(&into, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                    .during("chown", &shown)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Owner first: a change of owner takes set-user-id bits and capabilities away.
fn copy_attributes(from: BorrowedFd<'_>, into: BorrowedFd<'_>, shown: &str) -> Result<(), CallError> {
    let stat = rustix::fs::fstat(from).during("fstat", shown)?;
    rustix::fs::fchown(into, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
        .during("fchown", shown)?;
    rustix::fs::fchmod(into, Mode::from_raw_mode(stat.st_mode)).during("fchmod", shown)?;
    copy_capabilities(from, into).during("fsetxattr", shown)?;
    let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::futimens(into, &times).during("futimens", shown)
}

fn copy_capabilities(from: BorrowedFd<'_>, into: BorrowedFd<'_>) -> Result<(), Errno> {
    const NAME: &str = "security.capability";
    let mut value = [0_u8; 64];
    match rustix::fs::fgetxattr(from, NAME, &mut value) {
        Ok(length) => rustix::fs::fsetxattr(into, NAME, &value[..length], XattrFlags::empty()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}
