//! The socket: made private, listened on, cleaned up.
//!
//! Whoever may write to this socket may start a privileged container, and is root by that.
//! So its mode is 0600 before anybody can connect, and an address that other machines could
//! reach is refused: that needs mutual TLS first.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::{Api, Config};
use crate::error::Error;
use crate::router::router;

/// How long answers that are under way may take after a signal to end. What lasts longer, a
/// `logs -f` or a `wait`, is cut off; its client sees the connection close.
const GRACE: Duration = Duration::from_secs(2);

/// Serves the API until SIGTERM or SIGINT; prints `API listen on PATH` when clients may
/// connect. Containers are the children of their own monitors: they outlive this process.
///
/// # Errors
/// [`Error`]: an address that is no path, a socket in use, or a system call that failed.
pub fn run(config: Config) -> Result<(), Error> {
    let path = socket_path(&config.socket)?;
    let api = Arc::new(Api::open(config)?);
    let engine = Arc::clone(&api);
    // Beside the requests: starting a hundred containers must not keep the first client waiting.
    std::thread::spawn(move || revive(&engine));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| fault("start the threads for", &path, source))?;
    let served = runtime.block_on(serve(&path, api));
    // Blocking calls that wait for a container would hold an ordinary shutdown for ever.
    runtime.shutdown_background();
    served
}

/// Starts what is to run whenever this daemon does.
fn revive(api: &Api) {
    match api.engine().revive() {
        Err(error) => eprintln!("restart policies: {error}"),
        Ok(revived) => {
            for (container, failure) in revived {
                failure.into_iter().for_each(|error| eprintln!("restart {}: {error}", container.name()));
            }
        }
    }
}

/// Reads an address as docker writes it: a path, or `unix://PATH`.
///
/// # Errors
/// [`Error::Tcp`] for anything else with a scheme.
pub fn socket_path(address: &str) -> Result<PathBuf, Error> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if path.contains("://") || path.is_empty() {
        return Err(Error::Tcp { address: address.to_owned() });
    }
    Ok(PathBuf::from(path))
}

async fn serve(path: &Path, api: Arc<Api>) -> Result<(), Error> {
    let mut terminate = stop_signal(path, SignalKind::terminate())?;
    let mut interrupt = stop_signal(path, SignalKind::interrupt())?;
    let listener = listen(path)?;
    println!("API listen on {}", path.display());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut drain = stopped.clone();
    let server = axum::serve(listener, router(api)).with_graceful_shutdown(async move {
        // An error means that the sender is gone: the daemon ends anyway.
        let _ended = drain.wait_for(|stop| *stop).await;
    });
    let deadline = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        tokio::time::sleep(GRACE).await;
    };
    let served = tokio::select! {
        served = server => served,
        () = deadline => Ok(()),
    };
    // Already gone is as good: nobody can connect to it any more.
    let _gone = std::fs::remove_file(path);
    served.map_err(|source| fault("serve", path, source))
}

fn stop_signal(path: &Path, kind: SignalKind) -> Result<tokio::signal::unix::Signal, Error> {
    signal(kind).map_err(|source| fault("wait for signals beside", path, source))
}

/// Binds the socket with mode 0600 from its first moment, replacing one that nobody serves.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    remove_stale(path)?;
    // bind(2) makes the socket with the process's umask; between it and a chmod anybody could
    // connect. So it is bound under another name inside a private directory, and renamed.
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| fault("make the directory of", path, e))?;
    let private = tempfile::Builder::new()
        .prefix(".cooper-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|e| fault("make a directory beside", path, e))?;
    let fresh = private.path().join("s");
    let listener = UnixListener::bind(&fresh).map_err(|e| fault("bind", path, e))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| fault("chmod 0600", path, e))?;
    std::fs::rename(&fresh, path).map_err(|e| fault("rename into place", path, e))?;
    Ok(listener)
}

/// A daemon that was killed leaves its socket behind: connecting is refused, and only then
/// is it safe to remove. Anything that is no socket is left alone, and binding fails.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fault("look at", path, e)),
    };
    if !kind.is_socket() {
        let reason = io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket");
        return Err(fault("bind", path, reason));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::InUse { path: path.to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| fault("remove the stale", path, e))
        }
        Err(e) => Err(fault("connect to", path, e)),
    }
}

fn fault(operation: &'static str, path: &Path, reason: io::Error) -> Error {
    Error::Socket { operation, path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tcp_is_refused_and_unix_paths_are_taken_in_both_spellings() {
        assert!(matches!(socket_path("tcp://0.0.0.0:2375"), Err(Error::Tcp { .. })));
        let path = Path::new("/run/c.sock");
        assert_eq!(socket_path("unix:///run/c.sock").unwrap(), path);
        assert_eq!(socket_path("/run/c.sock").unwrap(), path);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let served = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(remove_stale(&path), Err(Error::InUse { .. })));
        drop(served);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_the_sockets_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        assert!(remove_stale(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
