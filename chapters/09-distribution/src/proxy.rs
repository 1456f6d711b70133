//! Proxies: the way out that the environment names.
//!
//! `HTTPS_PROXY` is for encrypted conversations, `HTTP_PROXY` for plain ones, `ALL_PROXY` for what neither names, and
//! `NO_PROXY` lists who is called directly: `example.org` and all below it, an address, a network (`10.0.0.0/8`), one port
//! of a host, or `*`. This machine's own addresses are never asked for through a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::Origin;

/// What the environment says about proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For plain conversations: a URL, or `HOST:PORT`.
    pub http: Option<String>,
    /// For encrypted conversations.
    pub https: Option<String>,
    /// Who needs none, separated by commas.
    pub except: String,
}

impl Proxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same in small letters.
    pub fn of_environment() -> Proxies {
        Proxies::of(|name| std::env::var(name).ok())
    }

    fn of(value: impl Fn(&str) -> Option<String>) -> Proxies {
        let set = |name: &str| value(name).filter(|value| !value.is_empty());
        let either = |name: &str| set(name).or_else(|| set(&name.to_ascii_lowercase()));
        let all = either("ALL_PROXY");
        Proxies {
            http: either("HTTP_PROXY").or_else(|| all.clone()),
            https: either("HTTPS_PROXY").or(all),
            except: either("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy for a server, if there is one.
    pub(crate) fn for_server(&self, server: &Origin) -> Option<&str> {
        let proxy = if server.is_tls() { &self.https } else { &self.http };
        proxy.as_deref().filter(|_| !server.is_loopback() && !self.excepts(server))
    }

    fn excepts(&self, server: &Origin) -> bool {
        let host = server.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>().ok();
        self.except.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            if entry == "*" {
                return true;
            }
            let (entry, port) = match entry.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
                _ => (entry, None),
            };
            if port.is_some_and(|port| port != server.port()) {
                return false;
            }
            match address {
                Some(address) => {
                    entry.parse() == Ok(address) || entry.parse::<IpNet>().is_ok_and(|net| net.contains(&address))
                }
                None => {
                    let domain = entry.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
                    host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
                }
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_the_proxy_that_the_environment_means() {
        let environment = [
            ("https_proxy", "http://secure:3128"),
            ("ALL_PROXY", "http://any:3128"),
            ("NO_PROXY", "internal.example, .lan,10.0.0.0/8,192.0.2.7,half.example:5000,2001:db8::/32"),
        ];
        let value = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let proxies = Proxies::of(value);
        for (url, proxy) in [
            ("https://docker.io", Some("http://secure:3128")),
            ("http://plain.example", Some("http://any:3128")),
            ("https://internal.example:8443", None),
            ("https://a.internal.example", None),
            ("https://notinternal.example", Some("http://secure:3128")),
            ("https://registry.lan", None),
            ("https://10.1.2.3", None),
            ("https://11.1.2.3", Some("http://secure:3128")),
            ("https://192.0.2.7:5000", None),
            ("https://[2001:db8::1]", None),
            ("https://half.example:5000", None),
            ("https://half.example:5001", Some("http://secure:3128")),
            ("http://127.0.0.1:5000", None),
            ("http://localhost", None),
        ] {
            let server = Origin::of(&url.parse().unwrap()).unwrap();
            assert_eq!(proxies.for_server(&server), proxy, "{url}");
        }
        assert_eq!(Proxies::of(|name| (name == "NO_PROXY").then(|| "*".to_owned())).http, None);
    }
}
