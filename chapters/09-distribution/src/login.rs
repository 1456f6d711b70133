//! Login and logout: a password is kept only after the registry has accepted it.

use std::path::Path;

use ureq::http::Method;

use crate::client::{Client, Options};
use crate::conversation::{Ask, Conversation};
use crate::credentials::{Credentials, DockerConfig, Login};
use crate::error::{Error, Result};

/// Shows a login to a registry and, if it is accepted, keeps it in Docker's configuration (or
/// with the credential helper that is configured there). Returns where it is kept.
///
/// # Errors
/// [`Error::Unauthorized`] if the registry does not accept it; the configuration cannot be written.
pub fn login(registry: &str, login: &Login, options: Options) -> Result<String> {
    login_at(&config_path()?, registry, login, options)
}

/// [`login`] with a configuration file of the caller's choice.
///
/// # Errors
/// As for [`login`].
pub fn login_at(config: &Path, registry: &str, login: &Login, options: Options) -> Result<String> {
    let registry = canonical(registry);
    let client = Client::new(Credentials::anonymous().with(registry, login.clone()), options);
    let conversation = Conversation::about(&client, registry, Vec::new())?;
    let answer = conversation.send(&Ask::new(Method::GET, conversation.origin.url("/v2/"), "show the login"))?;
    if answer.status() != 200 {
        return Err(answer.refusal(&conversation, "log in to"));
    }
    DockerConfig::store(config, registry, login)
}

/// Forgets the login for a registry; false if there was none.
///
/// # Errors
/// The configuration cannot be read or written.
pub fn logout(registry: &str) -> Result<bool> {
    DockerConfig::erase(&config_path()?, canonical(registry))
}

fn config_path() -> Result<std::path::PathBuf> {
    DockerConfig::default_path().ok_or_else(|| Error::Credentials {
        subject: "login".to_owned(),
        reason: "neither DOCKER_CONFIG nor HOME is set".to_owned(),
    })
}

/// The name that references use: without a scheme, without a path.
fn canonical(registry: &str) -> &str {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" | "" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_one_name() {
        for name in ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io", "index.docker.io"] {
            assert_eq!(canonical(name), "docker.io");
        }
        assert_eq!(canonical("https://localhost:5000/v2/"), "localhost:5000");
    }
}
