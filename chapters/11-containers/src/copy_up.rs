//! A new volume begins with what the image has in its place.
//!
//! Every step goes through a directory's descriptor and never follows a link, on either side: the image is
//! a stranger's, and a volume may be shared with another container that runs already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use process::{CallError, During as _};
use rootfs::Root;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// Directories deeper than this are no image's volume.
const DEEPEST: usize = 256;

/// Copies the content of `path` in `root` into `data`, which then looks like that directory: owner, mode and times too.
///
/// Nothing happens if there is no such directory, or if `data` has content already. Devices, pipes and
/// sockets are left out: they are not content.
pub(crate) fn copy_up(root: &Root, path: &Path, data: &Path) -> Result<(), CallError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(from) = root.open_in(path.strip_prefix("/").unwrap_or(path), flags) else { return Ok(()) };
    let into = fs::open(data, flags | OFlags::NOFOLLOW, Mode::empty()).during("open", data.display())?;
    if !names(&into)?.is_empty() {
        return Ok(());
    }
    copy_directory(&from, &into, 0)
}

fn copy_directory(from: &OwnedFd, into: &OwnedFd, depth: usize) -> Result<(), CallError> {
    if depth > DEEPEST {
        return Err(CallError::refused("copy", "volume", format!("more than {DEEPEST} directories deep")));
    }
    for name in names(from)? {
        let stat = fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW).during("stat", &name)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                fs::mkdirat(into, &name, Mode::RWXU).during("mkdir", &name)?;
                let (below, copy) = (open_directory(from.as_fd(), &name)?, open_directory(into.as_fd(), &name)?);
                copy_directory(&below, &copy, depth + 1)?;
            }
            FileType::RegularFile => copy_file(from, into, &name, &stat)?,
            FileType::Symlink => {
                let target = fs::readlinkat(from, &name, Vec::new()).during("readlink", &name)?;
                fs::symlinkat(target.as_c_str(), into, &name).during("symlink", &name)?;
                let (user, group) = owner(&stat);
                fs::chownat(into, &name, user, group, AtFlags::SYMLINK_NOFOLLOW).during("lchown", &name)?;
            }
            _ => {}
        }
    }
    // Last: writing into it changed its times, and its mode may forbid writing.
    dress(from, into, &fs::fstat(from).during("fstat", "directory")?)
}

fn copy_file(from: &OwnedFd, into: &OwnedFd, name: &str, stat: &Stat) -> Result<(), CallError> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = std::fs::File::from(fs::openat(from, name, read, Mode::empty()).during("open", name)?);
    let mut copy = std::fs::File::from(fs::openat(into, name, write, Mode::RUSR | Mode::WUSR).during("open", name)?);
    std::io::copy(&mut source, &mut copy).during("copy", name)?;
    dress(&source.into(), &copy.into(), stat)
}

/// Gives a copy the owner, mode, attributes and times of its original; the mode after the owner, which may clear bits of it.
fn dress(original: &OwnedFd, copy: &OwnedFd, stat: &Stat) -> Result<(), CallError> {
    let (user, group) = owner(stat);
    fs::fchown(copy, user, group).during("fchown", "copy")?;
    fs::fchmod(copy, Mode::from_raw_mode(stat.st_mode)).during("fchmod", "copy")?;
    // After the owner, whose change takes capabilities away, and after the mode, which is a part of an access list.
    copy_attributes(original, copy)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    fs::futimens(copy, &times).during("futimens", "copy")
}

/// Extended attributes: capabilities, access lists, and what users keep there. Labels are the machine's policy to set.
fn copy_attributes(original: &OwnedFd, copy: &OwnedFd) -> Result<(), CallError> {
    let mut names = vec![0; LARGEST_ATTRIBUTE];
    let length = match fs::flistxattr(original, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno).during("flistxattr", "original"),
    };
    let mut value = vec![0; LARGEST_ATTRIBUTE];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let shown = String::from_utf8_lossy(name);
        if shown == "security.selinux" || shown.starts_with("trusted.") || shown.starts_with("user.overlay.") {
            continue;
        }
        let length = fs::fgetxattr(original, name, &mut value[..]).during("fgetxattr", &shown)?;
        match fs::fsetxattr(copy, name, &value[..length], fs::XattrFlags::empty()) {
            // A file system that has none of this kind cannot keep them.
            Err(Errno::OPNOTSUPP) => {}
            set => set.during("fsetxattr", &shown)?,
        }
    }
    Ok(())
}

/// The kernel's own bound on one attribute and on all their names, bytes.
const LARGEST_ATTRIBUTE: usize = 64 << 10;

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, CallError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty()).during("open", name)
}

/// The names in a directory. One that is not UTF-8 is refused: copied under another name it would be another file.
fn names(directory: &OwnedFd) -> Result<Vec<String>, CallError> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(directory).during("getdents", "directory")? {
        let entry = entry.during("getdents", "directory")?;
        let name = entry.file_name().to_str();
        let name =
            name.map_err(|_| CallError::refused("copy", "volume", format!("{:?} is not UTF-8", entry.file_name())))?;
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn links_are_copied_as_links_and_content_is_never_overwritten() {
        let (image, volume, outside) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = image.path().join("srv/data");
        std::fs::create_dir_all(data.join("sub")).unwrap();
        std::fs::write(data.join("sub/file"), "content").unwrap();
        std::fs::set_permissions(data.join("sub"), std::fs::Permissions::from_mode(0o711)).unwrap();
        std::fs::write(outside.path().join("secret"), "").unwrap();
        let kept =
            rustix::fs::setxattr(data.join("sub/file"), "user.origin", b"image", rustix::fs::XattrFlags::empty());
        symlink(outside.path(), data.join("link")).unwrap();
        symlink("/srv/data", image.path().join("alias")).unwrap();

        let root = Root::open(image.path()).unwrap();
        copy_up(&root, Path::new("/alias"), volume.path()).unwrap();
        assert_eq!(std::fs::read_to_string(volume.path().join("sub/file")).unwrap(), "content");
        assert_eq!(volume.path().join("sub").metadata().unwrap().permissions().mode() & 0o777, 0o711);
        assert!(volume.path().join("link").is_symlink());
        let mut value = [0; 16];
        let found = rustix::fs::getxattr(volume.path().join("sub/file"), "user.origin", &mut value[..]);
        // Where a file system keeps none, there is none to copy.
        assert!(kept.is_err() || &value[..found.unwrap()] == b"image");

        std::fs::write(volume.path().join("sub/file"), "changed").unwrap();
        copy_up(&root, Path::new("/srv/data"), volume.path()).unwrap();
        assert_eq!(std::fs::read_to_string(volume.path().join("sub/file")).unwrap(), "changed");
        copy_up(&root, Path::new("/not/there"), volume.path()).unwrap();
    }
}
