//! The size of a client's terminal, passed on.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use process::pty::Size;

use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Query, number};

/// `POST /containers/{id}/resize?h=ROWS&w=COLUMNS`.
pub async fn container(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let size = size(&query)?;
    api.call(move |engine| {
        let container = engine.find(&id)?;
        Ok(engine.resize(container.id(), size)?)
    })
    .await?;
    Ok(StatusCode::OK)
}

/// `POST /exec/{id}/resize?h=ROWS&w=COLUMNS`.
pub async fn exec(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<StatusCode, ApiError> {
    let size = size(&query)?;
    let session = crate::exec::find(&api, &id)?;
    session.resize(size).map_err(|e| ApiError::internal(format!("resize {id}: {e}")))?;
    Ok(StatusCode::OK)
}

fn size(query: &Query) -> Result<Size, ApiError> {
    let side = |name: &str| match number(query, name)?.map(u16::try_from) {
        Some(Ok(cells)) => Ok(cells),
        _ => Err(ApiError::bad_request(format!("{name}: a number of cells from 0 to 65535 is needed"))),
    };
    Ok(Size { rows: side("h")?, columns: side("w")? })
}
