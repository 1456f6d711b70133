//! Credential helpers: programs that keep passwords in a keyring.
//!
//! The protocol is one word on the command line and JSON on the pipes:
//!
//! ```text
//! docker-credential-NAME get      stdin: SERVER     stdout: {"ServerURL","Username","Secret"}
//! docker-credential-NAME store    stdin: the same JSON
//! docker-credential-NAME erase    stdin: SERVER
//! ```

use std::fmt;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::credentials::Login;
use crate::error::{Error, Result};

/// Most that is read of a helper's output, in bytes.
const LARGEST_OUTPUT: u64 = 64 << 10;

/// The name that marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// A credential helper, by the last part of its program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Helper(String);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that a configuration names. A name is a word: it becomes part of a program's
    /// name, and a slash would make that a path.
    pub(crate) fn named(name: &str) -> Result<Helper> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.bytes().all(word) && !name.starts_with('.') {
            return Ok(Helper(name.to_owned()));
        }
        let reason = "not the name of a credential helper".to_owned();
        Err(Error::Credentials { subject: format!("{name:?}"), reason })
    }

    /// The login for a server; `None` if the helper has none.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Login>> {
        let (success, output) = self.run("get", server.as_bytes())?;
        if !success {
            // The protocol has no code for "none": every helper prints this sentence.
            if output.contains("credentials not found") {
                return Ok(None);
            }
            return Err(self.wrong(format!("get: {}", output.trim())));
        }
        let entry: Entry = serde_json::from_str(&output).map_err(|error| self.wrong(format!("get: {error}")))?;
        Ok(Some(match entry.username.as_str() {
            TOKEN_USER => Login::IdentityToken(entry.secret),
            _ => Login::new(entry.username, entry.secret),
        }))
    }

    /// Keeps a login.
    pub(crate) fn store(&self, server: &str, login: &Login) -> Result<()> {
        let (username, secret) = match login {
            Login::Password { user, password } => (user.clone(), password.clone()),
            Login::IdentityToken(token) => (TOKEN_USER.to_owned(), token.clone()),
        };
        let entry = Entry { server_url: server.to_owned(), username, secret };
        let input = serde_json::to_vec(&entry).map_err(|error| self.wrong(error.to_string()))?;
        self.must("store", &input)
    }

    /// Forgets a login.
    pub(crate) fn erase(&self, server: &str) -> Result<()> {
        self.must("erase", server.as_bytes())
    }

    fn must(&self, verb: &str, input: &[u8]) -> Result<()> {
        match self.run(verb, input)? {
            (true, _) => Ok(()),
            (false, output) => Err(self.wrong(format!("{verb}: {}", output.trim()))),
        }
    }

    /// Runs the helper. It may ask its user for a key, so it is given all the time it takes.
    fn run(&self, verb: &str, input: &[u8]) -> Result<(bool, String)> {
        let failed = |error: std::io::Error| self.wrong(format!("{verb}: {error}"));
        let mut child = Command::new(self.to_string())
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input answers without it, or says why not.
            let _ = stdin.write_all(input);
        }
        let mut output = String::new();
        let read = match child.stdout.take() {
            Some(stdout) => stdout.take(LARGEST_OUTPUT).read_to_string(&mut output),
            None => Ok(0),
        };
        let status = child.wait().map_err(failed)?;
        read.map_err(failed)?;
        Ok((status.success(), output))
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Credentials { subject: self.to_string(), reason }
    }
}

impl fmt::Display for Helper {
    /// The program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_word_and_not_a_path() {
        assert_eq!(Helper::named("ecr-login").unwrap().to_string(), "docker-credential-ecr-login");
        for name in ["../x", "a/b", ".x", "a b", "a;b", "a\0"] {
            Helper::named(name).unwrap_err();
        }
    }

    #[test]
    fn a_helper_that_is_not_installed_is_named() {
        let error = Helper::named("no-such-helper").unwrap().get("a").unwrap_err().to_string();
        assert!(error.starts_with("docker-credential-no-such-helper: get: "), "{error}");
    }
}
