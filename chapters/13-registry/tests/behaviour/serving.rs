//! A registry in the test's own process, and one as a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use registry::{Bound, Config, Journal};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A registry on a loopback port; dropped, it stops and its files are gone.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// For everybody.
    pub(crate) fn open() -> Serving {
        Serving::start(None)
    }

    /// For `alice` with the password `secret`.
    pub(crate) fn private() -> Serving {
        Serving::start(Some(format!("alice:{}\n", bcrypt::hash("secret", 4).unwrap())))
    }

    /// The registry's directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn start(htpasswd: Option<String>) -> Serving {
        let dir = tempfile::tempdir().unwrap();
        let htpasswd = htpasswd.map(|text| {
            let path = dir.path().join("htpasswd");
            std::fs::write(&path, text).unwrap();
            path
        });
        let config = config(&dir.path().join("root"), htpasswd);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let bound = Bound::bind(&config).await.unwrap();
                ready.send(bound.address()).unwrap();
                let shutdown = async {
                    // A sender that is dropped means the same as one that sends.
                    let _ = stopped.await;
                };
                bound.serve(Journal::Silent, shutdown).await;
            });
        });
        Serving { address: is_ready.recv().unwrap(), dir, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; a second one here would end the process.
            let _ = thread.join();
        }
    }
}

/// Any free port of loopback.
pub(crate) fn config(root: &Path, htpasswd: Option<PathBuf>) -> Config {
    Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), root: root.to_owned(), htpasswd }
}
