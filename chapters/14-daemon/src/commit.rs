//! `commit`: a container becomes an image.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{Commit, Meanwhile};
use images::{ContainerConfig, ImageConfig};
use serde_json::json;

use crate::engine::Api;
use crate::error::ApiError;

/// `POST /commit?container=NAME&repo=NAME&tag=TAG&changes=LINE&changes=LINE`. The body may hold a configuration: what it
/// says comes before what `changes` say.
///
/// # Errors
/// 404 for no such container; 400 for changes that make no sense.
pub async fn commit(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let value = |key: &str| {
        let found = query.iter().find(|(name, value)| name == key && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let container = value("container").ok_or_else(|| ApiError::bad_request("container: none is named"))?;
    let name = crate::pull::optional_reference(value("repo").as_deref(), value("tag").as_deref())?;
    let (author, message) = (value("author"), value("comment"));
    let meanwhile = match value("pause").as_deref() {
        Some("0" | "false") => Meanwhile::Running,
        _ => Meanwhile::Paused,
    };
    let asked = configuration(&body)?;
    let changes: Vec<String> = query.into_iter().filter(|(key, _)| key == "changes").map(|(_, text)| text).collect();
    let amend = api.amend();
    let id = api
        .call(move |engine| {
            let amend = |config: &mut ImageConfig| {
                if let Some(asked) = &asked {
                    lay_over(&mut config.config, asked);
                }
                amend(config, &changes)
            };
            let how = Commit { name, author, message, meanwhile, amend: &amend };
            Ok(engine.commit(engine.find(&container)?.id(), &how)?.id)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id.to_string() }))).into_response())
}

/// The configuration in a request's body, if there is one: docker's client sends `null` or an empty one.
fn configuration(body: &[u8]) -> Result<Option<ContainerConfig>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
}

/// What is said in `over` takes the place of what was; variables, labels, ports and volumes are added.
fn lay_over(config: &mut ContainerConfig, over: &ContainerConfig) {
    for entry in &over.env {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        config.env.retain(|was| name(was) != name(entry));
        config.env.push(entry.clone());
    }
    config.labels.extend(over.labels.clone());
    config.exposed_ports.extend(over.exposed_ports.clone());
    config.volumes.extend(over.volumes.clone());
    for (was, said) in [(&mut config.user, &over.user), (&mut config.working_dir, &over.working_dir)] {
        if !said.is_empty() {
            was.clone_from(said);
        }
    }
    for (was, said) in [(&mut config.cmd, &over.cmd), (&mut config.entrypoint, &over.entrypoint)] {
        if said.is_some() {
            was.clone_from(said);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_body_says_takes_the_place_of_what_the_container_had() {
        let mut config = configuration(br#"{"Env":["A=1","B=2"],"Cmd":["sh"],"User":"me"}"#).unwrap().unwrap();
        let over = configuration(br#"{"Env":["A=3"],"Cmd":null,"WorkingDir":"/srv"}"#).unwrap().unwrap();
        lay_over(&mut config, &over);
        assert_eq!(config.env, ["B=2", "A=3"]);
        assert_eq!(
            (config.cmd.unwrap(), config.user, config.working_dir),
            (vec!["sh".into()], "me".into(), "/srv".into())
        );
        assert_eq!(configuration(b"null").unwrap(), None);
        assert!(configuration(b"{").is_err());
    }
}
