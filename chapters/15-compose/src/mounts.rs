//! `volumes:` of a service: three kinds of mounts in two ways of writing.
//!
//! ```text
//!   data:/var/lib/db          a named volume; the file must declare it
//!   ./src:/app:ro             a directory of the host, from the project's directory on
//!   /var/lib/cache            an anonymous volume
//!   {type: tmpfs, target: /t} memory
//! ```
//!
//! A name that is not declared is refused: mostly it is a path whose author forgot the `./`.

use std::path::PathBuf;

use containers::{MountRequest, Source};

use crate::field::{Field, Wrong};
use crate::service::Surroundings;

/// Reads one entry.
///
/// # Errors
/// Whatever is wrong, with its path.
pub(crate) fn read(field: &Field<'_>, around: &Surroundings<'_>) -> Result<MountRequest, Wrong> {
    if field.is_map() { long(field, around) } else { short(field, around) }
}

fn short(field: &Field<'_>, around: &Surroundings<'_>) -> Result<MountRequest, Wrong> {
    let text = field.filled()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(field.wrong("the form is [SOURCE:]TARGET[:ro]")),
    };
    let read_only = match options {
        "" | "rw" => false,
        "ro" => true,
        other => return Err(field.wrong(format!("option {other:?} is not supported: ro or rw"))),
    };
    let source = match source {
        None => Source::Volume { name: None },
        Some(path) if path.starts_with(['.', '/', '~']) => {
            Source::Bind { path: host_path(field, path, around)?, create: true }
        }
        Some(name) => Source::Volume { name: Some(declared(field, name, around)?) },
    };
    let target = absolute(field, target)?;
    Ok(MountRequest { read_only, ..MountRequest::new(source, target) })
}

fn long(field: &Field<'_>, around: &Surroundings<'_>) -> Result<MountRequest, Wrong> {
    field.only(&["type", "source", "target", "read_only"])?;
    let text = |name: &str| field.get(name).map(|field| field.filled()).transpose();
    let kind = text("type")?.ok_or_else(|| field.wrong("needs a type"))?;
    let target = text("target")?.ok_or_else(|| field.wrong("needs a target"))?;
    let source = match (kind.as_str(), text("source")?) {
        ("volume", None) => Source::Volume { name: None },
        ("volume", Some(name)) => Source::Volume { name: Some(declared(field, &name, around)?) },
        // In the long form a missing directory is a mistake, as with --mount.
        ("bind", Some(path)) => Source::Bind { path: host_path(field, &path, around)?, create: false },
        ("bind", None) => return Err(field.wrong("a bind mount needs a source")),
        ("tmpfs", None) => Source::Tmpfs { options: String::new() },
        ("tmpfs", Some(_)) => return Err(field.wrong("a tmpfs has no source")),
        (other, _) => return Err(field.wrong(format!("type {other:?} is not supported: volume, bind or tmpfs"))),
    };
    let read_only = field.get("read_only").map(|field| field.boolean()).transpose()?.unwrap_or(false);
    let target = absolute(field, &target)?;
    Ok(MountRequest { read_only, ..MountRequest::new(source, target) })
}

/// The engine's name of a volume that the file declares.
fn declared(field: &Field<'_>, name: &str, around: &Surroundings<'_>) -> Result<String, Wrong> {
    let found = around.volumes.iter().find(|(known, _)| known == name);
    found.map(|(_, name)| name.clone()).ok_or_else(|| {
        field.wrong(format!(
            "refers to undefined volume {name}: declare it under volumes, or write ./{name} for a directory"
        ))
    })
}

fn host_path(field: &Field<'_>, path: &str, around: &Surroundings<'_>) -> Result<PathBuf, Wrong> {
    let Some(rest) = path.strip_prefix('~') else {
        // Components, so that "./src" does not stay "/project/./src".
        return Ok(around.directory.join(path).components().collect());
    };
    let home = (around.lookup)("HOME").ok_or_else(|| field.wrong("~ needs HOME, which is not set"))?;
    match rest.strip_prefix('/') {
        Some(rest) => Ok(PathBuf::from(home).join(rest)),
        None if rest.is_empty() => Ok(PathBuf::from(home)),
        None => Err(field.wrong("only ~ and ~/... are supported")),
    }
}

fn absolute(field: &Field<'_>, target: &str) -> Result<PathBuf, Wrong> {
    match target.starts_with('/') {
        true => Ok(PathBuf::from(target)),
        false => Err(field.wrong(format!("the target {target:?} must be an absolute path"))),
    }
}
