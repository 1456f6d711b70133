//! Where an engine keeps things.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use process::{CallError, During as _};

use crate::id::ContainerId;

/// The tiny init, in a container's directory: a copy for each, so that no container can change another's.
pub(crate) const INIT_FILE: &str = "pid1";

/// The two directories of an engine: what survives a reboot, and what must not.
///
/// ```text
/// data/                              run/
///   images/     OCI layout             containers/ID/monitor.json   who watches it
///   layers/     committed layers                     cgroup         where that is, if elsewhere (--cgroup-parent)
///                                                    attach.sock    its streams
///   containers/ID/                                   control.sock   resize, wait
///     container.json  as created         runtime/    state of the OCI runtime
///     state.json      its life so far    networks/   leases
///     config.json     the OCI spec
///     init/ upper/ work/  its layers
///     hosts hostname resolv.conf   pid1 (with --init)
///     log.json
///   names/NAME        the ID behind it
///   volumes/NAME/_data
///   networks/
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Images, layers, containers, volumes: `/var/lib/cooper`, or `$XDG_DATA_HOME/cooper` rootless.
    pub data: PathBuf,
    /// Sockets, pids, leases: `/run/cooper`, or `$XDG_RUNTIME_DIR/cooper` rootless.
    pub run: PathBuf,
}

impl Paths {
    /// The default roots of whoever calls: the system's for root, the XDG ones otherwise.
    ///
    /// # References
    /// XDG Base Directory Specification
    pub fn default_for_user() -> Self {
        if rustix::process::geteuid().is_root() && !namespaces::rootless::is_rootless() {
            return Self { data: "/var/lib/cooper".into(), run: "/run/cooper".into() };
        }
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let data = xdg("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("cooper");
        let run = xdg("XDG_RUNTIME_DIR").map_or_else(|| data.join("run"), |directory| directory.join("cooper"));
        Self { data, run }
    }

    /// Both roots below one directory, as `--root` and `COOPER_ROOT` ask for: run state goes to `run/` in it.
    pub fn at(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        // A monitor has another working directory than the command that names the root. (An empty path stays what it is.)
        let data = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        Self { run: data.join("run"), data }
    }

    /// The image store, an OCI layout.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// The committed layers.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// The containers' directories.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One container's directory.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// What one container is made of.
    pub(crate) fn record(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("container.json")
    }

    /// Whether a container was made to the end. A record that a power cut has left empty is none.
    pub(crate) fn is_recorded(&self, id: &ContainerId) -> bool {
        std::fs::metadata(self.record(id)).is_ok_and(|record| record.len() > 0)
    }

    /// The table of names: a file a name, holding the id.
    pub fn names(&self) -> PathBuf {
        self.data.join("names")
    }

    /// The named and anonymous volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// One container's run directory: its monitor's identity and sockets.
    pub fn container_run(&self, id: &ContainerId) -> PathBuf {
        self.run.join("containers").join(id.as_str())
    }

    /// The OCI runtime's state directory.
    pub fn runtime(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// Makes the directories that must exist, each 0700: other users have no business in here.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn make(&self) -> Result<(), CallError> {
        for directory in [self.containers(), self.names(), self.volumes(), self.run.join("containers")] {
            private_directory(&directory)?;
        }
        Ok(())
    }
}

/// Makes `directory` and its missing parents with mode 0700.
pub(crate) fn private_directory(directory: &Path) -> Result<(), CallError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).during("mkdir", directory.display())
}

/// An XDG variable counts only if it is an absolute path.
fn xdg(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
