//! Containers: made, listed, started, stopped, removed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{All, Engine, RemoveOptions, StartOptions, processes};
use images::{Image, builtin};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use layers::ChangeKind;
use serde_json::{Value, json};

use crate::create::Body;
use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query, flag, number, text};
use crate::summary::{self, Summary};

/// `GET /containers/json`.
pub async fn list(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    let filters = Filters::parse(&query, &summary::FILTERS)?;
    let limit = number(&query, "limit")?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let all = if flag(&query, "all") || limit.is_some() { All::Yes } else { All::No };
    let sized = flag(&query, "size");
    let list = api
        .call(move |engine| {
            let now = Timestamp::now();
            let mut list = Vec::new();
            for container in engine.survey()?.sound {
                let summary = Summary::of(engine, container)?;
                if summary.is_listed(all, &filters) {
                    list.push(summary);
                }
            }
            let document = |summary: &Summary| {
                let mut document = summary.json(now);
                // Counting takes a walk over files: only for who wants to see it.
                if sized {
                    let (own, all) = engine.size(summary.container.id())?;
                    (document["SizeRw"], document["SizeRootFs"]) = (own.into(), all.into());
                }
                Ok(document)
            };
            list.iter().take(limit.unwrap_or(usize::MAX)).map(document).collect()
        })
        .await?;
    Ok(Json(list))
}

/// `POST /containers/create`.
pub async fn create(State(api): State<Arc<Api>>, query: Query, body: Bytes) -> Result<Response, ApiError> {
    let body = Body::parse(&body)?;
    let name = text(&query, "name").map(|name| name.trim_start_matches('/').to_owned());
    let options = body.options(name.as_deref())?;
    let id = api
        .call(move |engine| {
            let image = local(engine, &options.image)?;
            Ok(engine.create(&image, options)?.id().to_string())
        })
        .await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id, "Warnings": [] }))).into_response())
}

/// An image of the store, or a built-in one made on the spot. Anything else is 404: that is what makes the
/// client pull.
///
/// # Errors
/// 404 with the words that clients look for.
pub fn local(engine: &Engine, name: &str) -> Result<Image, ApiError> {
    match engine.store().find(name) {
        Ok(image) => Ok(image),
        Err(images::Error::NoImage(_)) => {
            let made = builtin::ensure(name, engine.store(), engine.snapshots())?;
            made.ok_or_else(|| ApiError::not_found(format!("No such image: {name}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /containers/{id}/json`.
pub async fn inspect(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let document = api
        .call(move |engine| {
            let container = engine.find(&id)?;
            Ok(engine.inspect(container.id())?)
        })
        .await?;
    Ok(Json(document))
}

/// `POST /containers/{id}/stop`: 204, or 304 where it does not run.
pub async fn stop(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<StatusCode, ApiError> {
    let patience = patience(&query)?;
    let signal = text(&query, "signal").map(str::to_owned);
    api.call(move |engine| {
        let container = engine.find(&id)?;
        if !container.life()?.status.is_live() {
            return Ok(StatusCode::NOT_MODIFIED);
        }
        if signal.is_some() {
            return Err(ApiError::not_implemented("stop with another signal is not supported"));
        }
        engine.stop(container.id(), patience)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /containers/{id}/restart`.
pub async fn restart(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let patience = patience(&query)?;
    if text(&query, "signal").is_some() {
        return Err(ApiError::not_implemented("restart with another signal is not supported"));
    }
    api.call(move |engine| {
        engine.restart(engine.find(&id)?.id(), patience, &StartOptions::default())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /containers/{id}/pause`.
pub async fn pause(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    api.call(move |engine| {
        engine.pause(engine.find(&id)?.id())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /containers/{id}/unpause`.
pub async fn unpause(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    api.call(move |engine| {
        engine.unpause(engine.find(&id)?.id())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /containers/{id}/update`.
pub async fn update(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let update = crate::create::update(&body)?;
    api.call(move |engine| Ok(engine.update(engine.find(&id)?.id(), &update)?)).await?;
    Ok(Json(json!({ "Warnings": [] })))
}

/// `POST /containers/{id}/rename`.
pub async fn rename(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<StatusCode, ApiError> {
    let name = text(&query, "name").ok_or_else(|| ApiError::bad_request("name: missing"))?;
    let name = name.trim_start_matches('/').to_owned();
    api.call(move |engine| {
        engine.rename(engine.find(&id)?.id(), &name)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `GET /containers/{id}/top`. The arguments of `ps` are not passed on: there is no `ps` behind it.
pub async fn top(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<Json<Value>, ApiError> {
    if text(&query, "ps_args").is_some_and(|arguments| arguments != "-ef") {
        return Err(ApiError::not_implemented("top with arguments for ps is not supported"));
    }
    let rows = api.call(move |engine| Ok(engine.processes(engine.find(&id)?.id())?)).await?;
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let cells: Vec<_> = rows.iter().map(|row| row.cells(now, &zone)).collect();
    Ok(Json(json!({ "Titles": processes::TITLES, "Processes": cells })))
}

/// `GET /containers/{id}/changes`: what `diff` shows, 0 for changed, 1 for added, 2 for deleted.
pub async fn changes(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Vec<Value>>, ApiError> {
    let changes = api.call(move |engine| Ok(engine.changes(engine.find(&id)?.id())?)).await?;
    let number = |kind| match kind {
        ChangeKind::Changed => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    Ok(Json(changes.iter().map(|change| json!({ "Path": change.path, "Kind": number(change.kind) })).collect()))
}

/// `t` of stop and restart, seconds; a negative one waits for ever.
fn patience(query: &Query) -> Result<Option<Duration>, ApiError> {
    Ok(number(query, "t")?.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))))
}

/// `POST /containers/{id}/kill`.
pub async fn kill(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<StatusCode, ApiError> {
    let signal = text(&query, "signal").unwrap_or("SIGKILL");
    let signal = process::signals::parse(signal).map_err(|e| ApiError::bad_request(e.to_string()))?;
    api.call(move |engine| {
        let container = engine.find(&id)?;
        engine.kill(container.id(), signal)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `DELETE /containers/{id}`.
pub async fn remove(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<StatusCode, ApiError> {
    let options = RemoveOptions { force: flag(&query, "force"), volumes: flag(&query, "v") };
    api.call(move |engine| {
        let container = engine.find(&id)?;
        engine.remove(container.id(), options)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /containers/prune`: those that do not run.
pub async fn prune(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    Filters::parse(&query, &[])?;
    let pruned = api.call(|engine| Ok(engine.prune()?)).await?;
    Ok(Json(json!({ "ContainersDeleted": pruned.containers, "SpaceReclaimed": pruned.bytes })))
}
