//! `wait`: the answer's head at once, its body when the container has ended.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use containers::{Container, Status};
use serde_json::json;

use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces;
use crate::query::{Query, text};
use crate::runs::Code;

/// How often it is looked whether a container that ended is removed.
const TICK: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// It does not run: at once, if it does not run now.
    NotRunning,
    /// The end of this run, or of the next one.
    NextExit,
    /// It is gone.
    Removed,
}

/// `POST /containers/{id}/wait`.
///
/// The client starts the container only when it has read the head of this answer: from then on no exit can be
/// missed. So the run is subscribed to first, and the head sent before anything is awaited.
pub async fn wait(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<Response, ApiError> {
    let condition = match text(&query, "condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => return Err(ApiError::bad_request(format!("invalid condition: {other:?}"))),
    };
    let container = api.call(move |engine| Ok(engine.find(&id)?)).await?;
    let ended = subscribe(&api, &container, condition).await?;
    let (sender, body) = pieces::channel();
    tokio::spawn(async move {
        let code = ended.await;
        if condition == Condition::Removed {
            removed(&api, &container).await;
        }
        let answer = match code {
            Ok(Some(code)) => json!({ "StatusCode": code }),
            Ok(None) => {
                json!({ "StatusCode": 125, "Error": { "Message": "its exit code is unknown: its monitor was killed" } })
            }
            Err(error) => json!({ "StatusCode": 125, "Error": { "Message": error.message } }),
        };
        // A client that no longer waits is no fault.
        let _left = sender.push(format!("{answer}\n")).await;
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

type End = std::pin::Pin<Box<dyn Future<Output = Result<Code, ApiError>> + Send>>;

/// A future of the exit code, already certain not to miss it.
async fn subscribe(api: &Arc<Api>, container: &Container, condition: Condition) -> Result<End, ApiError> {
    let id = container.id().clone();
    let looked = container.clone();
    let life = api.call(move |_| Ok(looked.life()?)).await?;
    let ours = match (life.status.is_live(), condition) {
        (true, _) => api.runs().current_end(&id),
        (false, Condition::NotRunning) => return Ok(Box::pin(async move { Ok(life.exit_code.or(Some(0))) })),
        // It has had its only run; nobody will start it before its removal.
        (false, Condition::Removed) if life.status == Status::Exited => {
            return Ok(Box::pin(async move { Ok(life.exit_code) }));
        }
        (false, _) => Some(api.runs().next_end(&id)),
    };
    if let Some(mut ended) = ours {
        return Ok(Box::pin(async move {
            let code = ended.wait_for(Option::is_some).await;
            code.map(|code| code.flatten()).map_err(|_| ApiError::internal("the daemon is ending"))
        }));
    }
    // Started by somebody else: by the command line, or by this daemon before it was restarted.
    let api = Arc::clone(api);
    Ok(Box::pin(async move { api.call(move |engine| Ok(engine.wait(&id)?)).await }))
}

/// Returns when no container has the id any more.
async fn removed(api: &Arc<Api>, container: &Container) {
    loop {
        let id = container.id().to_string();
        let there = api.call(move |engine| Ok(engine.find(&id).is_ok())).await;
        if !there.unwrap_or(false) {
            return;
        }
        tokio::time::sleep(TICK).await;
    }
}
