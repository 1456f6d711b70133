//! From a request to its answer.
//!
//! [`answer`] is the whole registry on one page: who asks, for which object, to do what. The
//! arms of its `match` are the endpoints of the distribution specification; each is a few
//! lines here or in [`crate::transfer`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use layers::Digest;
use serde_json::json;

use crate::account::Accounts;
use crate::error::{Code, Error, Refusal};
use crate::listing::Page;
use crate::manifest::{INDEX, LARGEST_MANIFEST};
use crate::name::{RepositoryName, Selector};
use crate::route::Endpoint;
use crate::server::Config;
use crate::storage::{Link, Storage};
use crate::transfer;
use crate::upload::{Sessions, broken_body};

/// The header that names the digest of what is sent or was stored.
pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A client that sends or takes nothing for this long is gone.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// A registry: a directory, the uploads under way, and who may come in.
pub struct Registry {
    pub(crate) storage: Storage,
    pub(crate) sessions: Sessions,
    accounts: Option<Accounts>,
}

impl Registry {
    /// Opens the directory and reads the accounts.
    ///
    /// # Errors
    /// Those of [`Storage::open`] and [`Accounts::read`].
    pub fn open(config: &Config) -> Result<Registry, Error> {
        let accounts = config.htpasswd.as_deref().map(Accounts::read).transpose()?;
        let storage = Storage::open(&config.root)?;
        Ok(Registry { storage, sessions: Sessions::default(), accounts })
    }

    /// Runs work that waits for the disk (or for bcrypt) where waiting holds up nobody else.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Registry) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let registry = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&registry))
            .await
            .unwrap_or_else(|error| Err(Refusal::new(Code::Unknown, format!("a task ended early: {error}"))))
    }

    async fn admit(self: &Arc<Self>, headers: HeaderMap) -> Result<(), Refusal> {
        if self.accounts.is_none() {
            return Ok(());
        }
        self.blocking(move |registry| match &registry.accounts {
            Some(accounts) => accounts.admit(&headers),
            None => Ok(()),
        })
        .await
    }
}

/// Answers one request; what goes wrong is an answer too.
pub async fn respond(registry: Arc<Registry>, request: Request) -> Response {
    let mut response = answer(registry, request).await.unwrap_or_else(Refusal::into_response);
    // Old docker clients look for this to tell a registry from a web server.
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}

/// Who asks, for what object, to do what with it.
///
/// # References
/// distribution-spec 1.1, "Endpoints"
// spine
async fn answer(registry: Arc<Registry>, request: Request) -> Result<Response, Refusal> {
    registry.admit(request.headers().clone()).await?;
    let endpoint = Endpoint::parse(request.uri().path())?;
    let method = request.method().clone();
    let reading = method == Method::GET || method == Method::HEAD;
    match (endpoint, method) {
        (Endpoint::Base, _) if reading => Ok(json_answer("{}".to_owned(), "application/json")),
        (Endpoint::Catalog, Method::GET) => catalog(&registry, request.uri()).await,
        (Endpoint::Tags(name), Method::GET) => tags(&registry, name, request.uri()).await,
        (Endpoint::Referrers(name, subject), Method::GET) => referrers(&registry, name, subject, request.uri()).await,

        (Endpoint::Manifest(name, selector), _) if reading => manifest(&registry, name, selector).await,
        (Endpoint::Manifest(name, selector), Method::PUT) => put_manifest(&registry, name, selector, request).await,
        (Endpoint::Manifest(name, selector), Method::DELETE) => delete_manifest(&registry, name, selector).await,

        (Endpoint::Blob(name, digest), _) if reading => {
            transfer::blob(&registry, name, digest, request.headers()).await
        }
        (Endpoint::Blob(name, digest), Method::DELETE) => delete_blob(&registry, name, digest).await,

        (Endpoint::Uploads(name), Method::POST) => transfer::begin(&registry, name, request).await,
        (Endpoint::Upload(name, id), Method::GET) => transfer::status(&registry, &name, &id),
        (Endpoint::Upload(name, id), Method::PATCH) => transfer::append(&registry, name, id, request).await,
        (Endpoint::Upload(name, id), Method::PUT) => transfer::finish(&registry, name, id, request).await,
        (Endpoint::Upload(name, id), Method::DELETE) => transfer::cancel(&registry, &name, &id),

        (_, method) => Err(Refusal::new(Code::Unsupported, format!("{method} is not possible here"))),
    }
}

async fn manifest(registry: &Arc<Registry>, name: RepositoryName, selector: Selector) -> Result<Response, Refusal> {
    let stored = registry.blocking(move |registry| registry.storage.manifest(&name, &selector)).await?;
    let length = stored.bytes.len();
    Response::builder()
        .header(header::CONTENT_TYPE, stored.media_type)
        .header(header::CONTENT_LENGTH, length)
        .header(DIGEST, stored.digest.to_string())
        .body(Body::from(stored.bytes))
        .map_err(unsayable)
}

async fn put_manifest(
    registry: &Arc<Registry>,
    name: RepositoryName,
    selector: Selector,
    request: Request,
) -> Result<Response, Refusal> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(media_type) = media_type.map(str::to_owned) else {
        return Err(Refusal::new(Code::ManifestInvalid, "a manifest needs a Content-Type: its media type"));
    };
    let body = Limited::new(request.into_body(), LARGEST_MANIFEST);
    let collected = tokio::time::timeout(STALL, body.collect()).await.map_err(broken_body)?;
    let bytes = collected
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Refusal::new(Code::SizeInvalid, "a manifest may have 4 MiB"),
            None => broken_body(error),
        })?
        .to_bytes();
    let location_name = name.clone();
    let (digest, subject) =
        registry.blocking(move |registry| registry.storage.put_manifest(&name, &selector, &media_type, &bytes)).await?;
    let mut response = created(&format!("/v2/{location_name}/manifests/{digest}"), &digest)?;
    if let Some(subject) = subject {
        // Tells the client that it need not maintain a list of referrers under a tag itself.
        let value = HeaderValue::from_str(&subject.to_string()).map_err(unsayable)?;
        response.headers_mut().insert(HeaderName::from_static("oci-subject"), value);
    }
    Ok(response)
}

async fn delete_manifest(
    registry: &Arc<Registry>,
    name: RepositoryName,
    selector: Selector,
) -> Result<Response, Refusal> {
    let disk = Refusal::disk("delete the manifest");
    let deleted =
        registry.blocking(move |registry| registry.storage.delete_manifest(&name, &selector).map_err(disk)).await?;
    accepted_if(deleted, Code::ManifestUnknown)
}

async fn delete_blob(registry: &Arc<Registry>, name: RepositoryName, digest: Digest) -> Result<Response, Refusal> {
    let disk = Refusal::disk("delete the blob");
    let deleted =
        registry.blocking(move |registry| registry.storage.unlink(&name, Link::Blob, &digest).map_err(disk)).await?;
    accepted_if(deleted, Code::BlobUnknown)
}

async fn catalog(registry: &Arc<Registry>, uri: &Uri) -> Result<Response, Refusal> {
    let query = query(uri)?;
    let page = Page::new(query.get("n").map(String::as_str), query.get("last").map(String::as_str))?;
    let disk = Refusal::disk("list the repositories");
    let collected = registry.blocking(move |registry| registry.storage.catalog(page).map_err(disk)).await?;
    let body = json!({ "repositories": collected.names() });
    with_link(json_answer(body.to_string(), "application/json"), collected.link("/v2/_catalog"))
}

async fn tags(registry: &Arc<Registry>, name: RepositoryName, uri: &Uri) -> Result<Response, Refusal> {
    let query = query(uri)?;
    let page = Page::new(query.get("n").map(String::as_str), query.get("last").map(String::as_str))?;
    let asked = name.clone();
    let disk = Refusal::disk("list the tags");
    let tags = registry.blocking(move |registry| registry.storage.tags(&asked).map_err(disk)).await?;
    let Some(tags) = tags else {
        return Err(Refusal::new(Code::NameUnknown, format!("there is no repository {name}")));
    };
    let mut collected = crate::listing::Collected::new(page);
    tags.iter().for_each(|tag| collected.offer(tag.as_str()));
    let body = json!({ "name": name.as_str(), "tags": collected.names() });
    let link = collected.link(&format!("/v2/{name}/tags/list"));
    with_link(json_answer(body.to_string(), "application/json"), link)
}

/// Never 404: that nothing refers to a manifest is an empty list, whether or not it exists.
async fn referrers(
    registry: &Arc<Registry>,
    name: RepositoryName,
    subject: Digest,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let filter = query(uri)?.remove("artifactType");
    let disk = Refusal::disk("list the referrers");
    let mut referrers =
        registry.blocking(move |registry| registry.storage.referrers(&name, &subject).map_err(disk)).await?;
    if filter.is_some() {
        referrers.retain(|referrer| referrer.artifact_type == filter);
    }
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": referrers });
    let mut response = json_answer(body.to_string(), INDEX);
    if filter.is_some() {
        let applied = HeaderName::from_static("oci-filters-applied");
        response.headers_mut().insert(applied, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// `201 Created` with the place and the digest of what was made.
pub(crate) fn created(location: &str, digest: &Digest) -> Result<Response, Refusal> {
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, location)
        .header(DIGEST, digest.to_string())
        .body(Body::empty())
        .map_err(unsayable)
}

/// The parameters after the question mark.
pub(crate) fn query(uri: &Uri) -> Result<HashMap<String, String>, Refusal> {
    Query::try_from_uri(uri)
        .map(|Query(parameters)| parameters)
        .map_err(|error| Refusal::new(Code::Unsupported, format!("the query cannot be read: {error}")))
}

/// For what cannot happen with checked names and digests, and must not panic if it does.
pub(crate) fn unsayable(error: impl Into<axum::http::Error>) -> Refusal {
    Refusal::new(Code::Unknown, format!("the answer cannot be written: {}", error.into()))
}

fn accepted_if(deleted: bool, unknown: Code) -> Result<Response, Refusal> {
    match deleted {
        true => Ok(StatusCode::ACCEPTED.into_response()),
        false => Err(Refusal::new(unknown, "there was nothing to delete")),
    }
}

fn json_answer(body: String, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

fn with_link(mut response: Response, link: Option<String>) -> Result<Response, Refusal> {
    if let Some(link) = link {
        let value = HeaderValue::from_str(&link).map_err(unsayable)?;
        response.headers_mut().insert(header::LINK, value);
    }
    Ok(response)
}
