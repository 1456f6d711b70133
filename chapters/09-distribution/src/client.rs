//! The client: how to reach servers, as whom, and how long to wait.

use std::time::Duration;

use images::Platform;
use ureq::Agent;
use ureq::http::Uri;

use crate::address::Origin;
use crate::credentials::Credentials;

/// Largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Bytes taken from a socket at a time.
const BUFFER: usize = 256 << 10;

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Registries, as references name them, that are spoken to in plain http although they are
    /// not on this machine.
    pub insecure: Vec<String>,
    /// The machine that images are for.
    pub platform: Platform,
    /// Blobs that move at the same time.
    pub parallel: usize,
    /// How often a request is made before a broken connection is an error.
    pub attempts: u32,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a server may send nothing, or take nothing.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            insecure: Vec::new(),
            platform: Platform::host(),
            parallel: 4,
            attempts: 4,
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
        }
    }
}

/// Talks to registries.
#[derive(Debug)]
pub struct Client {
    pub(crate) credentials: Credentials,
    pub(crate) options: Options,
    /// Through the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`), if any.
    outward: Agent,
    /// For this machine's own servers, which no proxy can reach.
    inward: Agent,
}

impl Client {
    /// A client with these logins.
    pub fn new(credentials: Credentials, options: Options) -> Client {
        let builder = || {
            Agent::config_builder()
                // A 404 is an answer, and a redirect is decided here: it must not carry a password along.
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("cooper/", env!("CARGO_PKG_VERSION")))
                .max_response_header_size(LARGEST_HEAD)
                .input_buffer_size(BUFFER)
                .output_buffer_size(BUFFER)
                .timeout_connect(Some(options.connect))
                .timeout_recv_response(Some(options.stall * 4))
                .timeout_per_read(Some(options.stall))
                .timeout_per_write(Some(options.stall))
                .max_idle_connections_per_host(options.parallel + 1)
        };
        let outward = builder().build().new_agent();
        let inward = builder().proxy(None).build().new_agent();
        Client { credentials, options, outward, inward }
    }

    /// The agent that reaches a URL.
    pub(crate) fn agent(&self, uri: &Uri) -> &Agent {
        match Origin::of(uri) {
            Some(origin) if origin.is_loopback() => &self.inward,
            _ => &self.outward,
        }
    }
}
