//! `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! ```text
//! WWW-Authenticate: Bearer realm="https://auth.example/token",service="reg",scope="repository:app:pull"
//!                   |      |                                  |             |
//!                   |      where to get a token               for whom      to do what
//!                   scheme
//! ```
//!
//! The header comes from a stranger, so its length and the number of its parameters are bounded
//! and anything unexpected is "no challenge that we understand", never a guess.
//!
//! # References
//! RFC 9110 section 11.6.1; Docker's token authentication specification.

/// Longest header value that is looked at, in bytes.
const LONGEST: usize = 8 << 10;

/// Most parameters of one challenge.
const MOST_PARAMETERS: usize = 16;

/// What the registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token, from another address.
    Bearer {
        /// Where tokens are given out: a URL.
        realm: String,
        /// The name under which the token server knows the registry.
        service: Option<String>,
        /// What the token should allow: `repository:NAME:pull,push`.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Picks the challenge to answer from the values of all `WWW-Authenticate` headers: a token
    /// if one is offered, since it can do less and lives shorter than a password.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        let mut challenges: Vec<Challenge> = headers.take(MOST_PARAMETERS).filter_map(parse).collect();
        challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
        challenges.into_iter().next()
    }
}

fn parse(header: &str) -> Option<Challenge> {
    let header = header.trim();
    if header.len() > LONGEST {
        return None;
    }
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest)?;
    // The first of a name wins: what a proxy appended must not replace what the server said.
    let take =
        |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
    Some(Challenge::Bearer { realm: take("realm")?, service: take("service"), scope: take("scope") })
}

/// Reads `name=token` and `name="quoted \" string"`, separated by commas, with blanks around them; nothing between two
/// commas is no parameter, and no mistake (RFC 9110, section 5.6.1). `None` for what is no such list, and for more than
/// [`MOST_PARAMETERS`].
// hole: read-parameters
fn parameters(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(parameters);
        }
        if parameters.len() == MOST_PARAMETERS {
            return None;
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        parameters.push((name.trim().to_owned(), value));
        text = rest;
    }
}

/// The value up to the closing quote, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn the_spellings_of_real_registries_are_read() {
        let cases = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/a:pull,push"),
                ),
            ),
            (r#"bearer realm="https://a/t" , service=b"#, bearer("https://a/t", Some("b"), None)),
            (r#"Bearer service="x", REALM="https://a/\"t\"""#, bearer("https://a/\"t\"", Some("x"), None)),
            (r#"Bearer realm="a",realm="b""#, bearer("a", None, None)),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
        ];
        for (header, challenge) in cases {
            assert_eq!(parse(header), challenge, "{header}");
        }
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        let long = format!("Bearer realm=\"{}\"", "x".repeat(LONGEST));
        let many = format!("Bearer realm=\"x\"{}", ",a=b".repeat(100));
        for header in
            ["", "Bearer", "Bearer realm", r#"Bearer realm="x"#, "Bearer service=x", "Digest realm=x", &long, &many]
        {
            assert_eq!(parse(header), None, "{header:.60}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_the_password() {
        let headers = ["Basic realm=x", "Negotiate", "Bearer realm=y"];
        assert_eq!(Challenge::choose(headers.into_iter()), bearer("y", None, None));
        assert_eq!(Challenge::choose(["Negotiate"].into_iter()), None);
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        // A cheap fuzz: every prefix and every single-byte change of a good header.
        let good = r#"Bearer realm="https://a/\"t", service=b,scope="c""#;
        for cut in 0..good.len() {
            parse(&good[..cut]);
            for byte in [b'"', b'\\', b',', b'=', b' '] {
                let mut changed = good.as_bytes().to_vec();
                changed[cut] = byte;
                parse(std::str::from_utf8(&changed).unwrap());
            }
        }
    }
}
