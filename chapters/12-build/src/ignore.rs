//! `.dockerignore`: what of the context the build does not see.
//!
//! The rules are moby's, and no other tool's; they differ from `.gitignore` where it hurts:
//!
//! - A pattern is anchored at the context's root: `*.md` is about the top directory only, and
//!   `**/*.md` about every one. A leading slash changes nothing.
//! - A pattern that matches a directory matches everything below it.
//! - `!pattern` brings back what earlier lines excluded; **the last line that matches wins**, even
//!   below an excluded directory, so every directory has to be looked into once there is a `!`.
//! - `#` begins a comment only in the very first column.
//!
//! A file beside the Dockerfile with its name and `.dockerignore` appended goes before the
//! context's own.
//!
//! # References
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::pattern::{Dialect, Pattern};

/// How many rules a file may have: each is tried on each path.
const MAX_RULES: usize = 4096;

/// The rules of one `.dockerignore`; without any, nothing is ignored.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    brings_back: bool,
    pattern: Pattern,
}

impl Ignore {
    /// Reads the rules from the text of `file`, whose name appears in errors.
    ///
    /// # Errors
    /// A pattern that is none, with its line.
    pub fn parse(file: &Path, text: &str) -> Result<Ignore, Error> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let wrong = |message: String| Error::File {
                file: PathBuf::from(format!("{}:{}", file.display(), index + 1)),
                message,
            };
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (brings_back, pattern) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            let pattern = clean(pattern);
            if pattern.is_empty() {
                return Err(wrong("illegal exclusion pattern: \"!\"".to_owned()));
            }
            // "." alone would exclude the root itself; moby lets it match nothing.
            if pattern == "." {
                continue;
            }
            if rules.len() == MAX_RULES {
                return Err(wrong(format!("more than {MAX_RULES} rules")));
            }
            rules.push(Rule { brings_back, pattern: Pattern::new(&pattern, Dialect::Ignore).map_err(wrong)? });
        }
        Ok(Ignore { rules })
    }

    /// Whether the build does not see `path`, which is relative to the context's root.
    pub fn excludes(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        // The path itself and each directory above it: "a/b/c", "a", "a/b".
        let parents: Vec<&str> = text.match_indices('/').map(|(at, _)| &text[..at]).collect();
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing need not be tried.
            if rule.brings_back != excluded {
                continue;
            }
            if rule.pattern.matches(&text) || parents.iter().any(|parent| rule.pattern.matches(parent)) {
                excluded = !rule.brings_back;
            }
        }
        excluded
    }

    /// Whether an excluded directory may hold files that are not: then it must be looked into.
    pub fn brings_back_any(&self) -> bool {
        self.rules.iter().any(|rule| rule.brings_back)
    }
}

/// Go's `filepath.Clean` for a pattern: no `.`, no double slash, `..` taken back, no leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(pattern).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if parts.is_empty() && !pattern.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn excluded(rules: &str, path: &str) -> bool {
        Ignore::parse(Path::new(".dockerignore"), rules).unwrap().excludes(Path::new(path))
    }

    #[test]
    fn rules_mean_what_they_mean_to_docker() {
        for (rules, path, is_excluded) in [
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("**/*.md", "docs/a/README.md", true),
            ("/target", "target/debug/x", true),
            ("target/", "target/debug/x", true),
            ("./target", "target", true),
            ("a/../target", "target", true),
            ("tar", "target", false),
            ("*", "a/b/c", true),
            ("# x\n #y", "#y", true),
            ("*\n!keep", "keep/a", false),
            ("*\n!keep\nkeep/secret", "keep/secret", true),
            ("!README.md\n*.md", "README.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
            ("node_modules\n!node_modules/keep", "node_modules/keep/x", false),
            ("temp?", "tempa/x", true),
            ("*/*/temp*", "a/b/temporary", true),
            ("*/*/temp*", "a/temporary", false),
            ("", "x", false),
            (".", "x", false),
        ] {
            assert_eq!(excluded(rules, path), is_excluded, "{rules:?} on {path}");
        }
    }

    #[test]
    fn a_bad_rule_is_refused_with_its_line() {
        let error = Ignore::parse(Path::new(".dockerignore"), "a\n\n[\n").unwrap_err();
        assert!(error.to_string().starts_with(".dockerignore:3: syntax error in pattern"), "{error}");
        assert!(Ignore::parse(Path::new("i"), "!\n").is_err());
    }
}
