//! Names and passwords, shared with Docker's own configuration file.
//!
//! ```json
//! { "auths": { "ghcr.io": { "auth": "base64(NAME:PASSWORD)" } },
//!   "credHelpers": { "gcr.io": "gcloud" },
//!   "credsStore": "secretservice" }
//! ```
//!
//! A login belongs to one registry's name and is found by exactly that name. The file is
//! readable by its owner only, and what other tools keep in it stays as it was.
//!
//! # References
//! docker login; the credential helper protocol of docker-credential-helpers.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::credential_helper::Helper;
use crate::error::{Error, Result};

/// The key under which docker keeps the login of `docker.io`, from its first protocol.
const DOCKER_IO_KEY: &str = "https://index.docker.io/v1/";

/// Largest configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// What proves who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password (or an access token that is used like one).
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server exchanges for short-lived ones.
    IdentityToken(String),
}

impl Login {
    /// A name and a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Login {
        Login::Password { user: user.into(), password: password.into() }
    }

    /// The value of `Authorization` for the Basic scheme; an identity token has none.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Login::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::IdentityToken(_) => None,
        }
    }
}

impl fmt::Debug for Login {
    /// Says who, never the secret: logins end up in error reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { user, .. } => write!(f, "Login({user}, [password])"),
            Login::IdentityToken(_) => f.write_str("Login([identity token])"),
        }
    }
}

/// Where logins are looked up.
#[derive(Clone, Debug)]
pub struct Credentials {
    given: Vec<(String, Login)>,
    config: Option<DockerConfig>,
}

impl Credentials {
    /// No logins at all.
    pub fn anonymous() -> Credentials {
        Credentials { given: Vec::new(), config: None }
    }

    /// The logins of `$DOCKER_CONFIG/config.json`, or else `~/.docker/config.json`.
    ///
    /// # Errors
    /// The file exists and cannot be read or is no JSON object. That there is none is fine.
    pub fn from_docker_config() -> Result<Credentials> {
        let config = DockerConfig::default_path().map(|path| DockerConfig::read(&path)).transpose()?;
        Ok(Credentials { given: Vec::new(), config })
    }

    /// The logins of one file.
    ///
    /// # Errors
    /// As for [`Credentials::from_docker_config`].
    pub fn from_file(path: &Path) -> Result<Credentials> {
        Ok(Credentials { given: Vec::new(), config: Some(DockerConfig::read(path)?) })
    }

    /// Adds a login for one registry, before all that are configured.
    #[must_use]
    pub fn with(mut self, registry: &str, login: Login) -> Credentials {
        self.given.push((registry.to_owned(), login));
        self
    }

    /// The login for a registry, by the name that references use (`docker.io`, `localhost:5000`).
    ///
    /// # Errors
    /// The file's entry is malformed, or its credential helper fails.
    pub fn find(&self, registry: &str) -> Result<Option<Login>> {
        if let Some((_, login)) = self.given.iter().find(|(name, _)| name == registry) {
            return Ok(Some(login.clone()));
        }
        self.config.as_ref().map_or(Ok(None), |config| config.find(registry))
    }
}

/// Docker's configuration file.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: PathBuf,
    content: Map<String, Value>,
}

impl DockerConfig {
    /// `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`; `None` without a home.
    pub fn default_path() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
        Some(directory.join("config.json"))
    }

    /// Reads the file; a missing one is an empty configuration.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 1 MiB, or is no JSON object.
    pub fn read(path: &Path) -> Result<DockerConfig> {
        let wrong = |reason: String| Error::Credentials { subject: path.display().to_string(), reason };
        let content = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(wrong(error.to_string())),
            Ok(metadata) if metadata.len() > LARGEST => return Err(wrong("larger than 1 MiB".to_owned())),
            Ok(_) => {
                let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                if text.trim().is_empty() {
                    Map::new()
                } else {
                    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
                }
            }
        };
        Ok(DockerConfig { path: path.to_owned(), content })
    }

    /// Looks a registry up: its own helper, then the helper for all, then the file itself.
    fn find(&self, registry: &str) -> Result<Option<Login>> {
        if let Some(helper) = self.helper(registry)? {
            return helper.get(server_key(registry));
        }
        let Some(Value::Object(auths)) = self.content.get("auths") else { return Ok(None) };
        let Some((key, entry)) = auths.iter().find(|(key, _)| registry_of_key(key) == registry) else {
            return Ok(None);
        };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Login::IdentityToken(token.to_owned())));
        }
        let Some(auth) = text("auth") else { return Ok(None) };
        let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|pair| pair.trim_end_matches('\0').split_once(':'));
        match pair {
            Some((user, password)) => Ok(Some(Login::new(user, password))),
            None => Err(self.wrong(format!("auths.{key:?}.auth is not base64 of NAME:PASSWORD"))),
        }
    }

    /// Keeps a login: with the credential helper if one is configured, else in the file.
    /// Returns where.
    ///
    /// # Errors
    /// The helper fails; the file cannot be written.
    pub fn store(path: &Path, registry: &str, login: &Login) -> Result<String> {
        let _lock = locked_directory(path)?;
        let mut config = DockerConfig::read(path)?;
        if let Some(helper) = config.helper(registry)? {
            helper.store(server_key(registry), login)?;
            return Ok(helper.to_string());
        }
        let entry = match login {
            Login::Password { user, password } => json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }),
            Login::IdentityToken(token) => json!({ "auth": "", "identitytoken": token }),
        };
        let auths = config.content.entry("auths").or_insert_with(|| json!({}));
        let Value::Object(auths) = auths else {
            return Err(config.wrong("\"auths\" is not an object".to_owned()));
        };
        // Older spellings of the same name would otherwise be found first.
        auths.retain(|key, _| registry_of_key(key) != registry);
        auths.insert(server_key(registry).to_owned(), entry);
        config.write()?;
        Ok(path.display().to_string())
    }

    /// Forgets a login; false if there was none.
    ///
    /// # Errors
    /// As for [`DockerConfig::store`].
    pub fn erase(path: &Path, registry: &str) -> Result<bool> {
        if !path.exists() {
            return Ok(false);
        }
        // Before it is read: a login that comes in between would be lost with what we write.
        let _lock = locked_directory(path)?;
        let mut config = DockerConfig::read(path)?;
        if let Some(helper) = config.helper(registry)? {
            let known = helper.get(server_key(registry))?.is_some();
            helper.erase(server_key(registry))?;
            return Ok(known);
        }
        let Some(Value::Object(auths)) = config.content.get_mut("auths") else { return Ok(false) };
        let before = auths.len();
        auths.retain(|key, _| registry_of_key(key) != registry);
        let erased = auths.len() < before;
        if erased {
            config.write()?;
        }
        Ok(erased)
    }

    fn helper(&self, registry: &str) -> Result<Option<Helper>> {
        let own = self.content.get("credHelpers").and_then(|helpers| helpers.get(registry));
        let name = own.or_else(|| self.content.get("credsStore")).and_then(Value::as_str);
        name.filter(|name| !name.is_empty()).map(Helper::named).transpose()
    }

    fn write(&self) -> Result<()> {
        // Through a symbolic link into somebody's dotfiles, not over it.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        process::state::write_json(&path, &self.content).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Credentials { subject: self.path.display().to_string(), reason }
    }
}

/// Locks the directory of the file, so that two logins at once both stay.
fn locked_directory(path: &Path) -> Result<File> {
    let wrong =
        |error: std::io::Error| Error::Credentials { subject: path.display().to_string(), reason: error.to_string() };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(wrong)?;
    let lock = File::open(directory).map_err(wrong)?;
    lock.lock().map_err(wrong)?;
    Ok(lock)
}

/// The name under which a registry's login is kept.
fn server_key(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_IO_KEY } else { registry }
}

/// The registry that a key means: old versions wrote whole URLs.
fn registry_of_key(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
