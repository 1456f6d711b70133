//! Which variables a line sees: `ENV` and `ARG`, and who wins.
//!
//! ```text
//!                 lives in the image   seen by expansion   seen by RUN   given from outside
//!   ENV                 yes                 yes                yes             never
//!   ARG, in a stage     no             from its line on   from its line on   --build-arg
//!   ARG before FROM     no            FROM lines only; a stage has to say `ARG name` again
//!   http_proxy & co     no                  no                 yes           --build-arg
//! ```
//!
//! `ENV` always wins over an `ARG` of the same name. What an `ARG` changes is visible to the
//! cache only where it is used: a RUN's key holds the arguments declared so far, a COPY's only
//! what expansion made of its words. The proxies are in no key: a build that goes out through
//! another proxy is the same build.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::dockerfile::platform_arguments;

/// Arguments that RUN gets without a declaration, and that no cache key holds.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The variables of a stage, at one of its lines.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    env: IndexMap<String, String>,
    args: IndexMap<String, String>,
    globals: BTreeMap<String, String>,
    given: BTreeMap<String, String>,
}

impl Scope {
    /// A scope for a stage. `globals` are the `ARG`s before the first `FROM` with their values,
    /// `given` is what the user said with `--build-arg`.
    pub fn new(globals: &[(String, String)], given: &BTreeMap<String, String>) -> Scope {
        Scope {
            globals: platform_arguments().into_iter().chain(globals.iter().cloned()).collect(),
            given: given.clone(),
            ..Scope::default()
        }
    }

    /// Takes over the base image's environment, `NAME=VALUE`.
    pub fn inherit(&mut self, env: &[String]) {
        for entry in env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.env.insert(name.to_owned(), value.to_owned());
        }
    }

    /// `ENV name=value`, from here on and in the image.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// `ARG name=default`, from here on in this stage. The user's value wins over the default,
    /// and the default over the value of the `ARG` before the first `FROM`.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        let value = self.given.get(name).cloned().or(default).or_else(|| self.globals.get(name).cloned());
        if let Some(value) = value {
            self.args.insert(name.to_owned(), value);
        }
    }

    /// What `$name` means here.
    pub fn lookup(&self, name: &str) -> Option<String> {
        self.env.get(name).or_else(|| self.args.get(name)).cloned()
    }

    /// The image's environment, `NAME=VALUE`, in the order in which names were first set.
    pub fn env(&self) -> Vec<String> {
        self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The environment that decides what a RUN does: declared arguments, then `ENV`.
    pub fn run_env(&self) -> Vec<String> {
        let hidden = |name: &String| self.env.contains_key(name) || is_proxy(name);
        let args = self.args.iter().filter(|(name, _)| !hidden(name));
        args.chain(&self.env).map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// What a RUN sees besides: the proxies that the user gave.
    pub fn proxies(&self) -> Vec<String> {
        let given = self.given.iter().filter(|(name, _)| is_proxy(name) && !self.env.contains_key(*name));
        given.map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// Whether an argument is one of the predefined proxies, in either case.
pub fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name) || PROXIES.iter().any(|proxy| proxy.to_ascii_lowercase() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let given = [("A", "given"), ("http_proxy", "http://p"), ("X", "x")];
        let given = given.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Scope::new(&[("G".to_owned(), "global".to_owned())], &given)
    }

    #[test]
    fn an_argument_counts_from_its_declaration_on() {
        let mut scope = scope();
        assert_eq!(scope.lookup("A"), None);
        scope.declare("A", Some("default".to_owned()));
        scope.declare("B", Some("default".to_owned()));
        scope.declare("C", None);
        assert_eq!(scope.lookup("A").as_deref(), Some("given"));
        assert_eq!(scope.lookup("B").as_deref(), Some("default"));
        assert_eq!(scope.lookup("C"), None);
        assert_eq!(scope.run_env(), ["A=given", "B=default"]);
    }

    #[test]
    fn a_global_argument_has_to_be_declared_again() {
        let mut scope = scope();
        assert_eq!(scope.lookup("G"), None);
        scope.declare("G", None);
        scope.declare("TARGETARCH", None);
        assert_eq!(scope.lookup("G").as_deref(), Some("global"));
        assert_eq!(scope.lookup("TARGETARCH").as_deref(), Some("amd64"));
    }

    #[test]
    fn env_wins_over_arg_and_alone_reaches_the_image() {
        let mut scope = scope();
        scope.inherit(&["PATH=/bin".to_owned(), "A=image".to_owned()]);
        scope.declare("A", None);
        scope.declare("X", None);
        assert_eq!(scope.lookup("A").as_deref(), Some("image"));
        assert_eq!(scope.env(), ["PATH=/bin", "A=image"]);
        assert_eq!(scope.run_env(), ["X=x", "PATH=/bin", "A=image"]);
    }

    #[test]
    fn proxies_reach_run_but_no_key() {
        let mut scope = scope();
        scope.declare("http_proxy", None);
        assert_eq!(scope.proxies(), ["http_proxy=http://p"]);
        assert!(scope.run_env().is_empty());
    }
}
