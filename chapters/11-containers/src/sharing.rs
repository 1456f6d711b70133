//! Namespaces that a container does not have for itself: the machine's, or another container's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use namespaces::{NamespaceFd, NamespaceKind};
use process::Pid;
use rootfs::DetachedMount;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::check_name;
use crate::record::Container;

/// Whose namespace of one kind it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// Its own.
    #[default]
    Own,
    /// The machine's.
    Host,
    /// Another container's, which must run when this one starts. Its id, once the container is created.
    Container(String),
}

/// Whose shared memory and message queues it uses: `--ipc`, with docker's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ipc {
    /// Its own, which no other container may ask for.
    #[default]
    Private,
    /// Its own, and other containers may ask for it.
    Shareable,
    /// Its own, without a `/dev/shm`.
    NoSharedMemory,
    /// The machine's.
    Host,
    /// Another container's, which must run when this one starts, with its `/dev/shm`. Its id, once the container is
    /// created.
    Container(String),
}

/// `--pid`, `--ipc`, `--uts`, `--cgroupns`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// Processes that it sees.
    pub pid: Share,
    /// Shared memory and message queues.
    pub ipc: Ipc,
    /// The host name.
    pub uts: Share,
    /// What the control groups' tree begins with. Its own, or the machine's.
    pub cgroup: Share,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => Ok(()),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "private" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            text => match other_container("namespace", text)? {
                Some(name) => Ok(Self::Container(name)),
                None => Err(Error::bad("namespace", text, "host, container:NAME, or nothing for its own")),
            },
        }
    }
}

impl TryFrom<String> for Share {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for Ipc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Shareable => f.write_str("shareable"),
            Self::NoSharedMemory => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl FromStr for Ipc {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "private" => Ok(Self::Private),
            "shareable" => Ok(Self::Shareable),
            "none" => Ok(Self::NoSharedMemory),
            "host" => Ok(Self::Host),
            text => match other_container("--ipc", text)? {
                Some(name) => Ok(Self::Container(name)),
                None => Err(Error::bad("--ipc", text, "private, shareable, none, host or container:NAME")),
            },
        }
    }
}

impl TryFrom<String> for Ipc {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Ipc> for String {
    fn from(ipc: Ipc) -> Self {
        ipc.to_string()
    }
}

/// The name or id in `container:NAME`, which every option takes that can name another container's namespace; `None` for another text.
///
/// # Errors
/// [`Error::BadValue`] naming `option` for what can be no container's name.
pub(crate) fn other_container(option: &'static str, text: &str) -> Result<Option<String>> {
    let name = text.strip_prefix("container:");
    name.map(|name| check_name(option, name).map(|()| name.to_owned())).transpose()
}

/// Where the namespaces of one start are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Found {
    /// To be made.
    #[default]
    New,
    /// The machine's, in which everything begins.
    Inherited,
    /// Those of this process.
    Of(Pid),
}

/// The four of a [`Sharing`], found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// Processes.
    pub pid: Found,
    /// Shared memory.
    pub ipc: Found,
    /// The host name.
    pub uts: Found,
    /// The control groups' tree.
    pub cgroup: Found,
}

impl Sharing {
    /// Names become ids: another container may take the name later.
    pub(crate) fn resolve(&mut self, engine: &Engine) -> Result<()> {
        for share in [&mut self.pid, &mut self.uts, &mut self.cgroup] {
            if let Share::Container(name) = share {
                *name = engine.find(name)?.id().to_string();
            }
        }
        if let Ipc::Container(name) = &mut self.ipc {
            let lender = engine.find(name)?;
            lends_ipc(&lender)?;
            *name = lender.id().to_string();
        }
        Ok(())
    }

    /// Where the namespaces are now.
    pub(crate) fn places(&self, engine: &Engine) -> Result<Places> {
        let place = |share: &Share| match share {
            Share::Own => Ok(Found::New),
            Share::Host => Ok(Found::Inherited),
            Share::Container(name) => of_running(&engine.find(name)?),
        };
        let ipc = match &self.ipc {
            Ipc::Private | Ipc::Shareable | Ipc::NoSharedMemory => Found::New,
            Ipc::Host => Found::Inherited,
            Ipc::Container(name) => of_running(&engine.find(name)?)?,
        };
        Ok(Places { pid: place(&self.pid)?, ipc, uts: place(&self.uts)?, cgroup: place(&self.cgroup)? })
    }
}

/// The namespaces of a container's first process.
fn of_running(container: &Container) -> Result<Found> {
    let joined = container.life()?.pid;
    joined
        .map(Found::Of)
        .ok_or_else(|| Error::bad("container", container.name(), "it does not run, and so has no namespaces to join"))
}

/// Whether others may use its shared memory. Who joined another's has that container's leave to go on with.
fn lends_ipc(container: &Container) -> Result<()> {
    let reason = match container.record().options.sharing.ipc {
        Ipc::Shareable | Ipc::Container(_) => return Ok(()),
        Ipc::Private => "its IPC namespace is its own alone: create it with --ipc shareable",
        Ipc::NoSharedMemory => "it has no /dev/shm (--ipc none): create it with --ipc shareable",
        Ipc::Host => "it uses the machine's: say --ipc host",
    };
    Err(Error::bad("--ipc", format!("container:{}", container.name()), reason))
}

impl Places {
    /// Where shared memory is to be mounted from, if not made anew: a path of the machine, or one that names whose it is.
    pub(crate) fn shared_memory(&self) -> Option<PathBuf> {
        match self.ipc {
            Found::New => None,
            Found::Inherited => Some(SHARED_MEMORY.into()),
            Found::Of(process) => Some(format!("/proc/{process}/root{SHARED_MEMORY}").into()),
        }
    }

    /// The `/dev/shm` of the container that is joined. It is a mount of that container's own mount namespace, which no
    /// path leads to: it is taken from there, as a mount that the new container's init only attaches.
    pub(crate) fn joined_mounts(&self) -> Result<Vec<(PathBuf, DetachedMount)>> {
        let Found::Of(process) = self.ipc else { return Ok(Vec::new()) };
        let theirs = NamespaceFd::of(process, NamespaceKind::Mount)?;
        let mount = rootfs::elsewhere::mount_of(&theirs, Path::new(SHARED_MEMORY))?;
        Ok(vec![(SHARED_MEMORY.into(), mount)])
    }
}

/// Where shared memory is, in every container and on the machine.
const SHARED_MEMORY: &str = "/dev/shm";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_share_reads_back_as_it_was_written() {
        for text in ["", "host", "container:web"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for wrong in ["web", "container:", "container:../x"] {
            wrong.parse::<Share>().unwrap_err();
        }
    }
    #[test]
    fn docker_s_words_for_shared_memory_read_back_and_nothing_said_is_private() {
        for text in ["private", "shareable", "none", "host", "container:web"] {
            assert_eq!(text.parse::<Ipc>().unwrap().to_string(), text);
        }
        assert_eq!("".parse::<Ipc>().unwrap(), Ipc::default());
        for wrong in ["web", "container:", "shareble"] {
            wrong.parse::<Ipc>().unwrap_err();
        }
    }
}
