//! Networks that somebody else's program makes: the Container Network Interface.
//!
//! A CNI plugin is a program that is told in its environment what to do (`ADD`, `DEL`), to which container and under which
//! device name, and on its standard input how, as JSON. What it made, it prints. Plugins are chained: each is given what
//! the one before it made.
//!
//! ```text
//!  CNI_COMMAND=ADD CNI_NETNS=/proc/42/ns/net CNI_IFNAME=eth0      {"type":"bridge","ipam":{...}}
//!                         |                                           | stdin
//!                         v                                           v
//!                  /usr/lib/cni/bridge  --->  {"ips":[{"address":"10.1.0.2/24"}],"interfaces":[...]}
//! ```
//!
//! `--driver cni:NAME` means the configuration list of that name in `/etc/cni/net.d`, or else the plugin of that name, which
//! is given the address that this engine chose. What was made and how is kept beside the lease, for `DEL` asks for it again.
//!
//! # References
//! <https://www.cni.dev/docs/spec/>

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ipnet::IpNet;
use process::{During, step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::lease::{Endpoint, Lease, Leases};
use crate::network::Network;
use crate::networks::Networks;

/// Where plugins are looked for, in this order, after the directories of `CNI_PATH`.
const PROGRAMS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
/// Where an administrator keeps configurations.
const CONFIGURATIONS: &str = "/etc/cni/net.d";
/// The version of the interface that is spoken: what all plugins of the last years know.
const VERSION: &str = "0.4.0";

/// What was made for a container, as `RUN/networks/NAME/ID.cni` keeps it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Made {
    /// The configurations of the plugins that were run, first to last.
    plugins: Vec<Value>,
    /// What the last one printed.
    result: Value,
}

/// A driver that runs plugins.
#[derive(Debug)]
pub(crate) struct Cni<'a> {
    networks: &'a Networks,
    plugin: &'a str,
}

impl Networks {
    /// The driver of that name.
    pub(crate) fn cni<'a>(&'a self, plugin: &'a str) -> Cni<'a> {
        Cni { networks: self, plugin }
    }
}

impl Cni<'_> {
    /// Connects a container: every plugin of the list, in order. The lease is written first, for a crash to be found by.
    pub(crate) fn add(&self, network: &Network, leases: &Leases, mut lease: Lease) -> Result<Endpoint> {
        leases.write(&lease)?;
        let mut made = Made::default();
        for mut config in self.configurations(network, &lease.endpoint)? {
            if !made.result.is_null() {
                config["prevResult"] = made.result.clone();
            }
            let ran = run("ADD", &config, &lease);
            made.plugins.push(config);
            match ran {
                Ok(result) => made.result = result.unwrap_or(made.result),
                Err(error) => {
                    // Plugins forgive a DEL of what is not there; the first error is the one to tell.
                    let _ = undo(&made, &lease);
                    let _ = leases.remove(lease.endpoint.address, &lease.endpoint.container_id);
                    return Err(error);
                }
            }
        }
        self.keep(&lease, &made)?;
        if configured(self.plugin)?.is_none() {
            self.networks.table(&network.name).load(network, &[])?.finish()?;
        }
        let planned = lease.endpoint.address;
        adopt(&mut lease.endpoint, &made.result);
        leases.write(&lease)?;
        if lease.endpoint.address != planned {
            leases.remove(planned, &lease.endpoint.container_id)?;
        }
        Ok(lease.endpoint)
    }

    /// Publishes the lease's ports through the plugin `portmap`.
    pub(crate) fn publish(&self, network: &Network, leases: &Leases, lease: Lease) -> Result<()> {
        let mut made = self.made(&lease)?;
        let mappings: Vec<Value> = lease.ports.iter().map(|port| json!({
            "hostPort": port.host_port, "containerPort": port.container_port, "protocol": port.protocol.to_string(),
            "hostIP": if port.host_ip.is_unspecified() { String::new() } else { port.host_ip.to_string() },
        })).collect();
        let config = json!({
            "cniVersion": VERSION, "name": network.name, "type": "portmap", "snat": true,
            "capabilities": { "portMappings": true }, "runtimeConfig": { "portMappings": mappings },
            "prevResult": made.result,
        });
        run("ADD", &config, &lease)?;
        made.plugins.push(config);
        self.keep(&lease, &made)?;
        leases.write(&lease)
    }

    /// Disconnects a container: every plugin that was run, last to first.
    pub(crate) fn delete(&self, lease: &Lease) -> Result<()> {
        undo(&self.made(lease)?, lease)?;
        let path = self.file(lease);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.during("unlink", path.display())?),
        }
    }

    /// What the plugins are told: the administrator's list, or one plugin with this engine's own choice of address.
    fn configurations(&self, network: &Network, endpoint: &Endpoint) -> Result<Vec<Value>> {
        if let Some(mut list) = configured(self.plugin)? {
            for config in &mut list {
                config["cniVersion"] = VERSION.into();
                config["name"] = self.plugin.into();
            }
            return Ok(list);
        }
        let routes = if network.internal { json!([]) } else { json!([{ "dst": "0.0.0.0/0" }]) };
        let address = format!("{}/{}", endpoint.address, endpoint.prefix_length);
        let mut config = json!({
            "cniVersion": VERSION, "name": network.name, "type": self.plugin,
            // The way out is this engine's own table: a plugin takes its rules away only while the container's namespace
            // lives, and a container's end is the end of that.
            "bridge": network.bridge, "isGateway": true, "ipMasq": false,
            "ipam": {
                "type": "static", "routes": routes,
                "addresses": [{ "address": address, "gateway": network.gateway }],
            },
        });
        if let Some(mtu) = network.mtu {
            config["mtu"] = mtu.into();
        }
        // A plugin's own options: --opt master=eth0, --opt ipMasq=false.
        for (key, text) in &network.options {
            config[key] = serde_json::from_str(text).unwrap_or_else(|_| text.clone().into());
        }
        Ok(vec![config])
    }

    fn file(&self, lease: &Lease) -> PathBuf {
        let leases = self.networks.leases(&lease.endpoint.network);
        leases.directory().join(format!("{}.cni", lease.endpoint.container_id))
    }

    fn made(&self, lease: &Lease) -> Result<Made> {
        let made = process::state::read_json_if_there(&self.file(lease))?;
        Ok(made.unwrap_or_default())
    }

    fn keep(&self, lease: &Lease, made: &Made) -> Result<()> {
        let path = self.file(lease);
        let bytes = serde_json::to_vec_pretty(made)
            .map_err(|error| Error::State { path: path.clone(), message: error.to_string() })?;
        Ok(std::fs::write(&path, bytes).during("write", path.display())?)
    }
}

fn undo(made: &Made, lease: &Lease) -> Result<()> {
    let mut outcome = Ok(());
    for config in made.plugins.iter().rev() {
        outcome = outcome.and(run("DEL", config, lease).map(drop));
    }
    outcome
}

/// Takes over where the plugins really put the container: a list of the administrator's has an address range of its own.
fn adopt(endpoint: &mut Endpoint, result: &Value) {
    for ip in result["ips"].as_array().into_iter().flatten() {
        if let Some(IpNet::V4(address)) = ip["address"].as_str().and_then(|text| text.parse().ok()) {
            endpoint.address = address.addr();
            endpoint.prefix_length = address.prefix_len();
            endpoint.gateway = ip["gateway"].as_str().and_then(|text| text.parse().ok());
        }
    }
    let named = |end: &&Value| {
        end["name"] == endpoint.interface.as_str() && end["sandbox"].as_str().is_some_and(|it| !it.is_empty())
    };
    let inside = result["interfaces"].as_array().into_iter().flatten().find(named);
    if let Some(mac) = inside.and_then(|end| end["mac"].as_str()?.parse().ok()) {
        endpoint.mac = mac;
    }
}

/// The plugins of the administrator's list (or single configuration) of that name.
fn configured(name: &str) -> Result<Option<Vec<Value>>> {
    let Ok(entries) = std::fs::read_dir(CONFIGURATIONS) else { return Ok(None) };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|it| it == "conflist" || it == "conf")) {
        let bytes = std::fs::read(path).during("read", path.display())?;
        let config: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::State { path: path.clone(), message: error.to_string() })?;
        if config["name"] == name {
            return Ok(Some(config["plugins"].as_array().cloned().unwrap_or_else(|| vec![config])));
        }
    }
    Ok(None)
}

/// Runs one plugin; what it printed, if it printed anything.
fn run(command: &'static str, config: &Value, lease: &Lease) -> Result<Option<Value>> {
    let name = config["type"].as_str().unwrap_or_default();
    let failed = |message: String| Error::Cni { plugin: name.to_owned(), command, message };
    crate::name::check_program(name)?;
    let mut directories: Vec<PathBuf> =
        std::env::var_os("CNI_PATH").map(|paths| std::env::split_paths(&paths).collect()).unwrap_or_default();
    directories.extend(PROGRAMS.map(PathBuf::from));
    let program = directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    let program = program
        .ok_or_else(|| failed("there is no such plugin in CNI_PATH, /opt/cni/bin or /usr/lib/cni".to_owned()))?;
    let Endpoint { container_id, interface, .. } = &lease.endpoint;
    step!(
        10,
        "execve",
        "https://www.cni.dev/docs/spec/",
        "let a plugin do it",
        "CNI_COMMAND={command} {} ({interface})",
        program.display()
    );
    // A container that has ended has no namespace any more, and DEL must do without.
    let namespace = PathBuf::from(format!("/proc/{}/ns/net", lease.owner.pid));
    let namespace = if lease.owner.is_alive() { namespace.as_path() } else { Path::new("") };
    let mut plugin = Command::new(&program)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", container_id)
        .env("CNI_NETNS", namespace)
        .env("CNI_IFNAME", interface.as_str())
        .env("CNI_PATH", std::env::join_paths(&directories).unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    // One that ends without reading all of it says why on its standard output.
    let _ = plugin.stdin.take().map(|mut stdin| stdin.write_all(config.to_string().as_bytes()));
    let output = plugin.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let printed: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    if output.status.success() {
        return Ok(printed);
    }
    let told =
        printed.and_then(|told| Some(format!("{} {}", told["msg"].as_str()?, told["details"].as_str().unwrap_or(""))));
    let told =
        told.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join("; "));
    Err(failed(told.trim().to_owned()))
}
