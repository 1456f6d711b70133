//! One service of a compose file, field by field.
//!
//! Every field that the Compose specification has and this engine has not is refused by its path.
//! A service that silently lacks a health check or a limit is not the service that was asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use containers::{MountRequest, PortMapping};

use crate::dotenv;
use crate::field::{Field, Wrong};
use crate::interpolation::Lookup;
use crate::model::{Attached, Build, Service};
use crate::{command, mounts};

/// The fields of a service that this engine knows.
const FIELDS: [&str; 22] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "volumes",
    "depends_on",
    "networks",
    "network_mode",
    "restart",
    "container_name",
    "hostname",
    "working_dir",
    "user",
    "labels",
    "tty",
    "stdin_open",
    "read_only",
    "pull_policy",
];

/// What a service is read against.
pub(crate) struct Surroundings<'a> {
    /// The project's name.
    pub(crate) project: &'a str,
    /// The directory of the compose file.
    pub(crate) directory: &'a Path,
    /// The variables of the user's environment and of `.env`.
    pub(crate) lookup: Lookup<'a>,
    /// The named volumes that the file declares: (name in the file, name in the engine).
    pub(crate) volumes: &'a [(String, String)],
}

/// Reads the service `name`.
///
/// # Errors
/// Whatever is wrong, with its path.
pub(crate) fn read(name: &str, field: &Field<'_>, around: &Surroundings<'_>) -> Result<Service, Wrong> {
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return Err(field.wrong("a service's name is letters, digits, dots, dashes and underscores"));
    }
    field.only(&FIELDS)?;
    let text = |name: &str| field.get(name).map(|field| field.filled()).transpose();
    let flag = |name: &str| field.get(name).map(|field| field.boolean()).transpose();
    let build = field.get("build").map(|build| read_build(&build, around)).transpose()?;
    let image = match (text("image")?, &build) {
        (Some(image), _) => image,
        (None, Some(_)) => format!("{}-{name}", around.project),
        (None, None) => return Err(field.wrong("has neither an image nor a build context specified")),
    };
    refuse_policies(field)?;
    check_expose(field)?;
    Ok(Service {
        name: name.to_owned(),
        image,
        build,
        command: field.get("command").map(|field| command::words(&field)).transpose()?,
        entrypoint: field.get("entrypoint").map(|field| command::words(&field)).transpose()?,
        environment: environment(field, around)?,
        ports: field.get("ports").map(|field| ports(&field)).transpose()?.unwrap_or_default(),
        mounts: volumes(field, around)?,
        depends_on: field.get("depends_on").map(|field| depends_on(&field)).transpose()?.unwrap_or_default(),
        network: network(field)?,
        container_name: text("container_name")?,
        hostname: text("hostname")?,
        working_dir: text("working_dir")?,
        user: text("user")?,
        labels: labels(field)?,
        terminal: flag("tty")?.unwrap_or(false),
        interactive: flag("stdin_open")?.unwrap_or(false),
        read_only: flag("read_only")?.unwrap_or(false),
    })
}

/// Labels, as a map or a list.
pub(crate) fn labels(field: &Field<'_>) -> Result<BTreeMap<String, String>, Wrong> {
    let pairs = field.get("labels").map(|field| field.pairs()).transpose()?.unwrap_or_default();
    Ok(pairs.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// What this engine does in one way only: it may be written, if it is that way.
fn refuse_policies(field: &Field<'_>) -> Result<(), Wrong> {
    for (name, supported) in [("restart", "no"), ("pull_policy", "missing")] {
        if let Some(field) = field.get(name)
            && field.text()? != supported
            && field.text()? != "false"
        {
            return Err(field.wrong(format!("only {supported:?} is supported yet")));
        }
    }
    Ok(())
}

/// `expose` documents ports and opens none: on its own network every port of a container can be
/// reached. It is read only so that nonsense is told.
fn check_expose(field: &Field<'_>) -> Result<(), Wrong> {
    let Some(field) = field.get("expose") else { return Ok(()) };
    for item in field.items()? {
        let text = item.text()?;
        network::port::parse(&text).map_err(|error| item.wrong(error.to_string()))?;
    }
    Ok(())
}

fn read_build(field: &Field<'_>, around: &Surroundings<'_>) -> Result<Build, Wrong> {
    if !field.is_map() {
        let context = below(around.directory, &field.filled()?);
        let dockerfile = context.join("Dockerfile");
        return Ok(Build { context, dockerfile, args: BTreeMap::new(), target: None });
    }
    field.only(&["context", "dockerfile", "args", "target"])?;
    let context = field.get("context").map(|field| field.filled()).transpose()?;
    let context = below(around.directory, context.as_deref().unwrap_or("."));
    let dockerfile = field.get("dockerfile").map(|field| field.filled()).transpose()?;
    let args = field.get("args").map(|field| field.pairs()).transpose()?.unwrap_or_default();
    Ok(Build {
        dockerfile: context.join(dockerfile.unwrap_or_else(|| "Dockerfile".to_owned())),
        context,
        // A name without a value is the environment's, or not given at all.
        args: args
            .into_iter()
            .filter_map(|(name, value)| value.or_else(|| (around.lookup)(&name)).map(|v| (name, v)))
            .collect(),
        target: field.get("target").map(|field| field.filled()).transpose()?,
    })
}

/// A path from the project's directory on, without the `.`s in it.
fn below(directory: &Path, path: &str) -> PathBuf {
    directory.join(path).components().collect()
}

/// `env_file` first, `environment` over it.
fn environment(field: &Field<'_>, around: &Surroundings<'_>) -> Result<Vec<String>, Wrong> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: String, value: String| match variables.iter_mut().find(|(known, _)| *known == name) {
        Some(entry) => entry.1 = value,
        None => variables.push((name, value)),
    };
    if let Some(files) = field.get("env_file") {
        let files: Vec<Field<'_>> = if files.is_list() { files.items()? } else { vec![files] };
        for item in files {
            let (path, required) = env_file(&item, around.directory)?;
            if !required && !path.exists() {
                continue;
            }
            let pairs = dotenv::read(&path, around.lookup).map_err(|error| item.wrong(error.to_string()))?;
            pairs.into_iter().for_each(|(name, value)| set(name, value));
        }
    }
    let pairs = field.get("environment").map(|field| field.pairs()).transpose()?.unwrap_or_default();
    for (name, value) in pairs {
        if let Some(value) = value.or_else(|| (around.lookup)(&name)) {
            set(name, value);
        }
    }
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// A path, or a map with `path` and `required`.
fn env_file(field: &Field<'_>, directory: &Path) -> Result<(PathBuf, bool), Wrong> {
    if !field.is_map() {
        return Ok((directory.join(field.filled()?), true));
    }
    field.only(&["path", "required"])?;
    let path = field.get("path").ok_or_else(|| field.wrong("needs a path"))?.filled()?;
    let required = field.get("required").map(|field| field.boolean()).transpose()?.unwrap_or(true);
    Ok((directory.join(path), required))
}

/// Published ports: `"8000:80"`, or a map with `target` and `published`.
fn ports(field: &Field<'_>) -> Result<Vec<PortMapping>, Wrong> {
    let mut all = Vec::new();
    for item in field.items()? {
        let text = if item.is_map() { long_port(&item)? } else { item.text()? };
        all.extend(network::port::parse(&text).map_err(|error| item.wrong(error.to_string()))?);
    }
    Ok(all)
}

/// The long form, as the short one writes it.
fn long_port(field: &Field<'_>) -> Result<String, Wrong> {
    field.only(&["target", "published", "host_ip", "protocol", "mode", "name"])?;
    let text = |name: &str| field.get(name).map(|field| field.filled()).transpose();
    let target = text("target")?.ok_or_else(|| field.wrong("needs a target"))?;
    let published = text("published")?.unwrap_or_default();
    let host = text("host_ip")?.map(|ip| format!("{ip}:")).unwrap_or_default();
    let protocol = text("protocol")?.unwrap_or_else(|| "tcp".to_owned());
    Ok(format!("{host}{published}:{target}/{protocol}"))
}

fn volumes(field: &Field<'_>, around: &Surroundings<'_>) -> Result<Vec<MountRequest>, Wrong> {
    let Some(field) = field.get("volumes") else { return Ok(Vec::new()) };
    field.items()?.iter().map(|item| mounts::read(item, around)).collect()
}

/// A list of names, or a map from names to conditions.
fn depends_on(field: &Field<'_>) -> Result<Vec<String>, Wrong> {
    if field.is_list() {
        return field.texts();
    }
    let mut names = Vec::new();
    for (name, entry) in field.entries()? {
        entry.only(&["condition", "required", "restart"])?;
        if let Some(condition) = entry.get("condition")
            && condition.text()? != "service_started"
        {
            return Err(condition.wrong("only service_started is supported yet: health checks are not run"));
        }
        for (key, default) in [("required", true), ("restart", false)] {
            if let Some(field) = entry.get(key)
                && field.boolean()? != default
            {
                return Err(field.wrong(format!("only {default} is supported yet")));
            }
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn network(field: &Field<'_>) -> Result<Attached, Wrong> {
    if let Some(mode) = field.get("network_mode") {
        if field.get("networks").is_some() {
            return Err(mode.wrong("can not be combined with networks"));
        }
        return match mode.text()?.as_str() {
            "host" => Ok(Attached::Host),
            "none" => Ok(Attached::None),
            other => Err(mode.wrong(format!("{other:?} is not supported: host or none"))),
        };
    }
    let Some(networks) = field.get("networks") else {
        return Ok(Attached::Network { network: "default".to_owned(), aliases: Vec::new() });
    };
    let mut found = Vec::new();
    if networks.is_list() {
        found.extend(networks.texts()?.into_iter().map(|network| (network, Vec::new())));
    } else {
        for (name, entry) in networks.entries()? {
            let mut aliases = Vec::new();
            if !entry.is_null() {
                entry.only(&["aliases"])?;
                aliases = entry.get("aliases").map(|field| field.texts()).transpose()?.unwrap_or_default();
            }
            found.push((name.to_owned(), aliases));
        }
    }
    match found.len() {
        0 => Ok(Attached::None),
        1 => {
            let (network, aliases) = found.remove(0);
            Ok(Attached::Network { network, aliases })
        }
        _ => Err(networks.wrong("more than one network for a service is not supported yet")),
    }
}
