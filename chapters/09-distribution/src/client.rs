//! The client: how to reach servers, as whom, and how long to wait.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use images::Platform;
use ureq::Agent;
use ureq::tls::{Certificate, TlsConfig};

use crate::address::Origin;
use crate::certificates::{self, Trust};
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::proxy::Proxies;
use crate::registries::Registries;

/// Largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Bytes taken from a socket at a time.
const BUFFER: usize = 128 << 10;

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Registries, as references name them, that are spoken to in plain http, or without verifying their certificate,
    /// although they are not on this machine; `*` stands for all.
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
    /// Bytes that must come in each [`stall`](Options::stall) of waiting.
    pub slowest: u64,
    /// How long a busy server may have itself waited for, in all, at each request.
    pub patience: Duration,
    /// Bytes of one request of an upload; `None` sends each blob in one, where the registry takes that.
    pub chunk: Option<u64>,
    /// What this machine's owner has written down.
    pub machine: Machine,
}

/// Where this machine says how registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `registries.conf` files and directories, the last one counts most.
    pub registries: Vec<PathBuf>,
    /// Directories that have one directory of certificates for each registry.
    pub certificates: Vec<PathBuf>,
    /// Files and directories of the authorities that everybody trusts. Without any, those that were built in.
    pub authorities: Vec<PathBuf>,
    /// The proxies.
    pub proxies: Proxies,
}

impl Machine {
    /// The places that docker, podman and skopeo look at, and the environment.
    ///
    /// `CONTAINERS_REGISTRIES_CONF` names one file in place of all others.
    pub fn here() -> Machine {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let below = |path: &str| home.as_ref().map(|home| home.join(path));
        let etc = PathBuf::from("/etc/containers");
        let own = below("containers/registries.conf").filter(|path| path.exists());
        let registries = match set("CONTAINERS_REGISTRIES_CONF") {
            Some(file) => vec![file],
            None => [Some(own.unwrap_or_else(|| etc.join("registries.conf"))), Some(etc.join("registries.conf.d"))]
                .into_iter()
                .chain([below("containers/registries.conf.d")])
                .flatten()
                .collect(),
        };
        let certificates = [below("containers/certs.d"), below("docker/certs.d"), Some(etc.join("certs.d"))];
        Machine {
            registries,
            certificates: certificates.into_iter().flatten().chain(["/etc/docker/certs.d".into()]).collect(),
            authorities: certificates::places(),
            proxies: Proxies::of_environment(),
        }
    }
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
            slowest: 16 << 10,
            patience: Duration::from_secs(60),
            chunk: None,
            machine: Machine::here(),
        }
    }
}

/// Talks to registries.
#[derive(Debug)]
pub struct Client {
    pub(crate) credentials: Credentials,
    pub(crate) options: Options,
    registries: OnceLock<Registries>,
    authorities: OnceLock<Vec<Certificate<'static>>>,
    /// One for each server, under the registry that led there: each may be trusted for other reasons.
    agents: Mutex<HashMap<(String, Origin), Agent>>,
    /// How registries that need not be secure are reached, once it is known.
    insecure: Mutex<HashMap<String, Origin>>,
}

/// Whether a server must prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Wanted,
    Waived,
}

impl Client {
    /// A client with these logins. The machine's files are read when they are first needed.
    pub fn new(credentials: Credentials, options: Options) -> Client {
        let (registries, authorities) = (OnceLock::new(), OnceLock::new());
        let (agents, insecure) = (Mutex::default(), Mutex::default());
        Client { credentials, options, registries, authorities, agents, insecure }
    }

    /// What `registries.conf` says.
    pub(crate) fn registries(&self) -> Result<&Registries> {
        if let Some(read) = self.registries.get() {
            return Ok(read);
        }
        let read = Registries::read(&self.options.machine.registries)?;
        Ok(self.registries.get_or_init(|| read))
    }

    /// Where a registry is, and whether it must prove that it is the one.
    ///
    /// Encrypted, except on this machine: there nobody can listen on the way. A directory of certificates says that it
    /// is encrypted there, too. Where proof is waived, whichever of https and http answers is taken.
    pub(crate) fn place(&self, registry: &str, waived: bool) -> Result<Option<(Origin, Proof)>> {
        let Some(secure) = Origin::of_registry(registry, true) else { return Ok(None) };
        if waived || self.options.insecure.iter().any(|name| name == registry || name == "*") {
            return Ok(Some((self.whichever_answers(registry, secure)?, Proof::Waived)));
        }
        let plain = secure.is_loopback() && Trust::of(registry, &self.options.machine.certificates)?.is_empty();
        let open = plain.then(|| Origin::of_registry(registry, false)).flatten();
        Ok(Some((open.unwrap_or(secure), Proof::Wanted)))
    }

    fn whichever_answers(&self, registry: &str, secure: Origin) -> Result<Origin> {
        if let Some(known) = locked(&self.insecure).get(registry) {
            return Ok(known.clone());
        }
        let answers = |origin: &Origin| -> Result<bool> {
            let agent = self.agent(registry, origin, Proof::Waived)?;
            Ok(agent.get(origin.url("/v2/")).call().is_ok())
        };
        let plain = Origin::of_registry(registry, false);
        // If neither answers, the request itself will say why.
        let found = if answers(&secure)? { secure } else { plain.unwrap_or(secure) };
        locked(&self.insecure).insert(registry.to_owned(), found.clone());
        Ok(found)
    }

    /// The agent that reaches a server to which `registry` led.
    pub(crate) fn agent(&self, registry: &str, server: &Origin, proof: Proof) -> Result<Agent> {
        let key = (registry.to_owned(), server.clone());
        if let Some(agent) = locked(&self.agents).get(&key) {
            return Ok(agent.clone());
        }
        let tls = match server.is_tls() {
            true => Some(self.tls(registry, server, proof)?),
            false => None,
        };
        let proxy = self.options.machine.proxies.for_server(server);
        let proxy = proxy.map(|url| ureq::Proxy::new(url).map_err(|error| Error::proxy(url, &error))).transpose()?;
        let agent = self.new_agent(tls, proxy);
        Ok(locked(&self.agents).entry(key).or_insert(agent).clone())
    }

    fn tls(&self, registry: &str, server: &Origin, proof: Proof) -> Result<TlsConfig> {
        let places = &self.options.machine.certificates;
        let own = Trust::of(&server.authority(), places)?;
        // `docker.io` is not the name of its server, and its directory is the one that users know.
        let registry = if server.authority() == registry { Trust::default() } else { Trust::of(registry, places)? };
        let machine = match self.authorities.get() {
            Some(read) => read,
            None => {
                let read = certificates::authorities(&self.options.machine.authorities)?;
                self.authorities.get_or_init(|| read)
            }
        };
        Ok(certificates::config(machine, &registry, &own, proof == Proof::Wanted))
    }

    fn new_agent(&self, tls: Option<TlsConfig>, proxy: Option<ureq::Proxy>) -> Agent {
        let options = &self.options;
        let builder = Agent::config_builder()
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
            .proxy(proxy);
        match tls {
            Some(tls) => builder.tls_config(tls).build().new_agent(),
            None => builder.build().new_agent(),
        }
    }
}

/// What other threads left there is whole: nothing is changed in two steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
