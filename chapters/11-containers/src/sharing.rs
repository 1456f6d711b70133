//! Namespaces that a container does not have for itself: the machine's, or another container's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use process::Pid;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::check_name;

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

/// `--pid`, `--ipc`, `--uts`, `--cgroupns`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// Processes that it sees.
    pub pid: Share,
    /// Shared memory and message queues.
    pub ipc: Share,
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
            // Docker's word for an IPC namespace of its own that nobody can join; here nobody who may not could, ever.
            "" | "private" | "shareable" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            text => match text.strip_prefix("container:") {
                Some(name) => check_name("container", name).map(|()| Self::Container(name.to_owned())),
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
        for share in [&mut self.pid, &mut self.ipc, &mut self.uts, &mut self.cgroup] {
            if let Share::Container(name) = share {
                *name = engine.find(name)?.id().to_string();
            }
        }
        Ok(())
    }

    /// Where the namespaces are now.
    pub(crate) fn places(&self, engine: &Engine) -> Result<Places> {
        let place = |share: &Share| match share {
            Share::Own => Ok(Found::New),
            Share::Host => Ok(Found::Inherited),
            Share::Container(name) => {
                let container = engine.find(name)?;
                let joined = container.life()?.pid;
                joined.map(Found::Of).ok_or_else(|| {
                    Error::bad("container", container.name(), "it does not run, and so has no namespaces to join")
                })
            }
        };
        Ok(Places {
            pid: place(&self.pid)?,
            ipc: place(&self.ipc)?,
            uts: place(&self.uts)?,
            cgroup: place(&self.cgroup)?,
        })
    }
}

impl Places {
    /// Where shared memory is to be mounted from, if not made anew.
    pub(crate) fn shared_memory(&self) -> Option<PathBuf> {
        match self.ipc {
            Found::Inherited => Some("/dev/shm".into()),
            Found::New | Found::Of(_) => None,
        }
    }
}

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
}
