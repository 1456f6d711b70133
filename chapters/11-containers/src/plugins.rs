//! Volume drivers that are programs of their own: Docker's plugin protocol.
//!
//! A plugin listens on a unix socket and answers small JSON documents over HTTP. Where the socket is says its name:
//!
//! ```text
//!   ROOT/plugins/NAME.sock        this engine's own
//!   /run/docker/plugins/NAME.sock, NAME/NAME.sock
//!   /etc/docker/plugins/NAME.spec, /usr/lib/docker/plugins/NAME.spec    a file with unix:///where/it/is
//!
//!   engine                                        plugin
//!     |-- POST /VolumeDriver.Create {Name, Opts} --->|
//!     |-- POST /VolumeDriver.Mount {Name, ID} ------>|  makes the files appear somewhere
//!     |<-------- {"Mountpoint": "/where"} -----------|
//!     :                                              :  a container runs
//!     |-- POST /VolumeDriver.Unmount {Name, ID} ---->|
//!     |-- POST /VolumeDriver.Remove {Name} --------->|
//! ```
//!
//! # References
//! Docker Engine, "Volume plugins", "Plugin API"

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::id::check_name;

/// Where Docker's plugins put their sockets.
const SOCKETS: &str = "/run/docker/plugins";

/// Where files say where a plugin's socket is.
const SPECIFICATIONS: [&str; 2] = ["/etc/docker/plugins", "/usr/lib/docker/plugins"];

/// How long a plugin may take: a mount over a network is slow, and not for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer, bytes.
const LONGEST: u64 = 1 << 20;

/// A volume driver that is a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plugin {
    name: String,
    socket: PathBuf,
}

impl Plugin {
    /// Finds a plugin by its name, and asks it whether it knows about volumes. `own` is the engine's directory of plugins.
    pub(crate) fn find(name: &str, own: &Path) -> Result<Self> {
        check_name(DRIVER, name)?;
        let file = format!("{name}.sock");
        let sockets = [own.join(&file), Path::new(SOCKETS).join(&file), Path::new(SOCKETS).join(name).join(&file)];
        let specified =
            SPECIFICATIONS.iter().filter_map(|directory| specified(&Path::new(directory).join(format!("{name}.spec"))));
        let Some(socket) = sockets.into_iter().chain(specified).find(|socket| socket.exists()) else {
            let reason = format!(
                "no such driver: there is local, and plugins whose socket is in {} or {SOCKETS}",
                own.display()
            );
            return Err(Error::bad(DRIVER, name, reason));
        };
        let plugin = Self { name: name.to_owned(), socket };
        let answer = plugin.call("Plugin.Activate", &json!({}))?;
        let implements = answer["Implements"].as_array();
        match implements.is_some_and(|list| list.iter().any(|what| what == "VolumeDriver")) {
            true => Ok(plugin),
            false => Err(Error::bad(DRIVER, name, "the plugin is no volume driver")),
        }
    }

    pub(crate) fn create(&self, volume: &str, options: &std::collections::BTreeMap<String, String>) -> Result<()> {
        self.call("VolumeDriver.Create", &json!({ "Name": volume, "Opts": options })).map(drop)
    }

    pub(crate) fn remove(&self, volume: &str) -> Result<()> {
        self.call("VolumeDriver.Remove", &json!({ "Name": volume })).map(drop)
    }

    /// Where the files are, for the user `id`, until that one unmounts.
    pub(crate) fn mount(&self, volume: &str, id: &str) -> Result<PathBuf> {
        let answer = self.call("VolumeDriver.Mount", &json!({ "Name": volume, "ID": id }))?;
        match answer["Mountpoint"].as_str().filter(|path| path.starts_with('/')) {
            Some(path) => Ok(path.into()),
            None => Err(self.failed("VolumeDriver.Mount", "it named no absolute mount point")),
        }
    }

    pub(crate) fn unmount(&self, volume: &str, id: &str) -> Result<()> {
        self.call("VolumeDriver.Unmount", &json!({ "Name": volume, "ID": id })).map(drop)
    }

    /// Where the files are, or would be.
    pub(crate) fn path(&self, volume: &str) -> Result<PathBuf> {
        let answer = self.call("VolumeDriver.Path", &json!({ "Name": volume }))?;
        Ok(answer["Mountpoint"].as_str().unwrap_or_default().into())
    }

    fn call(&self, method: &str, body: &Value) -> Result<Value> {
        let answer =
            self.converse(method, &body.to_string()).map_err(|error| self.failed(method, &error.to_string()))?;
        let document: Value = serde_json::from_str(&answer)
            .map_err(|error| self.failed(method, &format!("its answer is no JSON: {error}")))?;
        match document["Err"].as_str() {
            None | Some("") => Ok(document),
            Some(reason) => Err(self.failed(method, reason)),
        }
    }

    /// One request on a connection of its own. In HTTP/1.0, so that the answer ends where the connection does.
    fn converse(&self, method: &str, body: &str) -> std::io::Result<String> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        write!(
            socket,
            "POST /{method} HTTP/1.0\r\nHost: plugin\r\nAccept: application/vnd.docker.plugins.v1.1+json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        socket.take(LONGEST).read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no answer in HTTP"))?;
        // An error's body says why as well as any other's.
        let fine = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        match fine || body.contains("\"Err\"") {
            true => Ok(body.to_owned()),
            false => Err(std::io::Error::other(head.lines().next().unwrap_or_default().to_owned())),
        }
    }

    fn failed(&self, method: &str, reason: &str) -> Error {
        Error::bad(DRIVER, &self.name, format!("{method}: {reason}"))
    }
}

const DRIVER: &str = "volume driver";

/// The socket that a plugin's file names.
fn specified(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().strip_prefix("unix://").map(PathBuf::from)
}
