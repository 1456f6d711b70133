//! How a project finds its own: labels.
//!
//! A project keeps no state of its own. What belongs to it says so, in the labels that docker compose
//! uses too: `ps` and `down` need nothing but the project's name, and never touch what another tool
//! made.

use std::collections::BTreeMap;

use containers::{All, Container, CreateOptions, Engine};
use images::Image;
use layers::Digest;

use crate::error::Error;
use crate::model::{Project, Service};

/// The project's name.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service's name.
pub const SERVICE: &str = "com.docker.compose.service";
/// What the container was made of: when it differs, the container is made anew.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The network's name in the file.
pub const NETWORK: &str = "com.docker.compose.network";

/// The labels of a service's container; `hash` is its [`config_hash`].
pub fn of_container(project: &Project, service: &Service, hash: &str) -> BTreeMap<String, String> {
    let mut labels = service.labels.clone();
    for (name, value) in [
        (PROJECT, project.name.as_str()),
        (SERVICE, &service.name),
        (CONFIG_HASH, hash),
        ("com.docker.compose.container-number", "1"),
        ("com.docker.compose.oneoff", "False"),
        ("com.docker.compose.project.working_dir", &project.directory.to_string_lossy()),
        ("com.docker.compose.project.config_files", &project.file.to_string_lossy()),
    ] {
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels
}

/// The hash of everything that decides what a container is: its options and its image.
pub fn config_hash(options: &CreateOptions, image: &Image) -> String {
    // Options are maps with string keys, which always have a JSON form.
    let json = serde_json::to_vec(&(options, &image.id)).unwrap_or_default();
    Digest::of(&json).hex()
}

/// The containers of a project, each with its service's name.
///
/// # Errors
/// Those of listing.
pub fn containers(engine: &Engine, project: &str, all: All) -> Result<Vec<(String, Container)>, Error> {
    let listed = engine.list(all).map_err(|error| Error::engine("list the containers", error))?;
    Ok(listed
        .into_iter()
        .filter_map(|container| {
            let labels = &container.record().settings.labels;
            let service = labels.get(SERVICE).filter(|_| labels.get(PROJECT).is_some_and(|name| name == project));
            service.cloned().map(|service| (service, container))
        })
        .collect())
}
