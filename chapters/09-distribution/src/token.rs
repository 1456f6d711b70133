//! Tokens: short-lived permission from somebody whom the registry trusts.
//!
//! The registry says where to ask (the *realm*), and the login is sent *there*. A registry
//! could name any address, so a login goes only to a realm that belongs to the registry: the
//! same host, or a sibling under the same domain (`auth.docker.io` for `registry-1.docker.io`).
//! A realm anywhere else is asked with the login that was given for *it*, or anonymously.
//!
//! The scope is not taken from the registry either: it is what we are about to do, so that a
//! registry cannot ask, in our name, for a token to somebody else's repository.
//!
//! # References
//! Docker's token authentication specification; RFC 6749 section 6 for identity tokens.

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::{Method, Request, Uri, header};

use crate::address::{Origin, percent_encoded};
use crate::answer::Answer;
use crate::conversation::Conversation;
use crate::credentials::Login;
use crate::error::Result;

/// Largest answer of a token server, in bytes.
const LARGEST: u64 = 1 << 20;

/// Life of a token whose server does not say, from the specification.
const DEFAULT_LIFE: u64 = 60;

/// Time before its end in which a token is no longer used.
const MARGIN: u64 = 5;

/// What is shown to a registry, and until when it is worth showing.
pub(crate) struct Authorization {
    pub(crate) value: String,
    pub(crate) until: Option<Instant>,
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks a realm for a token.
pub(crate) fn fetch(
    conversation: &Conversation,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
) -> Result<Authorization> {
    let uri: Uri = realm.parse().map_err(|_| conversation.broken("the token server's address is no URL"))?;
    conversation.allow(&uri)?;
    let origin = Origin::of(&uri).ok_or_else(|| conversation.broken("the token server's address is no URL"))?;
    let login = login_for(conversation, &origin)?;
    let answer = ask(conversation, &uri, &origin, service, scopes, login.as_ref())?;
    if answer.status() != 200 {
        return Err(answer.refusal(conversation, "get a token for"));
    }
    let bytes = answer.bytes(conversation, LARGEST)?;
    let granted: Granted = serde_json::from_slice(&bytes)
        .map_err(|error| conversation.broken(&format!("the token server's answer is not valid: {error}")))?;
    let Some(token) = granted.token.or(granted.access_token).filter(|token| !token.is_empty()) else {
        return Err(conversation.broken("the token server's answer has no token"));
    };
    let life = granted.expires_in.unwrap_or(DEFAULT_LIFE).clamp(DEFAULT_LIFE, 24 * 3600);
    let until = Instant::now() + Duration::from_secs(life - MARGIN);
    Ok(Authorization { value: format!("Bearer {token}"), until: Some(until) })
}

/// The login that may be sent to a realm.
fn login_for(conversation: &Conversation, realm: &Origin) -> Result<Option<Login>> {
    let credentials = &conversation.client.credentials;
    if belongs_to(realm, &conversation.origin) {
        return credentials.find(&conversation.registry);
    }
    credentials.find(realm.host())
}

/// Whether a realm is the registry's own.
fn belongs_to(realm: &Origin, registry: &Origin) -> bool {
    let (realm, registry) = (realm.host(), registry.host());
    if realm == registry {
        return true;
    }
    let below = |domain: &str| realm == domain || realm.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let named = |host: &str| host.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
    if !named(registry) || !named(realm) {
        return false; // numbers have no domains
    }
    // The registry's own domain, if that is more than a public ending.
    let domain = registry.split_once('.').map(|(_, domain)| domain).filter(|domain| domain.contains('.'));
    below(registry) || domain.is_some_and(below)
}

fn ask(
    conversation: &Conversation,
    realm: &Uri,
    origin: &Origin,
    service: Option<&str>,
    scopes: &[String],
    login: Option<&Login>,
) -> Result<Answer> {
    let mut parameters: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
    parameters.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    let agent = conversation.agent(origin)?;
    let who = if login.is_some() { "with the login" } else { "anonymously" };
    let subject = format_args!("{origin}{}, {who}, to {}", realm.path(), scopes.join(" "));
    process::narrate::tell(9, "token", "token-spec", "ask the token server for permission", subject);
    let response = match login {
        Some(Login::IdentityToken(token)) => {
            parameters.extend([("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "cooper")]);
            let request = Request::builder()
                .method(Method::POST)
                .uri(realm.clone())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            request.body(form(&parameters)).map_err(ureq::Error::from).and_then(|request| agent.run(request))
        }
        _ => {
            let joint = if realm.query().is_some() { '&' } else { '?' };
            let mut request = Request::builder().uri(format!("{realm}{joint}{}", form(&parameters)));
            if let Some(value) = login.and_then(Login::basic) {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request))
        }
    };
    let response = response.map_err(|error| conversation.unreachable(origin, error))?;
    let answer = Answer::new(response, realm.clone(), origin.clone(), None);
    answer.narrate();
    Ok(answer)
}

fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_trusted_only_within_the_registrys_own_domain() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        let trusted = |realm: &str, registry: &str| belongs_to(&origin(realm), &origin(registry));
        assert!(trusted("https://auth.docker.io/token", "https://registry-1.docker.io"));
        assert!(trusted("https://ghcr.io/token", "https://ghcr.io"));
        assert!(trusted("https://gitlab.com/jwt/auth", "https://registry.gitlab.com"));
        assert!(trusted("https://auth.example.org/t", "https://example.org"));
        assert!(trusted("http://127.0.0.1:2/t", "http://127.0.0.1:1"));
        assert!(!trusted("https://evil.example/t", "https://registry.example.org"));
        assert!(!trusted("https://evil-docker.io/t", "https://registry-1.docker.io"));
        assert!(!trusted("https://evil.org/t", "https://example.org"));
        assert!(!trusted("http://127.0.0.2/t", "http://127.0.0.1"));
        assert!(!trusted("http://9.0.0.1/t", "http://8.0.0.1"));
        assert!(!trusted("http://localhost/t", "http://127.0.0.1"));
    }

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(form(&[("scope", "repository:a/b:pull,push")]), "scope=repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
