//! Where a registry is, and what counts as the same place.
//!
//! Credentials are given for a place, so "the same place" is a question of safety. It is asked
//! here and nowhere else: same scheme, same host, same port.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// The registry that `docker.io` means. The name in references and the name in the network
/// have been different since the registry's second protocol.
const DOCKER_IO: &str = "registry-1.docker.io";

/// A server: scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    tls: bool,
    /// Lower case, an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The encrypted or the plain server of a registry, as references write it (`localhost:5000`, `docker.io`).
    pub(crate) fn of_registry(registry: &str, tls: bool) -> Option<Origin> {
        let authority = if registry == "docker.io" { DOCKER_IO } else { registry };
        let scheme = if tls { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{authority}/").parse().ok()?;
        // A path, a query or a user would make it another URL than the one that was meant.
        let bare = uri.path() == "/" && uri.query().is_none();
        Origin::of(&uri).filter(|_| bare)
    }

    /// The server that a URL names; `None` if it is no `http` or `https` URL, or one with a
    /// user and password in it (which only ever serves to mislead).
    pub fn of(uri: &Uri) -> Option<Origin> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        // What follows the host is a port, or this is no address.
        if uri.port_u16().is_none() && uri.authority()?.as_str() != uri.host()? {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Origin { tls, host: uri.host()?.to_ascii_lowercase(), port })
    }

    /// The host's name, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, and the port if it is not the usual one: as references write it.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether what is sent there is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// A URL on this server; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// Whether a request that began at `self` may go on at `next`. From an encrypted
    /// conversation there is no way back to a plain one, and a stranger may not make us talk
    /// to servers that only this machine can reach.
    // hole: may-lead-to
    pub fn may_lead_to(&self, next: &Origin) -> bool {
        let downgrade = self.tls && !next.tls;
        let inward = next.is_loopback() && !self.is_loopback();
        let plain_stranger = !next.tls && !next.is_loopback() && next != self;
        !downgrade && !inward && !plain_stranger
    }

    fn base(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base())
    }
}

/// Resolves what a `Location` header says against the URL that was asked.
///
/// Registries send whole URLs and absolute paths; a relative path is refused, because a URL
/// misunderstood is worse than one not followed.
// hole: resolve-location
pub fn resolve_location(asked: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Origin::of(asked)?.url(location).parse().ok();
    }
    let uri: Uri = location.parse().ok()?;
    Origin::of(&uri).map(|_| uri)
}

/// `text` as part of a URL's path or query, with all that means something in either written as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

/// Whether a name in a URL can only be this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_encoded() {
        assert_eq!(percent_encoded("localhost:5000/a b?c&d=é"), "localhost%3A5000%2Fa%20b%3Fc%26d%3D%C3%A9");
    }

    #[test]
    fn a_registrys_name_is_a_host_and_a_port() {
        let cases = [
            ("docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "https://ghcr.io"),
            ("example.org:5000", "https://example.org:5000"),
            ("example.org:443", "https://example.org"),
            ("[::1]:5000", "https://[::1]:5000"),
            ("Example.ORG", "https://example.org"),
        ];
        for (name, url) in cases {
            assert_eq!(Origin::of_registry(name, true).unwrap().to_string(), url, "{name}");
        }
        assert_eq!(Origin::of_registry("a:80", false).unwrap().to_string(), "http://a");
        for name in ["", "a/b", "a?b", "user@a", "a b", "a:b"] {
            assert_eq!(Origin::of_registry(name, true), None, "{name}");
        }
    }

    #[test]
    fn only_this_machines_own_names_are_loopback() {
        let here = |name: &str| Origin::of_registry(name, true).unwrap().is_loopback();
        assert!(["localhost:5000", "127.8.9.1:80", "[::1]:5000"].into_iter().all(here));
        assert!(!["localhost.example.org", "127.0.0.1.example.org", "128.0.0.1"].into_iter().any(here));
    }

    #[test]
    fn another_port_or_scheme_is_another_place() {
        let of = |url: &str| Origin::of(&url.parse().unwrap());
        assert_eq!(of("https://a/x"), of("https://A:443/y"));
        assert_ne!(of("https://a/"), of("https://a:444/"));
        assert_ne!(of("https://a/"), of("http://a:443/"));
        assert_eq!(of("https://user:pass@a/"), None);
        assert_eq!(of("ftp://a/b"), None);
    }

    #[test]
    fn no_redirect_leads_into_the_open_or_inward() {
        let of = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        assert!(of("https://a").may_lead_to(&of("https://cdn")));
        assert!(of("http://127.0.0.1:1").may_lead_to(&of("http://127.0.0.1:2")));
        assert!(of("http://intranet").may_lead_to(&of("http://intranet")));
        assert!(!of("https://a").may_lead_to(&of("http://a")));
        assert!(!of("https://a").may_lead_to(&of("https://localhost")));
        assert!(!of("http://intranet").may_lead_to(&of("http://127.0.0.1")));
        assert!(!of("http://127.0.0.1").may_lead_to(&of("http://a")));
    }

    #[test]
    fn locations_are_whole_urls_or_absolute_paths() {
        let asked = "http://localhost:5000/v2/a/blobs/uploads/".parse().unwrap();
        let resolved = |location: &str| resolve_location(&asked, location).map(|uri| uri.to_string());
        assert_eq!(resolved("/v2/x?y=1").unwrap(), "http://localhost:5000/v2/x?y=1");
        assert_eq!(resolved("https://cdn/x?y=1").unwrap(), "https://cdn/x?y=1");
        for location in ["//evil/x", "x", "", "ftp://a/b", "http://u@a/"] {
            assert_eq!(resolved(location), None, "{location}");
        }
    }
}
