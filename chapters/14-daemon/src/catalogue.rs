//! The images of a store as listings show them: an image once, with all of its names.

use std::collections::{BTreeMap, HashSet};

use containers::{All, Engine, Event, ImageEvent};
use images::archive::Saved;
use images::{Collected, ContainerConfig, Image, Named, Parts, Reference};
use jiff::Timestamp;
use layers::DiffId;
use serde_json::{Value, json};

use crate::container::local;
use crate::error::ApiError;

/// An image, its names, and how large it is.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Its names; none for an image whose names went to others ("dangling").
    pub names: Vec<Reference>,
    /// Bytes of its layers as they lie extracted; layers that two images share count for both.
    pub size: u64,
}

/// All that a store names.
#[derive(Debug, Default)]
pub struct Survey {
    /// The images, the newest first.
    pub sound: Vec<Listed>,
    /// What a bad disk or a careless hand has spoilt, and how. It can be removed by its name, and pulled again.
    pub damaged: Vec<(Named, images::Error)>,
}

/// All images, the newest first. One that is damaged is not among them, and hides no other: see [`survey`].
///
/// # Errors
/// An index that cannot be read.
pub fn list(engine: &Engine) -> Result<Vec<Listed>, ApiError> {
    Ok(survey(engine)?.sound)
}

/// Reads the documents of everything that the store names.
///
/// # Errors
/// An index that cannot be read.
pub fn survey(engine: &Engine) -> Result<Survey, ApiError> {
    let mut by_id: BTreeMap<String, Listed> = BTreeMap::new();
    let mut damaged = Vec::new();
    for named in engine.store().list()? {
        let image = match engine.store().image(&named.target) {
            Ok(image) => image,
            Err(error) => {
                damaged.push((named, error));
                continue;
            }
        };
        let size = size(engine, &image);
        let listed = by_id.entry(image.id.to_string()).or_insert(Listed { image, names: Vec::new(), size });
        listed.names.extend(named.reference);
    }
    let mut sound: Vec<_> = by_id.into_values().collect();
    sound.sort_by_key(|listed| std::cmp::Reverse(listed.created()));
    Ok(Survey { sound, damaged })
}

/// Bytes of the layers as they lie extracted. A layer that is not extracted (yet) counts nothing.
pub fn size(engine: &Engine, image: &Image) -> u64 {
    let sizes = image.diff_ids().iter().map(|layer| engine.snapshots().size(layer).unwrap_or(0));
    sizes.sum()
}

/// The images of these names, each once, as `save` wants them: an image that was asked for by its id gets no name.
///
/// # Errors
/// 404 for a name that is none.
pub fn saved(engine: &Engine, names: &[String]) -> Result<Vec<Saved>, ApiError> {
    let mut all: Vec<Saved> = Vec::new();
    for asked in names {
        let image = local(engine, asked)?;
        let name = asked.parse::<Reference>().ok();
        let name = self::names(engine, &image)?.into_iter().find(|known| Some(known) == name.as_ref());
        match all.iter_mut().find(|known| known.image.id == image.id) {
            Some(known) => known.names.extend(name.filter(|name| !known.names.contains(name))),
            None => all.push(Saved { image, names: name.into_iter().collect() }),
        }
    }
    Ok(all)
}

/// The names of one image.
///
/// # Errors
/// A store that cannot be read.
pub fn names(engine: &Engine, image: &Image) -> Result<Vec<Reference>, ApiError> {
    let all = list(engine)?;
    let names = all.into_iter().find(|listed| listed.image.id == image.id).map(|listed| listed.names);
    Ok(names.unwrap_or_default())
}

impl Listed {
    /// When the image was made; the epoch where the config does not say.
    pub fn created(&self) -> Timestamp {
        let created = self.image.config.created.as_deref();
        created.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The entry of `GET /images/json`.
    pub fn summary(&self, containers: i64) -> Value {
        let labels = &self.image.config.config.labels;
        json!({
            "Id": self.image.id.to_string(),
            "ParentId": "",
            "RepoTags": self.tags(),
            "RepoDigests": self.digests(),
            "Created": self.created().as_second(),
            "Size": self.size,
            "SharedSize": -1,
            "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
            "Containers": containers,
        })
    }

    /// The document of `GET /images/{name}/json`, which is also what `inspect` prints.
    pub fn inspect(&self) -> Value {
        let config = &self.image.config;
        json!({
            "Id": self.image.id.to_string(),
            "RepoTags": self.tags(),
            "RepoDigests": self.digests(),
            "Parent": "",
            "Comment": config.history.last().and_then(|step| step.comment.as_deref()).unwrap_or(""),
            "Created": config.created,
            "Author": config.author.as_deref().unwrap_or(""),
            "Config": configuration(&config.config),
            "Architecture": config.architecture,
            "Os": config.os,
            "DockerVersion": config.other.get("docker_version").and_then(Value::as_str).unwrap_or(""),
            "Size": self.size,
            "VirtualSize": self.size,
            "GraphDriver": { "Name": "overlay", "Data": null },
            "RootFS": { "Type": "layers", "Layers": self.image.diff_ids() },
            "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
            "Descriptor": self.image.target,
        })
    }

    fn tags(&self) -> Vec<String> {
        self.names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect()
    }

    fn digests(&self) -> Vec<String> {
        let digest = &self.image.target.digest;
        let mut all: Vec<_> = self.names.iter().map(|name| format!("{}@{digest}", name.familiar_name())).collect();
        all.dedup();
        all
    }
}

/// An image's configuration with every field that docker always shows: templates ask for them by name.
fn configuration(config: &ContainerConfig) -> Value {
    let mut all = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null,
        "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": null,
    });
    if let (Value::Object(all), Value::Object(said)) = (&mut all, json!(config)) {
        all.extend(said);
    }
    all
}

/// What the removal of an image did, in order: the lines that `rmi` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image is gone, with the layers that nothing else needs.
    Deleted(String),
}

/// The line that `rmi` prints.
impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Untagged(name) => write!(f, "Untagged: {name}"),
            Self::Deleted(id) => write!(f, "Deleted: {id}"),
        }
    }
}

impl Removed {
    /// The line in the API's answers.
    pub fn json(&self) -> Value {
        match self {
            Self::Untagged(name) => json!({ "Untagged": name }),
            Self::Deleted(id) => json!({ "Deleted": id }),
        }
    }
}

/// Removes a name, and the image with it if that was the last one.
///
/// `force` also removes an image by its id that has several names, and one that a container which does not run was
/// made of; what the container needs stays on disk as long as it does. A damaged image is removed by its name.
///
/// # Errors
/// 404 for no such image; 409 for one that is in use.
pub fn remove(engine: &Engine, name: &str, force: bool) -> Result<Vec<Removed>, ApiError> {
    let image = match engine.store().find(name) {
        Ok(image) => image,
        Err(error) => return remove_damaged(engine, name).ok_or(error)?,
    };
    let names = names(engine, &image)?;
    let by_name = name.parse::<Reference>().ok().filter(|reference| names.contains(reference));
    let leaving = match &by_name {
        Some(reference) => vec![reference.clone()],
        None if names.len() > 1 && !force => {
            let short = image.id.short();
            let message = format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            );
            return Err(ApiError::conflict(message));
        }
        None => names.clone(),
    };
    let last = leaving.len() == names.len();
    let way = if last { way_out(engine, &image, by_name.as_ref(), force)? } else { WayOut::Name };
    // Once the index does not name it any more, nobody could say what it was made of.
    let parts = engine.store().parts(&image.target)?;
    match way {
        WayOut::Name if last => engine.store().keep_nameless(&image.target)?,
        WayOut::Name => {}
        WayOut::Index | WayOut::Disk => drop(engine.store().forget(&image.target.digest)?),
    }
    let mut removed = Vec::new();
    for reference in &leaving {
        engine.store().untag(reference)?;
        removed.push(Removed::Untagged(reference.familiar()));
    }
    if way == WayOut::Disk {
        removed.push(Removed::Deleted(image.id.to_string()));
    }
    record(engine, &image, &removed);
    collect(engine, Some(&parts))?;
    Ok(removed)
}

/// Gives an image a name.
///
/// # Errors
/// Those of writing the index.
pub fn tag(engine: &Engine, image: &Image, name: &Reference) -> Result<(), ApiError> {
    engine.store().tag(name, &image.target)?;
    record_all(engine, [image], ImageEvent::Tag(name));
    Ok(())
}

/// Notes in the journal of events what happened to each of these images.
pub fn record_all<'a>(engine: &Engine, images: impl IntoIterator<Item = &'a Image>, what: ImageEvent<'_>) {
    images.into_iter().for_each(|image| engine.events().record(&Event::of_image(image, what)));
}

/// Notes that an image was made of files; if it was given a name, that as well.
pub fn record_import(engine: &Engine, image: &Image, name: Option<&Reference>) {
    if let Some(name) = name {
        record_all(engine, [image], ImageEvent::Tag(name));
    }
    record_all(engine, [image], ImageEvent::Import);
}

/// Notes the removal of an image, or of its names.
pub(crate) fn record(engine: &Engine, image: &Image, removed: &[Removed]) {
    for removed in removed {
        let what = match removed {
            Removed::Untagged(_) => ImageEvent::Untag,
            Removed::Deleted(_) => ImageEvent::Delete,
        };
        record_all(engine, [image], what);
    }
}

/// How far an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayOut {
    /// It loses a name, and stays.
    Name,
    /// It leaves the index; a container that does not run keeps its layers.
    Index,
    /// Altogether.
    Disk,
}

/// How far an image goes that is to lose all its names, or the last one, `by_name`.
///
/// # Errors
/// 409 if a container forbids it: one that runs always keeps its image, another one unless it is forced.
fn way_out(engine: &Engine, image: &Image, by_name: Option<&Reference>, force: bool) -> Result<WayOut, ApiError> {
    let mut users = engine.list(All::Yes)?;
    users.retain(|container| container.record().image_id.as_ref() == Some(&image.id));
    let running = users.iter().find(|user| user.life().is_ok_and(|life| life.status.is_live()));
    let short = image.id.short();
    match (by_name, running.or(users.first())) {
        (_, None) => Ok(WayOut::Disk),
        (Some(name), Some(user)) if !force => Err(ApiError::conflict(format!(
            "conflict: unable to remove repository reference {:?} (must force) - container {} is using its \
             referenced image {short}",
            name.familiar(),
            user.id().short()
        ))),
        (Some(_), Some(_)) if running.is_some() => Ok(WayOut::Name),
        (None, Some(user)) if running.is_some() => Err(ApiError::conflict(format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {}",
            user.id().short()
        ))),
        (None, Some(user)) if !force => Err(ApiError::conflict(format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {}",
            user.id().short()
        ))),
        _ => Ok(WayOut::Index),
    }
}

/// Takes away the name of an image that cannot be read, and what can be found of it; `None` if that is no such name.
fn remove_damaged(engine: &Engine, name: &str) -> Option<Result<Vec<Removed>, ApiError>> {
    let reference: Reference = name.parse().ok()?;
    let target = engine.store().target(&reference).ok()??;
    let remove = || {
        let parts = engine.store().parts(&target)?;
        engine.store().untag(&reference)?;
        collect(engine, Some(&parts))?;
        Ok(vec![Removed::Untagged(reference.familiar())])
    };
    Some(remove())
}

/// Removes what nothing needs any more: all of it, or those `among` the parts of an image that was just removed.
///
/// # Errors
/// Those of reading what is in use, and of the file system.
pub fn collect(engine: &Engine, among: Option<&Parts>) -> Result<Collected, ApiError> {
    engine.store().collect(engine.snapshots(), among, || in_use(engine))
}

/// The layers that containers stand on. A container whose record cannot be read may stand on any.
fn in_use(engine: &Engine) -> Result<HashSet<DiffId>, ApiError> {
    let containers::Survey { sound, damaged } = engine.survey()?;
    if let Some((_, error)) = damaged.into_iter().next() {
        return Err(error.into());
    }
    Ok(sound.iter().flat_map(|container| container.record().layers.iter().copied()).collect())
}
