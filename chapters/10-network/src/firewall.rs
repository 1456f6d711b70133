//! The firewall's part: the way out, the published ports, and the walls between networks.
//!
//! One nftables table a network, loaded whole in one transaction, readable with `nft list table inet NAME`. A published port
//! is **one element in a map**: the rules that look into the map never change, and a packet costs the same with one
//! published port and with a thousand.
//!
//! ```text
//!  from outside        prerouting: to this host? port in the map? -> rewrite the destination to the container
//!  from this host      output:     the same, also for 127.0.0.1
//!  through this host   forward:    into the network only what was asked for by it, or was published
//!  on the way out      postrouting: a container's own address means nothing outside: use this host's
//! ```
//!
//! A table can only let pass what no other table drops: where the administrator's own rules drop forwarded packets, they
//! stay dropped, and that is as it should be.
//!
//! # References
//! nft(8), "STATEMENTS": dnat, masquerade, map; <https://wiki.nftables.org>, "Netfilter hooks"

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use process::step;

use crate::error::{Error, Result};
use crate::name::{NetworkName, short_hash};
use crate::network::Network;
use crate::port::PortMapping;
use crate::ruleset::{MAPS, ruleset};

/// A published port and the container behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The container's address.
    pub address: IpAddr,
    /// Which port leads to which.
    pub mapping: PortMapping,
}

/// A network's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
}

impl Table {
    /// The table of a network of the engine whose data live in `root`: `cooper-`, eight hex digits, the network's name.
    pub fn of(root: &Path, network: &NetworkName) -> Self {
        Self { name: format!("cooper-{}-{network}", short_hash(&[root.as_os_str().as_encoded_bytes()], 8)) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins to load the whole table in place of the one that is there: all of it takes effect, or nothing does.
    ///
    /// # Errors
    /// [`Error::Firewall`] with what `nft` printed, now or when it is finished.
    pub fn load(&self, network: &Network, published: &[Published]) -> Result<Transaction> {
        let Self { name } = self;
        step!(10, "nft", "nft(8)", "load the network's rules: the way out, ports, walls", "table inet {name}");
        let table = ruleset(name, network, published);
        Transaction::begin(&format!("load table {name:?}"), &format!("{}{table}", self.removal()))
    }

    /// Begins to load the whole table where none should be: there is no older one, then, whose end the kernel waits for,
    /// which is most of the time that [`load`](Self::load) takes. Is one there all the same, it is replaced.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn create(&self, network: &Network, published: &[Published]) -> Result<Transaction> {
        let Self { name } = self;
        step!(10, "nft", "nft(8)", "load the network's rules: the way out, ports, walls", "table inet {name}");
        let table = ruleset(name, network, published);
        let created =
            Transaction::begin(&format!("load table {name:?}"), &format!("create table inet {name}\n{table}"))?;
        Ok(Transaction { otherwise: Some(format!("{}{table}", self.removal())), ..created })
    }

    /// The table as it would be loaded for a network without published ports.
    pub fn text(&self, network: &Network) -> String {
        ruleset(&self.name, network, &[])
    }

    /// The table as the kernel has it now; `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::Firewall`] where `nft` is missing.
    pub fn list(&self) -> Result<Option<String>> {
        let failed = |message: String| Error::Firewall { operation: "list".to_owned(), message };
        let nft = process::needs::find_program("nft").ok_or_else(|| failed(MISSING.to_owned()))?;
        let output = Command::new(nft).args(["list", "table", "inet", &self.name]).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Publishes ports: an element each.
    ///
    /// # Errors
    /// [`Error::Firewall`]; none is published then. So it is when the table is gone: load it.
    pub fn publish(&self, published: &[Published]) -> Result<()> {
        for port in published {
            step!(10, "nft", "nft(8)", "publish: one element in the map", "{} is {}", port.mapping, port.address);
        }
        self.elements("add", published, Published::element)?.finish()
    }

    /// Begins to take published ports back.
    ///
    /// # Errors
    /// [`Error::Firewall`], now or when it is finished; all are still published then. So it is when one of them never was.
    pub fn unpublish(&self, published: &[Published]) -> Result<Transaction> {
        for port in published {
            step!(10, "nft", "nft(8)", "unpublish: take the element away", "{}", port.mapping);
        }
        self.elements("delete", published, Published::key)
    }

    /// Begins to remove the table; fine if there is none.
    ///
    /// # Errors
    /// [`Error::Firewall`], now or when it is finished.
    pub fn remove(&self) -> Result<Transaction> {
        let name = &self.name;
        step!(10, "nft", "nft(8)", "remove the network's rules", "table inet {name}");
        Transaction::begin(&format!("remove table {name:?}"), &self.removal())
    }

    /// A table must be there to be deleted: so it is made, which changes nothing where it is there.
    fn removal(&self) -> String {
        format!("table inet {0} {{}}\ndelete table inet {0}\n", self.name)
    }

    fn elements(&self, verb: &str, published: &[Published], text: fn(&Published) -> String) -> Result<Transaction> {
        let mut commands = String::new();
        for map in MAPS {
            let inside: Vec<_> = published.iter().filter(|port| map.holds(&port.mapping)).map(text).collect();
            if !inside.is_empty() {
                // Writing to a string cannot fail.
                let _ =
                    writeln!(commands, "{verb} element inet {} {} {{ {} }}", self.name, map.name, inside.join(", "));
            }
        }
        Transaction::begin(&format!("{verb} published ports in table {:?}", self.name), &commands)
    }
}

const MISSING: &str = "the program nft was not found";

/// Commands that `nft` is at work on: all of them take effect, or none does.
///
/// Whatever is taken away from the kernel's network is waited for until nobody can be using it any more, which takes
/// milliseconds. So whoever cleans up begins here, takes the links away meanwhile, and only then finishes.
#[derive(Debug)]
#[must_use = "only finish() tells whether it worked"]
pub struct Transaction {
    nft: Child,
    operation: String,
    /// Commands that are tried where those were refused.
    otherwise: Option<String>,
}

impl Transaction {
    fn begin(operation: &str, commands: &str) -> Result<Self> {
        let failed = |message: String| Error::Firewall { operation: operation.to_owned(), message };
        let program = process::needs::find_program("nft").ok_or_else(|| failed(MISSING.to_owned()))?;
        let mut nft = Command::new(&program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("start {}: {error}", program.display())))?;
        // Where nft ended without reading all of it, what it printed says why, better than the broken pipe would.
        let _ = nft.stdin.take().map(|mut stdin| stdin.write_all(commands.as_bytes()));
        Ok(Self { nft, operation: operation.to_owned(), otherwise: None })
    }

    /// Waits until the commands have taken effect.
    ///
    /// # Errors
    /// [`Error::Firewall`] with what `nft` printed; nothing has changed then.
    pub fn finish(self) -> Result<()> {
        let Self { nft, operation, otherwise } = self;
        let failed = |message: String| Error::Firewall { operation: operation.clone(), message };
        match (nft.wait_with_output(), otherwise) {
            (Err(error), _) => Err(failed(error.to_string())),
            (Ok(output), _) if output.status.success() => Ok(()),
            (Ok(_), Some(commands)) => Self::begin(&operation, &commands)?.finish(),
            (Ok(output), None) => {
                let message = String::from_utf8_lossy(&output.stderr);
                Err(failed(message.lines().take(4).collect::<Vec<_>>().join("; ")))
            }
        }
    }
}
