//! Loading a project: from a directory to a [`Project`].
//!
//! ```text
//!   find the file ── read YAML ── fill in variables ── understand, field by field ── Project
//!                                  ^ the environment, then .env beside the file
//! ```

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use crate::error::Error;
use crate::field::{Field, Wrong};
use crate::interpolation::{self, Lookup};
use crate::model::{Attached, Project, Shared};
use crate::service::{self, Surroundings};
use crate::{dotenv, order, yaml};

/// The names that a compose file may have, the preferred one first.
pub const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

impl Project {
    /// Loads the project of `directory`: the file in `files` (`-f`), or the one that lies there or
    /// above under one of the usual names. `name` is `-p`.
    ///
    /// # Errors
    /// No file, a file that is no YAML, and whatever is wrong in it, with its path.
    pub fn load(directory: &Path, files: &[PathBuf], name: Option<&str>) -> Result<Project, Error> {
        let environment = |name: &str| std::env::var(name).ok();
        Project::load_with(directory, files, name, &environment)
    }

    /// The same with an environment of the caller's.
    ///
    /// # Errors
    /// As [`load`](Project::load).
    pub fn load_with(
        directory: &Path,
        files: &[PathBuf],
        name: Option<&str>,
        environment: Lookup<'_>,
    ) -> Result<Project, Error> {
        let file = find(directory, files)?;
        let home = file.parent().unwrap_or(Path::new("/")).to_owned();
        let mut value = yaml::parse(&file, &yaml::read(&file)?)?;

        let dotenv = home.join(".env");
        let defaults = if dotenv.exists() { dotenv::read(&dotenv, environment)? } else { Vec::new() };
        let lookup = |name: &str| {
            let default = || defaults.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            environment(name).or_else(default)
        };
        let wrong = |Wrong { path, message }| Error::File { file: file.clone(), path, message };
        let mut unset = Vec::new();
        interpolation::interpolate(&mut value, &lookup, &mut unset)
            .map_err(|(path, message)| wrong(Wrong { path, message }))?;

        let name = project_name(name, &value, &home, &lookup).map_err(wrong)?;
        let mut project = understand(&name, &home, &value, &lookup).map_err(wrong)?;
        project.file = file.clone();
        project.warnings = unset
            .iter()
            .map(|name| format!("the variable {name:?} is not set, a blank string stands in for it"))
            .collect();
        // A circle is the file's mistake, so it is told now and not when somebody starts it.
        order::start_order(&project, &[])?;
        Ok(project)
    }

    /// The project's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The file that was named, or the first of the usual names, here or in a directory above.
fn find(directory: &Path, files: &[PathBuf]) -> Result<PathBuf, Error> {
    let directory = std::path::absolute(directory).map_err(|error| Error::text(directory, error))?;
    match files {
        [] => {}
        [file] => return Ok(directory.join(file)),
        _ => return Err(Error::Asked("several compose files (-f) are not merged yet: give one".to_owned())),
    }
    let candidates = directory.ancestors().flat_map(|dir| FILE_NAMES.iter().map(move |name| dir.join(name)));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NotFound { directory: directory.clone(), names: FILE_NAMES.join(", ") })
}

/// `-p`, `COMPOSE_PROJECT_NAME`, the file's `name`, or the directory's, made fit.
fn project_name(asked: Option<&str>, value: &Value, home: &Path, lookup: Lookup<'_>) -> Result<String, Wrong> {
    let written = Field::root(value).get("name").map(|field| field.filled()).transpose()?;
    let given =
        asked.map(str::to_owned).or_else(|| lookup("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty())).or(written);
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let Some(name) = given else {
        let base = home.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name: String = base.chars().filter(fits).collect();
        let name = name.trim_start_matches(['-', '_']);
        return Ok(if name.is_empty() { "project".to_owned() } else { name.to_owned() });
    };
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    match first && name.len() <= 63 && name.chars().all(|c| fits(&c)) {
        true => Ok(name),
        false => Err(Wrong {
            path: "name".to_owned(),
            message: format!(
                "invalid project name {name:?}: lower-case letters, digits, dashes and underscores, at most 63"
            ),
        }),
    }
}

/// From the filled-in document to the project.
fn understand(name: &str, home: &Path, value: &Value, lookup: Lookup<'_>) -> Result<Project, Wrong> {
    let root = Field::root(value);
    // `version` said something once; everybody has agreed to ignore it.
    root.only(&["version", "name", "services", "networks", "volumes"])?;
    let mut networks = shared(&root, "networks", name)?;
    let volumes = shared(&root, "volumes", name)?;
    let declared: Vec<(String, String)> =
        volumes.iter().map(|(key, volume)| (key.clone(), volume.name.clone())).collect();
    let around = Surroundings { project: name, directory: home, lookup, volumes: &declared };

    let fields = root.get("services").ok_or_else(|| root.wrong("has no services"))?;
    let mut services = IndexMap::new();
    for (service_name, field) in fields.entries()? {
        let service = service::read(service_name, &field, &around)?;
        if let Attached::Network { network, .. } = &service.network
            && !networks.contains_key(network)
        {
            if network != "default" {
                return Err(field.wrong(format!("refers to undefined network {network}")));
            }
            networks.insert("default".to_owned(), owned(name, "default"));
        }
        services.insert(service_name.to_owned(), service);
    }
    Ok(Project {
        name: name.to_owned(),
        directory: home.to_owned(),
        file: PathBuf::new(),
        services,
        networks,
        volumes,
        warnings: Vec::new(),
    })
}

/// The top-level `networks` or `volumes`.
fn shared(root: &Field<'_>, section: &str, project: &str) -> Result<IndexMap<String, Shared>, Wrong> {
    let mut all = IndexMap::new();
    let Some(fields) = root.get(section) else { return Ok(all) };
    for (key, field) in fields.entries()? {
        let mut one = owned(project, key);
        if !field.is_null() {
            let known: &[&str] = match section {
                "networks" => &["name", "external", "internal", "driver", "labels"],
                _ => &["name", "external", "driver", "labels"],
            };
            field.only(known)?;
            let flag = |name: &str| field.get(name).map(|field| field.boolean()).transpose();
            one.external = flag("external")?.unwrap_or(false);
            one.internal = flag("internal")?.unwrap_or(false);
            one.labels = service::labels(&field)?;
            check_driver(&field, section)?;
            if one.external {
                one.name = key.to_owned();
            }
            if let Some(name) = field.get("name") {
                one.name = name.filled()?;
            }
        }
        all.insert(key.to_owned(), one);
    }
    Ok(all)
}

fn owned(project: &str, key: &str) -> Shared {
    Shared { name: format!("{project}_{key}"), external: false, internal: false, labels: Default::default() }
}

fn check_driver(field: &Field<'_>, section: &str) -> Result<(), Wrong> {
    let supported = if section == "networks" { "bridge" } else { "local" };
    match field.get("driver") {
        Some(driver) if driver.text()? != supported => {
            Err(driver.wrong(format!("only the driver {supported:?} is supported")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
