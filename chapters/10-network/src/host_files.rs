//! The two files that the C library reads before it asks anybody: `/etc/hosts` and `/etc/resolv.conf`.
//!
//! Both are plain text made by pure functions; who writes them into a container's root is the engine's business.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// The address at which a container finds the engine's resolver: its own loopback, where nothing else is likely.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// What `/etc/resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in this order.
    pub nameservers: Vec<IpAddr>,
    /// What to append to names that have few dots.
    pub search: Vec<String>,
    /// `ndots:1`, `timeout:2`...
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads such a file. Lines that it does not understand are for others, so they are passed over, and so are
    /// addresses with a zone (`fe80::1%eth0`), which mean nothing in another namespace.
    ///
    /// # References
    /// resolv.conf(5)
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    read.nameservers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                // The last line of either wins.
                Some("search" | "domain") => read.search = words.map(str::to_owned).collect(),
                Some("options") => read.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        read
    }

    /// This machine's own; empty if it has none.
    pub fn of_this_host() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    /// Those that a resolver in the host's network can forward to. Loopback ones are among them: the engine's
    /// resolver asks from the host's side, where `127.0.0.53` answers.
    pub fn upstreams(&self) -> Vec<IpAddr> {
        self.nameservers.iter().copied().filter(|address| !address.is_unspecified()).take(3).collect()
    }

    /// Those that a container can reach by itself, without the engine's resolver.
    pub fn reachable_from_container(&self) -> Vec<IpAddr> {
        self.upstreams().into_iter().filter(|address| !address.is_loopback()).collect()
    }

    /// Drops what was asked for (`--dns`, `--dns-search`, `--dns-option`) over the host's.
    #[must_use]
    pub fn overridden(mut self, nameservers: &[IpAddr], search: &[String], options: &[String]) -> Self {
        if !nameservers.is_empty() {
            self.nameservers = nameservers.to_vec();
        }
        if !search.is_empty() {
            // A lone dot is how one says "none".
            self.search = search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !options.is_empty() {
            self.options = options.to_vec();
        }
        self
    }
}

/// The text of a container's `/etc/resolv.conf`.
pub fn resolv_conf(conf: &ResolvConf) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for nameserver in &conf.nameservers {
        let _ = writeln!(text, "nameserver {nameserver}");
    }
    if !conf.search.is_empty() {
        let _ = writeln!(text, "search {}", conf.search.join(" "));
    }
    if !conf.options.is_empty() {
        let _ = writeln!(text, "options {}", conf.options.join(" "));
    }
    text
}

/// The `/etc/resolv.conf` of a container on a network of ours: ask our resolver, search where the host searches.
///
/// `ndots:0` tries a name as it stands before any search domain: a neighbour's name has no dot.
pub fn resolv_conf_for_resolver(host: &ResolvConf) -> String {
    let mut options: Vec<_> = host.options.iter().filter(|option| !option.starts_with("ndots:")).cloned().collect();
    options.push("ndots:0".to_owned());
    resolv_conf(&ResolvConf { nameservers: vec![IpAddr::V4(RESOLVER)], search: host.search.clone(), options })
}

/// The text of a container's `/etc/hosts`: loopback, its own address under its host name, and what `--add-host` said.
pub fn hosts(hostname: &str, addresses: &[IpAddr], extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    // Writing to a string cannot fail.
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    let names = match hostname.split_once('.') {
        Some((short, _)) => format!("{hostname} {short}"),
        None => hostname.to_owned(),
    };
    for address in addresses {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 127.0.0.53 # stub\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n\
                        domain old\nsearch corp.example example\noptions ndots:5 edns0\nsortlist x\n";

    #[test]
    fn the_hosts_file_is_read_as_the_library_reads_it() {
        let conf = ResolvConf::parse(HOST);
        assert_eq!(conf.upstreams(), ["127.0.0.53".parse::<IpAddr>().unwrap(), "10.0.0.1".parse().unwrap()]);
        assert_eq!(conf.reachable_from_container(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(conf.search, ["corp.example", "example"]);
    }

    #[test]
    fn a_container_asks_the_engine() {
        let text = resolv_conf_for_resolver(&ResolvConf::parse(HOST));
        assert_eq!(text, "nameserver 127.0.0.11\nsearch corp.example example\noptions edns0 ndots:0\n");
    }

    #[test]
    fn what_was_asked_for_wins() {
        let conf = ResolvConf::parse(HOST).overridden(&["9.9.9.9".parse().unwrap()], &[".".to_owned()], &[]);
        assert_eq!(resolv_conf(&conf), "nameserver 9.9.9.9\noptions ndots:5 edns0\n");
    }

    #[test]
    fn a_container_knows_its_own_name() {
        let extra = [("host.docker.internal".to_owned(), "172.17.0.1".parse().unwrap())];
        let text = hosts("web.example", &["172.17.0.2".parse().unwrap()], &extra);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("172.17.0.1\thost.docker.internal\n172.17.0.2\tweb.example web\n"));
    }
}
