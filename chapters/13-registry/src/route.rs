//! What a request asks for.
//!
//! Repository names contain slashes, so a table of path patterns cannot split them from the
//! words around them (`/v2/a/blobs/b/manifests/c` is a manifest of the repository `a/blobs/b`).
//! The specification's paths are told apart from the end, and so does [`Endpoint::parse`].
//!
//! ```text
//! /v2/                                    is anybody there?
//! /v2/_catalog                            which repositories?
//! /v2/NAME/tags/list                      which tags?
//! /v2/NAME/manifests/REFERENCE            a manifest by tag or digest
//! /v2/NAME/referrers/DIGEST               what points at this manifest?
//! /v2/NAME/blobs/DIGEST                   a blob
//! /v2/NAME/blobs/uploads/                 begin an upload
//! /v2/NAME/blobs/uploads/SESSION          go on with it
//! ```
//!
//! # References
//! distribution-spec 1.1, "Endpoints" (end-1 to end-13).

use layers::Digest;

use crate::error::{Code, Refusal};
use crate::name::{RepositoryName, Selector, parse_digest};
use crate::upload::SessionId;

/// The object that a path names, with every part of it checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(RepositoryName),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(RepositoryName, Selector),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(RepositoryName, Digest),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(RepositoryName, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/NAME/blobs/uploads/SESSION`
    Upload(RepositoryName, SessionId),
}

impl Endpoint {
    /// Reads the path of a request.
    ///
    /// # Errors
    /// `NAME_INVALID`, `TAG_INVALID` or `DIGEST_INVALID` for a part that breaks its grammar,
    /// `NAME_UNKNOWN` (404) for a path that is none of the registry's.
    pub fn parse(path: &str) -> Result<Endpoint, Refusal> {
        let path = percent_decoded(path)?;
        let rest = path.strip_prefix("/v2").ok_or_else(nowhere)?;
        match rest {
            "" | "/" => return Ok(Endpoint::Base),
            "/_catalog" => return Ok(Endpoint::Catalog),
            _ => {}
        }
        let rest = rest.strip_prefix('/').ok_or_else(nowhere)?;
        // From the end: the last word is the object, the one before it the kind.
        let (head, last) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let name = name.parse()?;
            return match last {
                "" => Ok(Endpoint::Uploads(name)),
                session => Ok(Endpoint::Upload(name, session.parse()?)),
            };
        }
        let (name, kind) = head.rsplit_once('/').ok_or_else(nowhere)?;
        match (kind, last) {
            // Some clients leave the trailing slash away.
            ("blobs", "uploads") => Ok(Endpoint::Uploads(name.parse()?)),
            ("blobs", digest) => Ok(Endpoint::Blob(name.parse()?, parse_digest(digest)?)),
            ("manifests", selector) => Ok(Endpoint::Manifest(name.parse()?, selector.parse()?)),
            ("referrers", digest) => Ok(Endpoint::Referrers(name.parse()?, parse_digest(digest)?)),
            ("tags", "list") => Ok(Endpoint::Tags(name.parse()?)),
            _ => Err(nowhere()),
        }
    }
}

fn nowhere() -> Refusal {
    Refusal::new(Code::NameUnknown, "this path is no endpoint of a registry")
}

/// Undoes `%XX`. Clients write the colon of a digest as `%3A`; what comes out is checked by
/// grammar afterwards, so an encoded slash or dot gains nobody anything.
fn percent_decoded(path: &str) -> Result<String, Refusal> {
    let broken = || Refusal::new(Code::NameInvalid, "the path has a broken percent encoding");
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(broken());
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn each_endpoint_of_the_specification_is_recognised() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let parsed: Digest = digest.parse().unwrap();
        let cases = [
            ("/v2/".to_owned(), Endpoint::Base),
            ("/v2".to_owned(), Endpoint::Base),
            ("/v2/_catalog".to_owned(), Endpoint::Catalog),
            ("/v2/a/b/tags/list".to_owned(), Endpoint::Tags(name("a/b"))),
            (format!("/v2/a/blobs/{digest}"), Endpoint::Blob(name("a"), parsed)),
            (format!("/v2/a/blobs/{}", digest.replace(':', "%3A")), Endpoint::Blob(name("a"), parsed)),
            (format!("/v2/a/referrers/{digest}"), Endpoint::Referrers(name("a"), parsed)),
            ("/v2/a/b/blobs/uploads/".to_owned(), Endpoint::Uploads(name("a/b"))),
        ];
        for (path, endpoint) in cases {
            assert_eq!(Endpoint::parse(&path).unwrap(), endpoint, "{path}");
        }
    }

    #[test]
    fn a_repository_may_be_called_like_a_part_of_the_path() {
        let Endpoint::Manifest(repository, _) = Endpoint::parse("/v2/a/blobs/b/manifests/c").unwrap() else {
            panic!("not a manifest");
        };
        assert_eq!(repository.as_str(), "a/blobs/b");
    }

    #[test]
    fn no_spelling_of_a_path_climbs_out() {
        for path in [
            "/v2/../manifests/x",
            "/v2/a/%2e%2e/manifests/x",
            "/v2/a/manifests/..",
            "/v2/a%2F..%2Fb/manifests/x",
            "/v2/a/manifests/%00",
            "/v2/a/manifests/%",
            "/v2/a/blobs/uploads/../../x",
            "/v2/_catalog/manifests/x",
            "/etc/passwd",
            "/v2x",
        ] {
            assert!(Endpoint::parse(path).is_err(), "{path}");
        }
    }
}
