//! Images: listed, inspected, tagged, removed.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{All, Engine};
use images::{Image, Reference};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalogue::{self, Listed, Removed};
use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query, flag, text};

/// `GET /images/json`.
pub async fn list(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    let filters = Filters::parse(&query, &["reference", "dangling", "label"])?;
    let list = api
        .call(move |engine| {
            let users = users(engine)?;
            let all = catalogue::list(engine)?.into_iter().filter(|listed| passes(listed, &filters));
            Ok(all.map(|l| l.summary(users.get(&l.image.id.to_string()).copied().unwrap_or(0))).collect())
        })
        .await?;
    Ok(Json(list))
}

/// Whether a listing shows the image.
pub fn passes(listed: &Listed, filters: &Filters) -> bool {
    let labels = listed.image.config.config.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let dangling = listed.names.is_empty();
    filters.pass("dangling", |value| matches!(value, "1" | "true") == dangling)
        && filters.pass("reference", |pattern| listed.names.iter().any(|name| fits(name, pattern)))
        && filters.pass_labels(&labels)
}

/// `docker images NAME` and `--filter reference=`: a repository, or a repository and a tag; `*` stands for
/// anything without a slash.
fn fits(name: &Reference, pattern: &str) -> bool {
    glob(pattern, &name.familiar()) || glob(pattern, &name.familiar_name())
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let cut = rest.find('/').unwrap_or(rest.len());
            (0..=cut).filter(|&at| rest.is_char_boundary(at)).any(|at| glob(tail, &rest[at..]))
        }),
    }
}

/// How many containers each image has.
fn users(engine: &Engine) -> Result<HashMap<String, i64>, ApiError> {
    let mut users = HashMap::new();
    for container in engine.list(All::Yes)? {
        let id = container.record().image_id.as_ref();
        *users.entry(id.map(ToString::to_string).unwrap_or_default()).or_default() += 1;
    }
    Ok(users)
}

/// `GET /images/{name}/json`, `/history`, `/get`.
pub async fn get(State(api): State<Arc<Api>>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let (name, what) = path.rsplit_once('/').unwrap_or((&path, ""));
    let name = name.to_owned();
    match what {
        "json" => Ok(Json(api.call(move |engine| inspect(engine, &name)).await?).into_response()),
        "history" => {
            let steps = api.call(move |engine| history(engine, &engine.store().find(&name)?)).await?;
            Ok(Json(steps.iter().map(Step::json).collect::<Vec<_>>()).into_response())
        }
        "get" => crate::archive::answer(api, vec![name]).await,
        _ => Err(ApiError::not_implemented(format!("GET /images/{path} is not served by this engine"))),
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image's id for the last step; none for those before, which have no image.
    pub id: Option<String>,
    /// When; the epoch if it does not say.
    pub created: Timestamp,
    /// The command.
    pub created_by: String,
    /// Bytes of the layer that it added, as it lies extracted; 0 if it added none.
    pub size: u64,
    /// A remark.
    pub comment: String,
    /// The image's names, for the last step.
    pub names: Vec<String>,
}

impl Step {
    fn json(&self) -> Value {
        json!({
            "Id": self.id.as_deref().unwrap_or("<missing>"),
            "Created": self.created.as_second(),
            "CreatedBy": self.created_by,
            "Tags": if self.names.is_empty() { Value::Null } else { json!(self.names) },
            "Size": self.size,
            "Comment": self.comment,
        })
    }
}

/// How an image was made, the last step first.
///
/// # Errors
/// A store that cannot be read.
pub fn history(engine: &Engine, image: &Image) -> Result<Vec<Step>, ApiError> {
    let mut layers = image.diff_ids().iter();
    let mut steps = Vec::new();
    for step in &image.config.history {
        // Some tools write fewer steps than layers, or more.
        let layer = if step.empty_layer { None } else { layers.next() };
        let created = step.created.as_deref().and_then(|text| text.parse().ok());
        steps.push(Step {
            id: None,
            created: created.unwrap_or(Timestamp::UNIX_EPOCH),
            created_by: step.created_by.clone().unwrap_or_default(),
            size: layer.map_or(0, |layer| engine.snapshots().size(layer).unwrap_or(0)),
            comment: step.comment.clone().unwrap_or_default(),
            names: Vec::new(),
        });
    }
    if let Some(last) = steps.last_mut() {
        last.id = Some(image.id.to_string());
        last.names = catalogue::names(engine, image)?.iter().map(Reference::familiar).collect();
    }
    steps.reverse();
    Ok(steps)
}

/// What `inspect` says about an image.
///
/// # Errors
/// 404.
pub fn inspect(engine: &Engine, name: &str) -> Result<Value, ApiError> {
    let image = engine.store().find(name)?;
    let names = catalogue::names(engine, &image)?;
    let size = catalogue::size(engine, &image);
    Ok(Listed { image, names, size }.inspect())
}

/// `POST /images/{name}/tag`, `POST /images/{name}/push`.
pub async fn post(
    State(api): State<Arc<Api>>,
    Path(path): Path<String>,
    query: Query,
    headers: axum::http::HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(name) = path.strip_suffix("/push") {
        return crate::pull::push(api, name.to_owned(), &query, &headers).await;
    }
    let Some(name) = path.strip_suffix("/tag").map(str::to_owned) else {
        return Err(ApiError::not_implemented(format!("POST /images/{path} is not served by this engine")));
    };
    let repository = text(&query, "repo").unwrap_or_default();
    let target = match text(&query, "tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    let target: Reference = target.parse().map_err(|e| ApiError::bad_request(format!("{e}")))?;
    api.call(move |engine| {
        let image = engine.store().find(&name)?;
        catalogue::tag(engine, &image, &target)
    })
    .await?;
    Ok(StatusCode::CREATED.into_response())
}

/// `DELETE /images/{name}`.
pub async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<Vec<Value>>, ApiError> {
    let force = flag(&query, "force");
    let removed = api.call(move |engine| catalogue::remove(engine, &name, force)).await?;
    Ok(Json(removed.iter().map(Removed::json).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reference_filter_matches_names_with_and_without_tag() {
        let name: Reference = "localhost:5000/me/web:1".parse().unwrap();
        for pattern in ["localhost:5000/me/web", "localhost:5000/me/web:1", "localhost:5000/*/web:*"] {
            assert!(fits(&name, pattern), "{pattern}");
        }
        for pattern in ["web", "*", "localhost:5000/me/web:2"] {
            assert!(!fits(&name, pattern), "{pattern}");
        }
    }
}
