//! Pull and push: progress as a stream of JSON objects, one a line.
//!
//! ```text
//! {"status":"Pulling fs layer","progressDetail":{},"id":"4f4fb700ef54"}
//! {"status":"Downloading","progressDetail":{"current":1024,"total":32},"id":"4f4fb700ef54"}
//! {"errorDetail":{"message":"..."},"error":"..."}      after the head was sent, errors come in the stream
//! ```
//!
//! # References
//! Docker Engine API v1.47, `ImageCreate`, `ImagePush`, and "Authentication" (`X-Registry-Auth`)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use containers::{Engine, ImageEvent};
use distribution::progress::Stage;
use distribution::{Client, Credentials, Login, Options, Progress};
use images::{Reference, builtin};
use layers::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue;
use crate::container::local;
use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces::{self, Sender};
use crate::query::{Filters, Query, number, text};

/// Bytes of a layer between two reports: a client redraws its line at each.
const STRIDE: u64 = 512 << 10;

/// `POST /images/create`: with `fromImage=NAME&tag=TAG` a pull, with `fromSrc=-` an import of the request's body.
pub async fn create(
    State(api): State<Arc<Api>>,
    axum::extract::Query(all): axum::extract::Query<Vec<(String, String)>>,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Some(name) = text(&query, "fromImage") else {
        return crate::archive::import(api, &all, body).await;
    };
    let reference = reference(name, text(&query, "tag"))?;
    let client = client(&headers, &reference)?;
    Ok(stream(api, move |engine, progress| {
        // `docker pull hello`: nobody else has these images, and nobody needs a network for them.
        if builtin::ensure(&reference.familiar_name(), engine.store(), engine.snapshots())?.is_some() {
            progress.note(&format!("{reference} is built in"));
            return Ok(());
        }
        let image = distribution::pull(&client, &reference, engine.store(), engine.snapshots(), progress)?;
        catalogue::record_all(engine, [&image], ImageEvent::Pull(&reference));
        progress.note(&format!("Digest: {}", image.target.digest));
        progress.note(&format!("Status: Image is here: {}", reference.familiar()));
        Ok(())
    }))
}

/// `POST /images/{name}/push?tag=TAG`.
///
/// # Errors
/// 400 for what is no name; whatever else goes wrong comes in the stream.
pub async fn push(api: Arc<Api>, name: String, query: &Query, headers: &HeaderMap) -> Result<Response, ApiError> {
    let reference = reference(&name, text(query, "tag"))?;
    let client = client(headers, &reference)?;
    Ok(stream(api, move |engine, progress| {
        let image = local(engine, &reference.familiar())?;
        let pushed = distribution::push(&client, &reference, engine.store(), &image, progress)?;
        catalogue::record_all(engine, [&image], ImageEvent::Push(&reference));
        let tag = reference.tag().unwrap_or("latest");
        progress.note(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
        progress.say(&json!({ "progressDetail": {}, "aux": {
            "Tag": tag, "Digest": pushed.digest.to_string(), "Size": pushed.size,
        } }));
        Ok(())
    }))
}

/// `GET /images/search?term=WORD&limit=N`, in the registry that stands before the word, else in docker.io.
///
/// # Errors
/// 400 for a filter's value that makes no sense; what the registry says.
pub async fn search(
    State(api): State<Arc<Api>>,
    query: Query,
    headers: HeaderMap,
) -> Result<axum::Json<Vec<Value>>, ApiError> {
    let term = text(&query, "term").ok_or_else(|| ApiError::bad_request("term: nothing is looked for"))?;
    let limit = number(&query, "limit")?.unwrap_or(25);
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
    let limit = limit.ok_or_else(|| ApiError::bad_request("limit: it is out of the range of [1, 100]"))?;
    let filters = Filters::parse(&query, &["is-official", "stars"])?;
    let stars = filters.values("stars").iter().map(|value| value.parse::<u64>()).max_by_key(|stars| stars.clone().ok());
    let stars = stars.transpose().map_err(|_| ApiError::bad_request("invalid filter 'stars'"))?.unwrap_or(0);
    let (registry, word) = match term.split_once('/') {
        Some((host, word)) if host.contains(['.', ':']) || host == "localhost" => (host.to_owned(), word.to_owned()),
        _ => ("docker.io".to_owned(), term.to_owned()),
    };
    // Any repository of the registry: its login is what matters.
    let client = client(&headers, &reference(&format!("{registry}/x"), None)?)?;
    let found = api.call(move |_| Ok(distribution::search(&client, &registry, &word, limit)?)).await?;
    let is_asked = |one: &distribution::Found| {
        one.stars >= stars && filters.pass("is-official", |value| matches!(value, "1" | "true") == one.official)
    };
    let line = |one: &distribution::Found| {
        json!({
            "name": one.name, "description": one.description, "star_count": one.stars, "is_official": one.official,
            "is_automated": false,
        })
    };
    Ok(axum::Json(found.iter().filter(|one| is_asked(one)).map(line).collect()))
}

/// A name that may be left out.
///
/// # Errors
/// 400 for one that is none, and for one with a digest: that is computed, not given.
pub(crate) fn optional_reference(name: Option<&str>, tag: Option<&str>) -> Result<Option<Reference>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let reference = reference(name, tag)?;
    match reference.digest() {
        Some(_) => Err(ApiError::bad_request("cannot use digest reference")),
        None => Ok(Some(reference)),
    }
}

fn reference(name: &str, tag: Option<&str>) -> Result<Reference, ApiError> {
    let text = match tag {
        None => name.to_owned(),
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
    };
    text.parse().map_err(|e: images::ParseReferenceError| ApiError::bad_request(e.to_string()))
}

/// Runs a transfer on a thread of its own and answers with what it reports.
fn stream<F>(api: Arc<Api>, work: F) -> Response
where
    F: FnOnce(&Engine, &Reports) -> Result<(), ApiError> + Send + 'static,
{
    let (sender, body) = pieces::channel();
    tokio::spawn(async move {
        let reports = Reports { sender, moved: Mutex::default() };
        let failed = Reports { sender: reports.sender.clone(), moved: Mutex::default() };
        if let Err(error) = api.call(move |engine| work(engine, &reports)).await {
            let line = json!({ "errorDetail": { "message": error.message }, "error": error.message });
            // The client may have left, and then does not miss it.
            let _left = failed.sender.push(format!("{line}\n")).await;
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Progress as Docker's JSON.
struct Reports {
    sender: Sender,
    moved: Mutex<HashMap<Digest, (u64, u64)>>,
}

impl Reports {
    fn say(&self, line: &Value) {
        // The transfer goes on for whoever asks next, though this client has left.
        let _left = self.sender.send(format!("{line}\n"));
    }

    /// The total of a blob, if so many bytes are worth a report.
    fn worth(&self, digest: &Digest, moved: u64) -> Option<u64> {
        let mut all = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, last) = all.entry(*digest).or_default();
        let due = moved >= *last + STRIDE || moved == *total;
        due.then(|| {
            *last = moved;
            *total
        })
    }
}

impl Progress for Reports {
    fn note(&self, text: &str) {
        self.say(&json!({ "status": text }));
    }

    fn blob(&self, digest: &Digest, stage: Stage) {
        let (status, detail) = match stage {
            Stage::Waiting(total) => {
                self.moved.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, (total, 0));
                ("Waiting", json!({}))
            }
            Stage::Moved(moved) => match self.worth(digest, moved) {
                Some(total) => ("Transferring", json!({ "current": moved, "total": total })),
                None => return,
            },
            Stage::Retry(_) => ("Retrying", json!({})),
            Stage::Shared => ("Waiting", json!({})),
            Stage::Present => ("Already exists", json!({})),
            Stage::AtRegistry => ("Layer already exists", json!({})),
            Stage::Mounted => ("Mounted from another repository", json!({})),
            Stage::Pulled => ("Pull complete", json!({})),
            Stage::Pushed => ("Pushed", json!({})),
        };
        let id: String = digest.hex().chars().take(12).collect();
        self.say(&json!({ "status": status, "progressDetail": detail, "id": id }));
    }
}

/// The login that the client sends along: it has looked it up in its own user's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    identitytoken: String,
}

fn client(headers: &HeaderMap, reference: &Reference) -> Result<Client, ApiError> {
    let bad = || ApiError::bad_request("X-Registry-Auth: no JSON in base64url");
    let mut credentials = Credentials::anonymous();
    if let Some(value) = headers.get("X-Registry-Auth").filter(|value| !value.is_empty()) {
        // Clients differ in whether they pad.
        let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoder = GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient);
        let json = decoder.decode(value).or_else(|_| general_purpose::STANDARD.decode(value)).map_err(|_| bad())?;
        let auth: Auth = serde_json::from_slice(&json).map_err(|_| bad())?;
        let login = match (auth.username.is_empty(), auth.identitytoken.is_empty()) {
            (_, false) => Some(Login::IdentityToken(auth.identitytoken)),
            (false, true) => Some(Login::new(auth.username, auth.password)),
            (true, true) => None,
        };
        if let Some(login) = login {
            credentials = credentials.with(reference.registry(), login);
        }
    }
    Ok(Client::new(credentials, Options::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tag_that_is_a_digest_pins_the_name() {
        let digest = Digest::of(b"x").to_string();
        assert_eq!(reference("a/b", Some(&digest)).unwrap().digest().map(ToString::to_string), Some(digest));
        assert_eq!(reference("hello", None).unwrap().familiar(), "hello:latest");
        assert!(reference("A", None).is_err());
    }

    #[test]
    fn a_login_is_taken_padded_or_not_and_nonsense_is_refused() {
        let reference: Reference = "localhost:5000/x".parse().unwrap();
        let json = br#"{"username":"u","password":"p"}"#;
        for engine in [&general_purpose::URL_SAFE, &general_purpose::URL_SAFE_NO_PAD] {
            let headers =
                HeaderMap::from_iter([("x-registry-auth".parse().unwrap(), engine.encode(json).parse().unwrap())]);
            assert!(client(&headers, &reference).is_ok());
        }
        let headers = HeaderMap::from_iter([("x-registry-auth".parse().unwrap(), "%%".parse().unwrap())]);
        assert!(client(&headers, &reference).is_err());
    }
}
