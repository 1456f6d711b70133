//! Who may come in: names and bcrypt hashes from an htpasswd file.
//!
//! `htpasswd -Bbn alice secret` writes such a line. Only bcrypt is accepted: the file's older
//! forms (crypt, MD5, SHA-1) can be guessed at billions a second, and refusing them when the
//! server starts is kinder than serving with them.
//!
//! # References
//! RFC 7617 (Basic), htpasswd(1).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Code, Error, Refusal};

/// bcrypt itself looks at no more than 72 bytes.
const LONGEST_PASSWORD: usize = 72;

/// Cost of the hash that stands in for an unknown name's, as `htpasswd -B` writes it.
const STAND_IN: &str = "$2y$05$abcdefghijklmnopqrstuuWC9Zd6B5yOKGmUcmDKV8.XAj1yG3n0m";

/// The accounts of a registry.
#[derive(Clone)]
pub struct Accounts {
    hashes: HashMap<String, String>,
}

impl Accounts {
    /// Reads an htpasswd file: `NAME:HASH` lines, blank lines and `#` comments.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not `NAME:` and a bcrypt hash.
    pub fn read(path: &Path) -> Result<Accounts, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut hashes = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| Error::Htpasswd { path: path.to_owned(), line: index + 1, reason };
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("no colon after the name"))?;
            if !["$2y$", "$2b$", "$2a$"].iter().any(|prefix| hash.starts_with(prefix)) {
                return Err(wrong("not a bcrypt hash; write it with htpasswd -B"));
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Accounts { hashes })
    }

    /// Checks a request's `Authorization`. Slow on purpose (bcrypt): call it where blocking is
    /// allowed.
    ///
    /// # Errors
    /// `UNAUTHORIZED` with a challenge, the same whether the name or the password is wrong.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some((name, password)) = basic(headers) else {
            return Err(refused("this registry asks for a name and a password"));
        };
        // An unknown name costs as much as a known one, so that time tells nobody who exists.
        let known = self.hashes.get(&name);
        let hash = known.map_or(STAND_IN, String::as_str);
        let fits = bcrypt::verify(password.as_bytes(), hash).unwrap_or(false);
        if known.is_some() && fits {
            return Ok(());
        }
        Err(refused("the name or the password is wrong"))
    }
}

/// The name and password of `Authorization: Basic`, if they are well-formed.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    (password.len() <= LONGEST_PASSWORD).then(|| (name.to_owned(), password.to_owned()))
}

fn refused(message: &str) -> Refusal {
    Refusal::new(Code::Unauthorized, message)
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"cooper registry\", charset=\"UTF-8\"")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn accounts(text: &str) -> Result<Accounts, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Accounts::read(file.path())
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_right_password_of_a_known_name_is_admitted() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let accounts = accounts(&format!("# people\n\nalice:{hash}\n")).unwrap();
        let basic = |pair: &str| headers(&format!("Basic {}", STANDARD.encode(pair)));
        accounts.admit(&basic("alice:secret")).unwrap();
        for pair in ["alice:wrong", "bob:secret", "alice", ":"] {
            accounts.admit(&basic(pair)).unwrap_err();
        }
        for value in ["Basic", "Basic !!!", "Bearer x"] {
            accounts.admit(&headers(value)).unwrap_err();
        }
        accounts.admit(&HeaderMap::new()).unwrap_err();
    }

    #[test]
    fn a_weak_hash_is_refused_with_its_line() {
        let error = accounts("\nbob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n").err().unwrap().to_string();
        assert!(error.ends_with(":2: not a bcrypt hash; write it with htpasswd -B"), "{error}");
    }

    #[test]
    fn the_stand_in_is_a_hash_that_takes_as_long_as_a_real_one() {
        assert!(!bcrypt::verify("anything", STAND_IN).unwrap());
    }
}
