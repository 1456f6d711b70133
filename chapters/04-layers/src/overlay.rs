//! A stack of layers seen as one tree: overlayfs, mounted detached.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use process::{CallError, During, step};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use serde::{Deserialize, Serialize};

use crate::idmap::Ids;
use crate::joined;

/// Layers to stack, as plain data: a plan that can be written down, sent to a child, and mounted there.
///
/// ```text
///            what the container sees
///   upper    what it changes                  (none: the tree is read-only)
///   lower[0] the image's topmost layer
///   lower[n] the image's first layer
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The directories to see through, **topmost first**.
    pub lower: Vec<PathBuf>,
    /// The directory that takes changes and overlayfs's own work directory beside it, which must be
    /// empty and on the same file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_work: Option<(PathBuf, PathBuf)>,
    /// What becomes of changes when the machine loses power.
    #[serde(default)]
    pub durability: Durability,
}

/// Whether what programs in the overlay sync must reach the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// fsync(2) means what it says: for containers that are started again.
    #[default]
    Kept,
    /// fsync(2) does nothing, which makes package managers many times faster: for an upper directory that a crash
    /// throws away, or that is synced as a whole before anybody relies on it.
    Volatile,
}

/// The kernel's own bound, `OVL_MAX_STACK`.
const MOST_LAYERS: usize = 500;
/// What `fsconfig` takes for one value, its final zero byte included.
const LONGEST_VALUE: usize = 256;

impl Overlay {
    /// Makes the upper and the work directory where they are missing.
    ///
    /// The upper directory *is* the container's `/`, so a new one takes mode and owner of the `/` below it.
    ///
    /// # Errors
    /// Those of mkdir, stat, chown and chmod.
    pub fn prepare(&self) -> Result<(), CallError> {
        let Some((upper, work)) = &self.upper_work else { return Ok(()) };
        std::fs::create_dir_all(work).during("mkdir", work.display())?;
        if upper.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(upper).during("mkdir", upper.display())?;
        let Some(top) = self.lower.first() else { return Ok(()) };
        let below = std::fs::metadata(top).during("stat", top.display())?;
        let handle = File::open(upper).during("open", upper.display())?;
        std::os::unix::fs::fchown(&handle, Some(below.uid()), Some(below.gid())).during("fchown", upper.display())?;
        // After chown, which may clear bits of the mode.
        handle.set_permissions(below.permissions()).during("fchmod", upper.display())
    }

    /// Mounts the stack nowhere: the returned descriptor *is* the mount, and closing it is unmounting it.
    ///
    /// Nothing appears in any mount table until somebody calls `move_mount` with it, so a crash between
    /// here and there leaves nothing behind. The caller needs `CAP_SYS_ADMIN` in its mount namespace's
    /// user namespace.
    ///
    /// # Errors
    /// Those of the kernel calls, each named; `fsconfig` errors carry overlayfs's own explanation if it gave one.
    ///
    /// # References
    /// fsopen(2), fsconfig(2), fsmount(2); Linux Documentation/filesystems/overlayfs.rst
    pub fn mount(&self) -> Result<OwnedFd, CallError> {
        if self.lower.len() > MOST_LAYERS {
            let reason = format!("{} lower layers; the kernel stacks {MOST_LAYERS}", self.lower.len());
            return Err(CallError::refused("mount", "overlay", reason));
        }
        match self.mount_layer_by_layer() {
            // An option that this kernel does not know.
            Err(error) if error.errno() == nix::errno::Errno::EINVAL && !takes_layers_one_by_one() => {
                joined::mount(self)
            }
            result => result,
        }
    }

    /// The way of Linux 6.7: an option for each layer, so that neither their number nor their names have to fit anywhere.
    fn mount_layer_by_layer(&self) -> Result<OwnedFd, CallError> {
        step!(4, "fsopen", "fsopen(2)", "start describing an overlay to the kernel", "overlay");
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen", "overlay")?;

        // Paths too long for one value are named through descriptors, which must live until `create`.
        let mut handles = Vec::new();
        for layer in &self.lower {
            set(&context, "lowerdir+", &short_name(layer, &mut handles)?)?;
        }
        if let Some((upper, work)) = &self.upper_work {
            set(&context, "upperdir", &short_name(upper, &mut handles)?)?;
            set(&context, "workdir", &short_name(work, &mut handles)?)?;
            if self.durability == Durability::Volatile {
                step!(4, "fsconfig", "fsconfig(2)", "make fsync in it do nothing", "volatile");
                rustix::mount::fsconfig_set_flag(&context, "volatile").map_err(|e| explain(&context, "volatile", e))?;
            }
        }
        if Ids::here() == Ids::Namespace {
            step!(4, "fsconfig", "fsconfig(2)", "keep overlay's notes in user. attributes", "userxattr");
            rustix::mount::fsconfig_set_flag(&context, "userxattr").map_err(|e| explain(&context, "userxattr", e))?;
        } else {
            // Whatever this kernel's defaults are: `diff` reads the upper directory alone, so every change must stand
            // there in full. A redirect or a copy of metadata alone would be a pointer into the layers below, and
            // an index ties the upper directory to the very lower ones that it was first mounted with, by file
            // handle, so that a layer that was pulled again would be refused.
            for option in ["redirect_dir", "metacopy", "index"] {
                set(&context, option, Path::new("off"))?;
            }
        }

        step!(4, "fsconfig", "fsconfig(2)", "make the overlay", "{} lower layers", self.lower.len());
        rustix::mount::fsconfig_create(&context).map_err(|e| explain(&context, "create", e))?;
        step!(4, "fsmount", "fsmount(2)", "turn it into a mount that is attached nowhere", "overlay");
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .during("fsmount", "overlay")
    }
}

/// Whether the kernel has `lowerdir+`: Linux 6.7 and later.
fn takes_layers_one_by_one() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

/// Sets one option of a file system under construction.
fn set(context: &OwnedFd, key: &'static str, value: &Path) -> Result<(), CallError> {
    step!(4, "fsconfig", "fsconfig(2)", "describe the overlay", "{key}={}", value.display());
    rustix::mount::fsconfig_set_string(context, key, value)
        .map_err(|errno| explain(context, &format!("{key}={}", value.display()), errno))
}

/// A path that fits into one `fsconfig` value, by way of `/proc/self/fd` if need be.
fn short_name(path: &Path, handles: &mut Vec<OwnedFd>) -> Result<PathBuf, CallError> {
    if path.as_os_str().len() < LONGEST_VALUE {
        return Ok(path.to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(path, flags, Mode::empty()).during("open", path.display())?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    handles.push(handle);
    Ok(name)
}

/// An error with what the kernel left in the context's own log, where it says far more than an errno can.
fn explain(context: &OwnedFd, option: &str, errno: rustix::io::Errno) -> CallError {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    // Each read takes one message: "e overlay: No changes allowed in ...". ENODATA ends them.
    while let Ok(n) = rustix::io::read(context, &mut buffer[..]) {
        let line = String::from_utf8_lossy(&buffer[..n]);
        said.push(line.trim().trim_start_matches("e ").to_owned());
        if n == 0 || said.len() == 8 {
            break;
        }
    }
    let error = CallError::new("fsconfig", "overlay", nix_errno(errno));
    match said.is_empty() {
        true => error.with(option),
        false => error.with(format!("{option}; {}", said.join("; "))),
    }
}

fn nix_errno(errno: rustix::io::Errno) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(errno.raw_os_error())
}
