//! Which path goes where: the API's table of contents.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::engine::Api;
use crate::error::ApiError;
use crate::system::{API_VERSION, MIN_API_VERSION};
use crate::{
    archive, attach, commit, container, copy, disk, events, exec, image, logs, network, pull, resize, stats, system,
    volume, wait,
};

/// The largest body that is read, bytes. Builds would need more; they are not served.
const BODY_LIMIT: usize = 4 << 20;

/// The whole API.
///
/// Clients put the version that they speak in front of each path (`/v1.47/info`), or nothing.
/// The version is cut off before routing: an outer router without routes of its own rewrites
/// the path and hands over to the inner one. Names of images have slashes in them, so their paths
/// are caught whole and taken apart by [`image`].
///
/// # References
/// Docker Engine API v1.47
// spine
pub fn router(api: Arc<Api>) -> Router {
    let inner = Router::new()
        .route("/_ping", get(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/events", get(events::events))
        .route("/containers/json", get(container::list))
        .route("/containers/create", post(container::create))
        .route("/containers/prune", post(container::prune))
        .route("/containers/{id}", delete(container::remove))
        .route("/containers/{id}/json", get(container::inspect))
        .route("/containers/{id}/start", post(attach::start))
        .route("/containers/{id}/stop", post(container::stop))
        .route("/containers/{id}/restart", post(container::restart))
        .route("/containers/{id}/kill", post(container::kill))
        .route("/containers/{id}/pause", post(container::pause))
        .route("/containers/{id}/unpause", post(container::unpause))
        .route("/containers/{id}/update", post(container::update))
        .route("/containers/{id}/rename", post(container::rename))
        .route("/containers/{id}/top", get(container::top))
        .route("/containers/{id}/changes", get(container::changes))
        .route("/containers/{id}/archive", get(copy::get).head(copy::head).put(copy::put))
        .route("/containers/{id}/wait", post(wait::wait))
        .route("/containers/{id}/attach", post(attach::attach))
        .route("/containers/{id}/stats", get(stats::stats))
        .route("/containers/{id}/resize", post(resize::container))
        .route("/containers/{id}/export", get(archive::export))
        .route("/containers/{id}/logs", get(logs::logs))
        .route("/containers/{id}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(resize::exec))
        .route("/exec/{id}/json", get(exec::inspect))
        .route("/commit", post(commit::commit))
        .route("/system/df", get(disk::df))
        .route("/images/json", get(image::list))
        .route("/images/prune", post(disk::prune))
        .route("/build/prune", post(disk::prune_builds))
        .route("/images/create", post(pull::create))
        .route("/images/search", get(pull::search))
        .route("/images/get", get(archive::save))
        .route("/images/load", post(archive::load))
        .route("/images/{*name}", get(image::get).post(image::post).delete(image::remove))
        .route("/networks", get(network::list))
        .route("/networks/create", post(network::create))
        .route("/networks/prune", post(network::prune))
        .route("/networks/{id}/connect", post(network::connect))
        .route("/networks/{id}/disconnect", post(network::disconnect))
        .route("/networks/{id}", get(network::inspect).delete(network::remove))
        .route("/volumes", get(volume::list))
        .route("/volumes/create", post(volume::create))
        .route("/volumes/prune", post(volume::prune))
        .route("/volumes/{name}", get(volume::inspect).delete(volume::remove))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api);
    Router::new().fallback_service(inner).layer(middleware::from_fn(speak))
}

/// Cuts the version off the path, and says in each answer which versions are spoken here.
async fn speak(mut request: Request, next: Next) -> Response {
    match without_version(request.uri()) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return error.into_response(),
    }
    let mut response = next.run(request).await;
    // Refused by axum before a handler of ours saw it: the client expects JSON all the same.
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let status = response.status();
        let message = "method not allowed".to_owned();
        response = ApiError { status, message }.into_response();
    }
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert(header::SERVER, HeaderValue::from_static(system::SERVER));
    response
}

/// `/v1.47/info?a=b` becomes `/info?a=b`.
///
/// # Errors
/// 400 for a version that is newer or older than what is spoken here, as dockerd answers.
fn without_version(uri: &Uri) -> Result<Uri, ApiError> {
    let whole = uri.path_and_query().map_or("/", |p| p.as_str());
    let versioned = whole.strip_prefix("/v").and_then(|rest| {
        let (version, path) = rest.split_once('/')?;
        Some((parse_version(version)?, path))
    });
    let Some((version, path)) = versioned else {
        return Ok(uri.clone());
    };
    if Some(version) > parse_version(API_VERSION) {
        let message = format!(
            "client version {}.{} is too new. Maximum supported API version is {API_VERSION}",
            version.0, version.1
        );
        return Err(ApiError::bad_request(message));
    }
    if Some(version) < parse_version(MIN_API_VERSION) {
        let message = format!(
            "client version {}.{} is too old. Minimum supported API version is {MIN_API_VERSION}",
            version.0, version.1
        );
        return Err(ApiError::bad_request(message));
    }
    format!("/{path}").parse().map_err(|_| ApiError::bad_request("malformed path"))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

async fn unknown(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::not_implemented(format!("{method} {path} is not served by this engine"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cut(path: &str) -> Result<String, String> {
        let uri = without_version(&path.parse().unwrap());
        uri.map(|u| u.to_string()).map_err(|e| e.message)
    }

    #[test]
    fn the_version_is_cut_off_and_the_query_kept() {
        assert_eq!(cut("/v1.41/containers/json?all=1").unwrap(), "/containers/json?all=1");
        assert_eq!(cut("/_ping").unwrap(), "/_ping");
        assert_eq!(cut("/volumes").unwrap(), "/volumes");
    }

    #[test]
    fn a_version_of_the_future_is_refused_with_the_one_spoken() {
        assert_eq!(
            cut("/v9.99/info").unwrap_err(),
            "client version 9.99 is too new. Maximum supported API version is 1.47"
        );
        assert!(cut("/v1.2/info").unwrap_err().contains("too old"));
    }
}
