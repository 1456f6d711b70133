//! `registries.conf`: where this machine's owner wants a name to be looked for.
//!
//! ```toml
//! [[registry]]
//! prefix = "docker.io"                  # names that begin so ...
//! location = "internal.example/hub"     # ... are really there
//! insecure = false                      # plain http, or a certificate that nobody vouches for
//! blocked = false
//! [[registry.mirror]]                   # asked first, in this order
//! location = "mirror.example"
//! pull-from-mirror = "all"              # or "digest-only", "tag-only"
//! ```
//!
//! A name without a registry means `docker.io`, as docker users expect: `unqualified-search-registries` and
//! short-name aliases would let another file change what `alpine` means, and are not obeyed.
//!
//! # References
//! containers-registries.conf(5), containers-registries.conf.d(5)

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use images::Reference;
use serde::Deserialize;

use crate::error::{Error, Result};

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where an image is asked for, in place of what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `HOST[:PORT]`
    pub(crate) registry: String,
    pub(crate) repository: String,
    /// Whether the configuration asks for plain http or unverified certificates.
    pub(crate) insecure: bool,
    pub(crate) mirror: bool,
}

/// The configuration of all registries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registries {
    rules: Vec<Rule>,
}

#[derive(Deserialize, Default)]
struct Content {
    #[serde(default)]
    registry: Vec<Rule>,
    /// The format before 2019.
    registries: Option<toml::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: Taken,
}

/// Which names a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Taken {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Registries {
    /// Reads files in order; a directory stands for its `*.conf`, by name. A later rule replaces an earlier one for the
    /// same prefix. What is not there is fine.
    ///
    /// # Errors
    /// A file that cannot be read, is larger than 1 MiB, or malformed; the message has its place.
    pub(crate) fn read(places: &[PathBuf]) -> Result<Registries> {
        let mut all = Registries::default();
        for place in places {
            let wrong = |error: io::Error| Error::configuration(place, error.to_string());
            match fs::metadata(place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(wrong(error)),
                Ok(metadata) if metadata.is_dir() => {
                    let entries = fs::read_dir(place).and_then(Iterator::collect::<io::Result<Vec<_>>>);
                    let mut names: Vec<OsString> =
                        entries.map_err(wrong)?.iter().map(fs::DirEntry::file_name).collect();
                    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "conf"));
                    names.sort();
                    names.iter().try_for_each(|name| all.add(&place.join(name)))?;
                }
                Ok(_) => all.add(place)?,
            }
        }
        Ok(all)
    }

    fn add(&mut self, file: &Path) -> Result<()> {
        let wrong = |reason: String| Error::configuration(file, reason);
        if fs::metadata(file).is_ok_and(|metadata| metadata.len() > LARGEST) {
            return Err(wrong("larger than 1 MiB".to_owned()));
        }
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        for rule in parse(&text).map_err(wrong)? {
            self.rules.retain(|earlier| earlier.prefix != rule.prefix);
            self.rules.push(rule);
        }
        Ok(())
    }

    /// Where to ask for an image, in this order: mirrors, then the place itself.
    ///
    /// # Errors
    /// The registry is blocked.
    pub(crate) fn to_pull(&self, reference: &Reference) -> Result<Vec<Endpoint>> {
        let rule = self.rule(reference)?;
        let name = reference.name();
        let mut endpoints = Vec::new();
        for mirror in rule.iter().flat_map(|rule| &rule.mirror) {
            let by_digest = reference.digest().is_some();
            let taken = match mirror.pull_from_mirror {
                Taken::All => by_digest || !rule.is_some_and(|rule| rule.mirror_by_digest_only),
                Taken::DigestOnly => by_digest,
                Taken::TagOnly => !by_digest,
            };
            if let (true, Some(rule)) = (taken, rule) {
                let mirrored = rewritten(&name, &rule.prefix, &mirror.location);
                endpoints.extend(Endpoint::at(&mirrored, mirror.insecure, true));
            }
        }
        endpoints.push(self.to_push(reference)?);
        Ok(endpoints)
    }

    /// Where an image goes: never to a mirror.
    ///
    /// # Errors
    /// The registry is blocked; the configuration leads to something that is no repository.
    pub(crate) fn to_push(&self, reference: &Reference) -> Result<Endpoint> {
        let rule = self.rule(reference)?;
        let name = reference.name();
        let place = rule.map_or_else(|| name.clone(), |rule| rewritten(&name, &rule.prefix, &rule.location));
        let insecure = rule.is_some_and(|rule| rule.insecure);
        let reason = || format!("registries.conf says that it is at {place:?}, which is no repository");
        Endpoint::at(&place, insecure, false)
            .ok_or_else(|| Error::Unsupported { reference: Box::new(reference.clone()), reason: reason() })
    }

    /// Whether the configuration makes an exception for a whole registry.
    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        self.rules.iter().any(|rule| rule.insecure && (rule.location == registry || rule.prefix == registry))
    }

    /// The rule with the longest prefix.
    fn rule(&self, reference: &Reference) -> Result<Option<&Rule>> {
        let text = reference.to_string();
        let rule = self.rules.iter().filter(|rule| matches(&text, &rule.prefix)).max_by_key(|rule| rule.prefix.len());
        match rule {
            Some(rule) if rule.blocked => {
                let reason = format!("registries.conf blocks {}", rule.prefix);
                Err(Error::Unsupported { reference: Box::new(reference.clone()), reason })
            }
            rule => Ok(rule),
        }
    }
}

impl Endpoint {
    /// Splits `HOST[:PORT]/REPOSITORY`.
    fn at(place: &str, insecure: bool, mirror: bool) -> Option<Endpoint> {
        let (registry, repository) = place.split_once('/')?;
        let usable = !registry.is_empty() && !repository.is_empty();
        let (registry, repository) = (registry.to_owned(), repository.to_owned());
        usable.then_some(Endpoint { registry, repository, insecure, mirror })
    }
}

fn parse(text: &str) -> std::result::Result<Vec<Rule>, String> {
    let content: Content = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if content.registries.is_some() {
        return Err("this is version 1 of the format; [[registry]] tables are version 2".to_owned());
    }
    let mut rules = content.registry;
    for rule in &mut rules {
        for place in
            [&mut rule.prefix, &mut rule.location].into_iter().chain(rule.mirror.iter_mut().map(|m| &mut m.location))
        {
            *place = place.trim_end_matches('/').to_owned();
            if place.contains("://") {
                return Err(format!("{place:?}: a location is HOST[:PORT][/PATH], without a scheme"));
            }
        }
        if rule.prefix.is_empty() {
            rule.prefix.clone_from(&rule.location);
        }
        let wildcard = rule.prefix.starts_with("*.");
        if rule.prefix.is_empty() || (rule.location.is_empty() && wildcard && !rule.mirror.is_empty()) {
            return Err("a [[registry]] needs a location or a prefix, and mirrors of a wildcard a location".to_owned());
        }
        if rule.location.is_empty() && !wildcard {
            rule.location.clone_from(&rule.prefix);
        }
    }
    Ok(rules)
}

/// Whether a whole name begins with a prefix, at the end of one of its parts. `example.org` is not `example.org:5000`:
/// another port is another place.
fn matches(name: &str, prefix: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or(name);
        return host.ends_with(domain) && host.len() > domain.len();
    }
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    match rest.chars().next() {
        None | Some('/') => true,
        Some(':' | '@') => prefix.contains('/'),
        Some(_) => false,
    }
}

/// The name with its prefix replaced.
fn rewritten(name: &str, prefix: &str, location: &str) -> String {
    let host = || name.find('/').unwrap_or(name.len());
    let rest = if prefix.starts_with("*.") { &name[host()..] } else { name.get(prefix.len()..).unwrap_or_default() };
    if location.is_empty() { name.to_owned() } else { format!("{location}{rest}") }
}

#[cfg(test)]
#[path = "registries_tests.rs"]
mod tests;
