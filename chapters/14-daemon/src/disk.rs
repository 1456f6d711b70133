//! What the engine's things take on disk, and giving it back: `df` and `prune`.
//!
//! Both count as `du` does: blocks, a file with several names once, directories too. So the numbers add up to what
//! the disk lacks, and what is said to be reclaimable is what comes back. An image takes its blobs *and* its layers
//! as they lie extracted; what two images share is there once, and counts once in the sum.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use containers::{All, Container, Engine, Volume};
use images::{Parts, taken};
use jiff::{SignedDuration, Timestamp};
use layers::{DiffId, Digest};
use serde_json::{Value, json};

use crate::catalogue::{self, Listed, Removed};
use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query};
use crate::summary::Summary;

/// What everything takes, bytes on disk.
#[derive(Debug, Default)]
pub struct DiskUsage {
    /// All images together, shared parts once.
    pub images_size: u64,
    /// What removing the images that no container uses would give back.
    pub images_reclaimable: u64,
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// Each container.
    pub containers: Vec<ContainerUsage>,
    /// Each volume.
    pub volumes: Vec<VolumeUsage>,
    /// Results of build steps that no image is made of, and the notes about all results.
    pub build_cache: u64,
}

/// What one image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub listed: Listed,
    /// Blobs and extracted layers.
    pub size: u64,
    /// The part that other images have too.
    pub shared: u64,
    /// How many containers were made of it.
    pub containers: i64,
}

/// What one container takes: its changes, its log, its files for the engine.
#[derive(Debug)]
pub struct ContainerUsage {
    /// The container.
    pub container: Container,
    /// Bytes.
    pub size: u64,
    /// Whether it runs.
    pub live: bool,
}

/// What one volume takes.
#[derive(Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes.
    pub size: u64,
    /// How many containers mount it.
    pub users: usize,
}

/// Counts everything.
///
/// # Errors
/// A store that cannot be read.
pub fn usage(engine: &Engine) -> Result<DiskUsage, ApiError> {
    let (store, snapshots) = (engine.store(), engine.snapshots());
    let mut sizes = Sizes { engine, blobs: HashMap::new(), layers: HashMap::new() };
    let mut images = Vec::new();
    for listed in catalogue::list(engine)? {
        images.push((store.parts(&listed.image.target)?, listed));
    }
    let containers = engine.list(All::Yes)?;
    let users = |image: &Listed| {
        let uses = |container: &&Container| container.record().image_id.as_ref() == Some(&image.image.id);
        containers.iter().filter(uses).count()
    };
    let mut usage = DiskUsage::default();
    let mut unused = Vec::new();
    for (at, (parts, listed)) in images.iter().enumerate() {
        let others = images.iter().enumerate().filter(|(other, _)| *other != at);
        let elsewhere = union(others.map(|(_, (parts, _))| parts));
        let containers = users(listed);
        if containers == 0 {
            unused.push(at);
        }
        usage.images.push(ImageUsage {
            size: sizes.of(parts, None),
            shared: sizes.of(parts, None) - sizes.of(parts, Some(&elsewhere)),
            containers: containers as i64,
            listed: listed.clone(),
        });
    }
    let mut needed = union(images.iter().map(|(parts, _)| parts));
    let mut in_use =
        union(images.iter().enumerate().filter(|(at, _)| !unused.contains(at)).map(|(_, (parts, _))| parts));
    for container in &containers {
        needed.layers.extend(container.record().layers.iter().copied());
        in_use.layers.extend(container.record().layers.iter().copied());
    }
    let leftover = Parts {
        blobs: store.blobs()?.into_iter().filter(|blob| !needed.blobs.contains(blob)).collect(),
        layers: snapshots.list()?.into_iter().filter(|layer| !needed.layers.contains(layer)).collect(),
        unreadable: Vec::new(),
    };
    let leftover = sizes.of(&leftover, None);
    let paths = engine.paths();
    usage.images_size = (taken(&paths.images()) + taken(&paths.layers())).saturating_sub(leftover);
    usage.images_reclaimable = sizes.of(&needed, Some(&in_use));
    usage.build_cache = leftover + taken(&paths.data.join("build"));
    usage.volumes = volumes(engine)?;
    for container in containers {
        let live = container.life().is_ok_and(|life| life.status.is_live());
        usage.containers.push(ContainerUsage { size: taken(&container.directory()), live, container });
    }
    Ok(usage)
}

fn volumes(engine: &Engine) -> Result<Vec<VolumeUsage>, ApiError> {
    let mut all = Vec::new();
    for volume in engine.volumes().list()? {
        let size = taken(&engine.volumes().data(&volume.name));
        all.push(VolumeUsage { size, users: engine.volume_users(&volume.name)?.len(), volume });
    }
    Ok(all)
}

fn union<'a>(all: impl Iterator<Item = &'a Parts>) -> Parts {
    let mut union = Parts::default();
    for parts in all {
        union.blobs.extend(&parts.blobs);
        union.layers.extend(&parts.layers);
    }
    union
}

/// Sizes of parts, each measured once.
struct Sizes<'a> {
    engine: &'a Engine,
    blobs: HashMap<Digest, u64>,
    layers: HashMap<DiffId, u64>,
}

impl Sizes<'_> {
    /// What parts take, without those that are among others.
    fn of(&mut self, parts: &Parts, without: Option<&Parts>) -> u64 {
        let mut sum = 0;
        for blob in parts.blobs.iter().filter(|blob| without.is_none_or(|others| !others.blobs.contains(*blob))) {
            sum += *self.blobs.entry(*blob).or_insert_with(|| self.engine.store().disk_usage(blob));
        }
        for layer in parts.layers.iter().filter(|layer| without.is_none_or(|others| !others.layers.contains(*layer))) {
            let home = || self.engine.snapshots().dir(layer).parent().map_or(0, taken);
            sum += *self.layers.entry(*layer).or_insert_with(home);
        }
        sum
    }
}

/// Which images a prune removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// Those without a name.
    Dangling,
    /// Those that no container was made of.
    All,
}

/// What a prune of images did.
#[derive(Debug, Default)]
pub struct PrunedImages {
    /// Names and images that are gone, in order.
    pub removed: Vec<Removed>,
    /// Bytes that came back.
    pub bytes: u64,
}

/// The filters of [`prune_images`].
pub const PRUNE_FILTERS: [&str; 4] = ["dangling", "until", "label", "label!"];

/// Removes images that no container uses.
///
/// # Errors
/// 400 for a filter's value that makes no sense; those of the store.
pub fn prune_images(engine: &Engine, unused: Unused, filters: &Filters) -> Result<PrunedImages, ApiError> {
    // Docker's way to say "all".
    let named_too = filters.values("dangling").iter().any(|value| matches!(value.as_str(), "0" | "false"));
    let unused = if named_too { Unused::All } else { unused };
    let until = filters.values("until").first().map(|text| moment(text, Timestamp::now())).transpose()?;
    let mut pruned = PrunedImages::default();
    let catalogue::Survey { sound, damaged } = catalogue::survey(engine)?;
    for (named, _) in damaged.into_iter().filter(|(named, _)| named.reference.is_none()) {
        // Without a name nobody can pull it again, nor remove it.
        let parts = engine.store().parts(&named.target)?;
        engine.store().forget(&named.target.digest)?;
        pruned.removed.push(Removed::Deleted(named.target.digest.to_string()));
        pruned.bytes += catalogue::collect(engine, Some(&parts))?.bytes;
    }
    for listed in sound {
        let labels = listed.image.config.config.labels.clone().into_iter().collect();
        let wanted = (unused == Unused::All || listed.names.is_empty())
            && until.is_none_or(|until| listed.created() < until)
            && filters.pass_labels(&labels);
        if !wanted || in_use(engine, &listed)? {
            continue;
        }
        let parts = engine.store().parts(&listed.image.target)?;
        engine.store().forget(&listed.image.target.digest)?;
        let names = listed.names.iter().map(|name| Removed::Untagged(name.familiar()));
        let removed: Vec<Removed> = names.chain([Removed::Deleted(listed.image.id.to_string())]).collect();
        catalogue::record(engine, &listed.image, &removed);
        pruned.removed.extend(removed);
        pruned.bytes += catalogue::collect(engine, Some(&parts))?.bytes;
    }
    Ok(pruned)
}

fn in_use(engine: &Engine, listed: &Listed) -> Result<bool, ApiError> {
    let containers = engine.list(All::Yes)?;
    Ok(containers.iter().any(|container| container.record().image_id.as_ref() == Some(&listed.image.id)))
}

/// `until=`: a moment, seconds since 1970, or how long ago (`24h`).
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = || ApiError::bad_request(format!("until={text}: write 2013-01-02T13:23:37Z or 24h"));
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse() {
        return Timestamp::from_second(seconds).map_err(|_| wrong());
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    now.checked_sub(ago).map_err(|_| wrong())
}

/// `GET /system/df`.
pub async fn df(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    let document = api
        .call(|engine| {
            let usage = usage(engine)?;
            let now = Timestamp::now();
            let images: Vec<Value> = usage.images.iter().map(image_json).collect();
            let mut containers = Vec::new();
            for used in &usage.containers {
                let mut line = Summary::of(engine, used.container.clone())?.json(now);
                line["SizeRw"] = json!(used.size);
                containers.push(line);
            }
            let cache = json!({
                "ID": "build-cache", "Type": "regular", "Size": usage.build_cache, "InUse": false, "Shared": false,
                "Description": "results of build steps", "UsageCount": 0, "CreatedAt": Timestamp::UNIX_EPOCH.to_string(),
            });
            Ok(json!({
                "LayersSize": usage.images_size,
                "Images": images,
                "Containers": containers,
                "Volumes": usage.volumes.iter().map(volume_json).collect::<Vec<_>>(),
                "BuildCache": if usage.build_cache == 0 { json!([]) } else { json!([cache]) },
            }))
        })
        .await?;
    Ok(Json(document))
}

fn image_json(used: &ImageUsage) -> Value {
    let mut line = used.listed.summary(used.containers);
    line["Size"] = json!(used.size);
    line["VirtualSize"] = json!(used.size);
    line["SharedSize"] = json!(used.shared);
    line
}

fn volume_json(used: &VolumeUsage) -> Value {
    json!({
        "Name": used.volume.name, "Driver": used.volume.driver, "Scope": "local", "Mountpoint": "", "Options": used.volume.options,
        "Labels": used.volume.labels, "CreatedAt": used.volume.created.to_string(),
        "UsageData": { "Size": used.size, "RefCount": used.users },
    })
}

/// `POST /images/prune`: those without a name, or with `dangling=false` all that no container uses.
pub async fn prune(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(&query, &PRUNE_FILTERS)?;
    let pruned = api.call(move |engine| prune_images(engine, Unused::Dangling, &filters)).await?;
    let lines: Vec<Value> = pruned.removed.iter().map(Removed::json).collect();
    Ok(Json(json!({ "ImagesDeleted": lines, "SpaceReclaimed": pruned.bytes })))
}

/// `POST /build/prune`: what builds remember and no image is made of.
pub async fn prune_builds(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    // Everything that is not part of an image: there is no difference between "dangling" and "all" here.
    Filters::parse(&query, &[])?;
    let collected = api.call(|engine| catalogue::collect(engine, None)).await?;
    let gone: Vec<String> = collected.layers.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "CachesDeleted": gone, "SpaceReclaimed": collected.bytes })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn until_is_a_moment_or_how_long_ago() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        assert_eq!(moment("24h", now).unwrap().to_string(), "2026-01-01T12:00:00Z");
        assert_eq!(moment("1h30m", now).unwrap().to_string(), "2026-01-02T10:30:00Z");
        assert_eq!(moment("0", now).unwrap(), Timestamp::UNIX_EPOCH);
        assert!(moment("soon", now).is_err());
    }
}
