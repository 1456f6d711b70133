//! Volumes: listed, made, inspected, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{Engine, Volume, VolumeRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::disk::Unused;
use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query};

/// The filters that a listing of volumes understands.
pub const FILTERS: [&str; 3] = ["name", "label", "driver"];

/// `GET /volumes`.
pub async fn list(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(&query, &FILTERS)?;
    let volumes = api
        .call(move |engine| {
            let all = engine.volumes().list()?.into_iter().filter(|volume| passes(volume, &filters));
            Ok(all.map(|volume| document(engine, &volume)).collect::<Vec<_>>())
        })
        .await?;
    Ok(Json(json!({ "Volumes": volumes, "Warnings": null })))
}

/// Whether a listing shows the volume.
pub fn passes(volume: &Volume, filters: &Filters) -> bool {
    filters.pass("name", |part| volume.name.contains(part))
        && filters.pass("driver", |driver| driver == volume.driver)
        && filters.pass_labels(&volume.labels)
}

/// A volume in the API's shape, which is also what `inspect` prints.
pub fn document(engine: &Engine, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created.to_string(),
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": engine.volumes().mount_point(volume),
        "Name": volume.name,
        "Options": (!volume.options.is_empty()).then_some(&volume.options),
        "Scope": "local",
    })
}

/// What a client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Body {
    name: String,
    driver: String,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// `POST /volumes/create`.
pub async fn create(State(api): State<Arc<Api>>, Json(body): Json<Body>) -> Result<Response, ApiError> {
    let request = VolumeRequest {
        name: Some(body.name).filter(|name| !name.is_empty()),
        driver: Some(body.driver).filter(|driver| !driver.is_empty()),
        options: body.driver_opts.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    };
    let made = api
        .call(move |engine| {
            let (volume, _new) = engine.volumes().make(&request)?;
            Ok(document(engine, &volume))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// `POST /volumes/prune`: anonymous ones, or with `all=true` named ones too.
pub async fn prune(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(&query, &["all", "label"])?;
    let named = filters.has("all") && filters.pass("all", |value| matches!(value, "1" | "true"));
    let unused = if named { Unused::All } else { Unused::Dangling };
    let (names, bytes) = api.call(move |engine| prune_volumes(engine, unused, &filters)).await?;
    Ok(Json(json!({ "VolumesDeleted": names, "SpaceReclaimed": bytes })))
}

/// Removes the volumes that no container uses: anonymous ones, or all. Their names, and the bytes that came back.
///
/// # Errors
/// The first that cannot be removed.
pub fn prune_volumes(engine: &Engine, unused: Unused, filters: &Filters) -> Result<(Vec<String>, u64), ApiError> {
    let may = |volume: &Volume| (volume.anonymous || unused == Unused::All) && filters.pass_labels(&volume.labels);
    let (mut gone, mut bytes) = (Vec::new(), 0);
    for volume in engine.volumes().list()?.into_iter().filter(may) {
        let size = images::taken(&engine.volumes().data(&volume.name));
        match engine.remove_volume(&volume.name) {
            Ok(()) => {
                gone.push(volume.name);
                bytes += size;
            }
            Err(containers::Error::VolumeInUse { .. } | containers::Error::NoSuchVolume(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((gone, bytes))
}

/// `GET /volumes/{name}`.
pub async fn inspect(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let document = api.call(move |engine| Ok(document(engine, &engine.volumes().find(&name)?))).await?;
    Ok(Json(document))
}

/// `DELETE /volumes/{name}`.
pub async fn remove(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    api.call(move |engine| Ok(engine.remove_volume(&name)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}
