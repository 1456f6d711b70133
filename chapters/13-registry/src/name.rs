//! The names a client may use, checked once at the edge.
//!
//! Everything below this module takes a [`RepositoryName`] or a [`Tag`], never a string. The
//! grammar has no way to say `..`, an absolute path, or a component that begins with `_`, so a
//! name that was parsed can be joined to a directory without further thought, and can never
//! meet the registry's own `_blobs`, `_manifests`, `_tags` and `_referrers` directories.
//!
//! # References
//! distribution-spec 1.1, "Pulling manifests" (the two regular expressions).

use std::fmt;
use std::str::FromStr;

use layers::Digest;

use crate::error::{Code, Refusal};

/// Longest repository name, in bytes. The specification leaves the number open; 255 is what
/// clients expect (host and name together) and what keeps every path far below `PATH_MAX`.
const LONGEST_NAME: usize = 255;

/// Longest tag, in bytes, from the specification's grammar.
const LONGEST_TAG: usize = 128;

/// The name of a repository: `busybox`, `team/app`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.len() <= LONGEST_NAME && text.split('/').all(is_component) {
            return Ok(RepositoryName(text.to_owned()));
        }
        Err(Refusal::new(
            Code::NameInvalid,
            format!(
                "the repository name {:?} does not follow the grammar: lower-case letters and \
                 digits, separated by one of . _ __ or dashes, in components divided by /",
                excerpt(text)
            ),
        ))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag: a name that a repository's owner may move from one manifest to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let first = text.bytes().next().is_some_and(is_word);
        let rest = text.bytes().skip(1).all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
        if first && rest && text.len() <= LONGEST_TAG {
            return Ok(Tag(text.to_owned()));
        }
        Err(Refusal::new(Code::TagInvalid, format!("the tag {:?} does not follow the grammar", excerpt(text))))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request names a manifest: by a tag, which may move, or by its digest, which cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `/manifests/latest`
    Tag(Tag),
    /// `/manifests/sha256:...`
    Digest(Digest),
}

impl FromStr for Selector {
    type Err = Refusal;

    /// A tag cannot contain a colon and a digest must, so one character decides.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return parse_digest(text).map(Selector::Digest);
        }
        text.parse().map(Selector::Tag)
    }
}

/// Parses a digest, or refuses with the specification's `DIGEST_INVALID`.
///
/// # Errors
/// Anything but `sha256:` and 64 lower-case hexadecimal digits. SHA-512 is legal and refused:
/// pieces of an upload are hashed before the client says with which algorithm.
pub fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    let refused = |reason: String| Refusal::new(Code::DigestInvalid, reason);
    match text.parse::<Digest>() {
        Ok(digest @ Digest::Sha256(_)) => Ok(digest),
        Ok(Digest::Sha512(_)) => Err(refused("this registry stores by sha256 only".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// One component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    plain(first)
        && plain(last)
        && bytes
            .split(|&byte| plain(byte))
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-'))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The beginning of a refused text: enough to recognise it, not enough to fill a log.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar_of_the_specification() {
        for good in ["a", "busybox", "a/b/c", "a.b_c__d-e--f/0", "1/2"] {
            good.parse::<RepositoryName>().unwrap();
        }
        let bad = [
            "", "/", "a/", "/a", "a//b", "..", "a/..", ".a", "a.", "_blobs", "a/_tags", "A", "a___b", "a..b", "a._b",
            "a b", "a\0b", "ä",
        ];
        for bad in bad {
            bad.parse::<RepositoryName>().unwrap_err();
        }
        "a".repeat(255).parse::<RepositoryName>().unwrap();
        "a".repeat(256).parse::<RepositoryName>().unwrap_err();
    }

    #[test]
    fn tags_never_climb() {
        for good in ["latest", "1.2.3", "_x", "V1-rc.1"] {
            good.parse::<Tag>().unwrap();
        }
        for bad in ["", ".", "..", "-x", "a/b", "a:b", "a b", &"a".repeat(129)] {
            bad.parse::<Tag>().unwrap_err();
        }
    }

    #[test]
    fn a_colon_makes_a_selector_a_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse().unwrap(), Selector::Digest(_)));
        assert!(matches!("latest".parse().unwrap(), Selector::Tag(_)));
        "sha256:short".parse::<Selector>().unwrap_err();
        "md5:0".parse::<Selector>().unwrap_err();
    }
}
