//! The images of a store as listings show them: an image once, with all of its names.

use std::collections::{BTreeMap, BTreeSet};

use containers::{All, Engine};
use images::archive::Saved;
use images::{Image, Reference};
use jiff::Timestamp;
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

/// All images, the newest first.
///
/// # Errors
/// A store that cannot be read.
pub fn list(engine: &Engine) -> Result<Vec<Listed>, ApiError> {
    let mut by_id: BTreeMap<String, Listed> = BTreeMap::new();
    for named in engine.store().list()? {
        let image = engine.store().image(&named.target)?;
        let size = size(engine, &image);
        let listed = by_id.entry(image.id.to_string()).or_insert(Listed { image, names: Vec::new(), size });
        listed.names.extend(named.reference);
    }
    let mut all: Vec<_> = by_id.into_values().collect();
    all.sort_by_key(|listed| std::cmp::Reverse(listed.created()));
    Ok(all)
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
            "Comment": "",
            "Created": config.created,
            "Author": config.author.as_deref().unwrap_or(""),
            "Config": config.config,
            "Architecture": config.architecture,
            "Os": config.os,
            "Size": self.size,
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

/// What the removal of an image did, in order: the lines that `rmi` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image is gone, with the layers that nothing else needs.
    Deleted(String),
}

/// Removes a name, and the image with it if that was the last one.
///
/// `force` also removes an image by its id that has several names, and names that a container
/// was made from; what the container needs stays on disk as long as it does.
///
/// # Errors
/// 404 for no such image; 409 for one that is in use.
pub fn remove(engine: &Engine, name: &str, force: bool) -> Result<Vec<Removed>, ApiError> {
    let image = engine.store().find(name)?;
    let listed = list(engine)?.into_iter().find(|listed| listed.image.id == image.id);
    let names = listed.map(|listed| listed.names).unwrap_or_default();
    let id = image.id.to_string();
    let short: String = image.id.hex().chars().take(12).collect();
    let by_name = name.parse::<Reference>().ok().filter(|reference| names.contains(reference));
    let leaving = match by_name {
        Some(reference) => vec![reference],
        None if names.len() > 1 && !force => {
            let message = format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            );
            return Err(ApiError::conflict(message));
        }
        None => names.clone(),
    };
    let last = leaving.len() == names.len();
    let user = engine
        .list(All::Yes)?
        .into_iter()
        .find(|container| container.record().image_id.as_ref().is_some_and(|used| used.to_string() == id));
    if let (true, Some(user), false) = (last, &user, force) {
        let message = format!(
            "conflict: unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {short}",
            user.id().short()
        );
        return Err(ApiError::conflict(message));
    }
    let mut removed = Vec::new();
    for reference in &leaving {
        engine.store().untag(reference)?;
        removed.push(Removed::Untagged(reference.familiar()));
    }
    if last {
        engine.store().forget(&image.target.digest)?;
        if user.is_none() {
            removed.push(Removed::Deleted(id));
        }
    }
    collect(engine, &image)?;
    Ok(removed)
}

/// Removes what nothing needs any more: blobs of the store, and those extracted layers of `image` that
/// neither another image nor a container stands on.
fn collect(engine: &Engine, image: &Image) -> Result<(), ApiError> {
    engine.store().gc()?;
    let mut needed = BTreeSet::new();
    for listed in list(engine)? {
        needed.extend(listed.image.diff_ids().iter().map(ToString::to_string));
    }
    for container in engine.list(All::Yes)? {
        needed.extend(container.record().layers.iter().map(ToString::to_string));
    }
    for layer in image.diff_ids() {
        if !needed.contains(&layer.to_string()) {
            engine.snapshots().remove(layer)?;
        }
    }
    Ok(())
}
