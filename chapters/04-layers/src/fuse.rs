//! The stack merged by a program: `fuse-overlayfs`, behind a mount that is attached nowhere.
//!
//! ```text
//! us     open /dev/fuse ── fsopen("fuse"), fd=N ── fsmount: a descriptor, in no mount table
//! it     reads requests from the same /dev/fuse, which is its standard input
//! ```
//!
//! Whoever holds the mount keeps the program; when the last one lets go, the kernel tells it, and it ends by itself.
//! So it can neither be left behind nor be in any mount namespace but the container's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{CallError, During, step};
use rootfs::Root;
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::attributes::{self, Node};
use crate::disk;
use crate::error::Result;
use crate::member::Time;
use crate::overlay::Overlay;
use crate::whiteout;

/// Its name in `PATH`.
const PROGRAM: &str = "fuse-overlayfs";
/// How long it is waited for once its mount is gone. It needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
/// What it puts into a directory that hides those below it: an empty file, and beside it a device 0/0.
const OPAQUE_FILES: [&str; 2] = [".wh..wh..opq", ".wh..opq"];

/// The program behind a mount. Dropped, it is waited for a moment; whoever drops it has let go of the mount before.
#[derive(Debug)]
pub struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        let since = Instant::now();
        // An error means that somebody else has reaped it. If it lives on, somebody holds the mount, and it ends with that.
        while let Ok(None) = self.0.try_wait() {
            if since.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Mounts the stack nowhere, like [`Overlay::mount`], and starts the program that serves it.
///
/// # Errors
/// No `/dev/fuse`, no such program; what it said when it ended instead of serving.
///
/// # References
/// fuse(4), fuse-overlayfs(1); libfuse's mount point `/dev/fd/N`: a descriptor that is mounted already
pub fn mount(overlay: &Overlay) -> Result<(OwnedFd, Keeper)> {
    let missing = || CallError::refused("mount", PROGRAM, "it is not installed");
    let program = process::needs::find_program(PROGRAM).ok_or_else(missing)?;
    let options = options(overlay)?;
    let device = File::options().read(true).write(true).open("/dev/fuse").during("open", "/dev/fuse")?;
    let mount = attached_nowhere(&device)?;

    step!(4, "execve", "fuse-overlayfs(1)", "have a program merge the layers", "{} -o {options}", program.display());
    let mut said = tempfile::tempfile().during("make", "a file for its errors")?;
    let child = Command::new(&program)
        .args(["-f", "-o", &options, "/dev/fd/0"])
        .stdin(OwnedFd::from(device))
        .stdout(Stdio::null())
        .stderr(said.try_clone().during("dup", "a file for its errors")?)
        .spawn()
        .during("execve", program.display())?;
    let keeper = Keeper(child);
    // The kernel answers no question about the mount before the program is ready, or gone.
    match rustix::fs::statat(&mount, "", AtFlags::EMPTY_PATH) {
        Ok(_) => Ok((mount, keeper)),
        Err(errno) => {
            drop((mount, keeper));
            let mut text = String::new();
            let read = said.rewind().and_then(|()| said.read_to_string(&mut text));
            let last = text.lines().last().filter(|_| read.is_ok()).unwrap_or("it said nothing").to_owned();
            Err(CallError::new("serve", PROGRAM, nix::errno::Errno::from_raw(errno.raw_os_error())).with(last).into())
        }
    }
}

/// A FUSE mount whose requests are read from `device`, behind a descriptor.
fn attached_nowhere(device: &File) -> Result<OwnedFd, CallError> {
    step!(4, "fsopen", "fsopen(2)", "start describing a file system that a program serves", "fuse");
    let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen", "fuse")?;
    let number = device.as_raw_fd().to_string();
    let values = [("source", PROGRAM), ("fd", &number), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")];
    for (key, value) in values {
        rustix::mount::fsconfig_set_string(&context, key, value).during("fsconfig fuse", key)?;
    }
    // The kernel checks modes, as on any disk, and for all users of the container, not only for who mounted it.
    for flag in ["default_permissions", "allow_other"] {
        rustix::mount::fsconfig_set_flag(&context, flag).during("fsconfig fuse", flag)?;
    }
    rustix::mount::fsconfig_create(&context).during("fsconfig fuse", "create")?;
    step!(4, "fsmount", "fsmount(2)", "turn it into a mount that is attached nowhere", "fuse");
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during("fsmount", "fuse")
}

/// `lowerdir=A:B,upperdir=C,workdir=D`.
fn options(overlay: &Overlay) -> Result<String, CallError> {
    let lower: Vec<&str> = overlay.lower.iter().map(|layer| plain(layer)).collect::<Result<_, _>>()?;
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some((upper, work)) = &overlay.upper_work {
        options += &format!(",upperdir={},workdir={}", plain(upper)?, plain(work)?);
    }
    Ok(options)
}

/// A path that means itself in a list of options.
fn plain(path: &Path) -> Result<&str, CallError> {
    let special = |text: &&str| !text.contains([':', ',', '\\']);
    let refused = || CallError::refused("name", path.display(), "fuse-overlayfs takes no `:`, `,` or `\\` in a path");
    path.to_str().filter(special).ok_or_else(refused)
}

/// Says with overlayfs's own attribute what the program said with files, and removes those. It understands both.
pub(crate) fn translate_marks(upper: &Root) -> Result<()> {
    let mut marked: Vec<PathBuf> = Vec::new();
    disk::walk::<CallError>(upper, &mut |found| {
        let is_mark =
            found.name == OPAQUE_FILES[0] && FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile;
        if is_mark {
            marked.push(found.path.parent().unwrap_or(Path::new("")).to_owned());
        }
        Ok(())
    })?;
    marked.iter().try_for_each(|directory| translate(upper, directory))
}

fn translate(upper: &Root, path: &Path) -> Result<()> {
    let handle = upper.open_in(path, OFlags::PATH | OFlags::DIRECTORY)?;
    let directory = disk::open_directory(handle.as_fd(), OsStr::new(".")).during("open", path.display())?;
    whiteout::make_opaque(&directory, path)?;
    let stat = rustix::fs::fstat(&directory).during("stat", path.display())?;
    for name in OPAQUE_FILES {
        match rustix::fs::unlinkat(&directory, OsStr::from_bytes(name.as_bytes()), AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            result => result.during("unlink", path.join(name).display())?,
        }
    }
    // Nothing was changed that the container's owner would call a change.
    Ok(attributes::set_times(Node::Open(directory.as_fd()), Time::of(&stat), path)?)
}
