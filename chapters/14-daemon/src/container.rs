//! Containers: made, listed, started, stopped, removed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{Engine, RemoveOptions};
use images::{Image, builtin};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::create::Body;
use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query, flag, number, text};
use crate::summary;

/// `GET /containers/json`.
pub async fn list(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    let filters = Filters::parse(&query, &summary::FILTERS)?;
    let limit = number(&query, "limit")?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let all = flag(&query, "all") || limit.is_some();
    let list = api.call(move |engine| summary::list(engine, all, &filters)).await?;
    let now = Timestamp::now();
    let shown = list.iter().take(limit.unwrap_or(usize::MAX));
    Ok(Json(shown.map(|summary| summary.json(now)).collect()))
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
    let patience = number(&query, "t")?.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)));
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
