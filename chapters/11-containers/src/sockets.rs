//! Unix sockets in a run directory, however long its path is.
//!
//! A socket's address has room for 108 bytes, and a container's run directory has 64 in its id alone.
//! So the directory is opened, and the socket is named through the descriptor:
//! `/proc/self/fd/7/attach.sock` is short wherever descriptor 7 leads.
//!
//! # References
//! unix(7), "Pathname sockets"; proc_pid_fd(5)

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use process::{CallError, During as _, step};
use rustix::fs::{Mode, OFlags};

/// Listens on `directory/name`; a socket that an earlier process left there is replaced.
///
/// # Errors
/// Those of open(2), unlink(2) and bind(2).
pub(crate) fn listen(directory: &Path, name: &str) -> Result<UnixListener, CallError> {
    let (_directory, path) = through_descriptor(directory, name)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).during("unlink", name),
        _ => {}
    }
    step!(11, "bind", "unix(7)", "let clients reach the container's monitor", "{}/{name}", directory.display());
    let listener = UnixListener::bind(&path).during("bind", directory.join(name).display())?;
    listener.set_nonblocking(true).during("fcntl O_NONBLOCK", name)?;
    Ok(listener)
}

/// Connects to `directory/name`.
///
/// # Errors
/// ENOENT and ECONNREFUSED where nobody listens.
pub(crate) fn connect(directory: &Path, name: &str) -> Result<UnixStream, CallError> {
    let (_directory, path) = through_descriptor(directory, name)?;
    UnixStream::connect(&path).during("connect", directory.join(name).display())
}

/// The short path, and the descriptor that it is good for.
fn through_descriptor(directory: &Path, name: &str) -> Result<(OwnedFd, PathBuf), CallError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).during("open", directory.display())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", fd.as_raw_fd()));
    Ok((fd, path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_s_path_may_be_longer_than_a_socket_s_address() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let first = listen(&deep, "s").unwrap();
        drop(first);
        let _second = listen(&deep, "s").unwrap();
        connect(&deep, "s").unwrap();
    }
}
