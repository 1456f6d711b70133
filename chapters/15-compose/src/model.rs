//! A project as it is understood: plain data, everything resolved that can be without an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use containers::{MountRequest, PortMapping};
use indexmap::IndexMap;
use serde::Serialize;

/// A project: services that belong together, and what they share.
#[derive(Debug, Clone, Serialize)]
pub struct Project {
    /// Its name, in front of everything that it owns.
    pub name: String,
    /// Where its file lies; relative paths start here.
    pub directory: PathBuf,
    /// Its file.
    pub file: PathBuf,
    /// Its services, in the file's order.
    pub services: IndexMap<String, Service>,
    /// Its networks by their name in the file; `default` is among them if a service uses it.
    pub networks: IndexMap<String, Shared>,
    /// Its named volumes by their name in the file.
    pub volumes: IndexMap<String, Shared>,
    /// What the file's author should know: variables that are not set.
    pub warnings: Vec<String>,
}

/// A network or volume of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Its name in the engine.
    pub name: String,
    /// Whether it is somebody else's: then it must be there, and `down` leaves it alone.
    pub external: bool,
    /// For a network: without a way out.
    pub internal: bool,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Its name, and its name on the network.
    pub name: String,
    /// Its image; the one that is built, if it is built.
    pub image: String,
    /// How to build it.
    pub build: Option<Build>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, each name once.
    pub environment: Vec<String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Volumes and bind mounts.
    pub mounts: Vec<MountRequest>,
    /// Services that are started before it.
    pub depends_on: Vec<String>,
    /// What it is connected to.
    pub network: Attached,
    /// `container_name`.
    pub container_name: Option<String>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `working_dir`.
    pub working_dir: Option<String>,
    /// `user`.
    pub user: Option<String>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `tty`.
    pub terminal: bool,
    /// `stdin_open`.
    pub interactive: bool,
    /// `read_only`.
    pub read_only: bool,
}

/// A service's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Attached {
    /// One of the project's, by its name in the file, under more names than the service's own.
    Network {
        /// The name in the file.
        network: String,
        /// More names.
        aliases: Vec<String>,
    },
    /// `network_mode: host`.
    Host,
    /// `network_mode: none`.
    None,
}

/// `build:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The context, absolute.
    pub context: PathBuf,
    /// The Dockerfile, absolute.
    pub dockerfile: PathBuf,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage.
    pub target: Option<String>,
}

impl Service {
    /// The name of its container: one a service, so number 1.
    pub fn container(&self, project: &str) -> String {
        self.container_name.clone().unwrap_or_else(|| format!("{project}-{}-1", self.name))
    }
}
