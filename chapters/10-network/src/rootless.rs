//! A network without root: a program of the user's own that carries packets between the container and his sockets.
//!
//! An ordinary user may make a network namespace, and may even make bridges and cables in it. What he may not do is plug
//! anything into the machine's own network. So a program stands at the border: to the container it is a network
//! card (a *tap* device, whose packets a program reads and writes), to the machine it is one more program that opens sockets.
//!
//! ```text
//!   container            pasta                      this machine
//!  +--------------+     +----------------------+    +------------------+
//!  | eth0  ===== tap ===| packets <-> sockets  |====| connect, bind    |
//!  +--------------+     +----------------------+    +------------------+
//! ```
//!
//! `pasta` is preferred: it gives the container the machine's own address, so nothing is translated. Else `slirp4netns`
//! does, which has a whole TCP/IP of its own and needs no route of the machine's.
//!
//! # References
//! pasta(1), slirp4netns(1), <https://docs.kernel.org/networking/tuntap.html>

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use process::{During, Pid, step};
use rustix::fs::MemfdFlags;

use crate::endpoint::raise_loopback;
use crate::error::{Error, Result};
use crate::name::DeviceName;
use crate::namespace::NetworkNamespace;
use crate::netlink::Socket;
use crate::port::{PortMapping, Protocol, Reservation};
use crate::{route, sys};

/// How long a program may take until the container has its network.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no network without root on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Neither program was found.
    #[error("neither pasta nor slirp4netns is installed")]
    NoProgram,
    /// The device that both need cannot be opened.
    #[error("/dev/net/tun cannot be opened: {0}")]
    NoTun(std::io::Error),
    /// Only slirp4netns works here, which publishes no ports.
    #[error("ports can be published only with pasta, and {0}")]
    NoPorts(String),
    /// The program ended, or did not come to an end, instead of making a network.
    #[error("{program}: {message}")]
    Failed {
        /// Which one.
        program: &'static str,
        /// What it printed, or what it did not do.
        message: String,
    },
}

impl Unavailable {
    /// What would help.
    pub fn hint(&self) -> String {
        match self {
            Self::NoProgram | Self::NoPorts(_) => "install pasta (Debian: apt install passt)".to_owned(),
            Self::NoTun(_) => "both programs need it: `sudo chmod 666 /dev/net/tun` (it is so on most machines), or \
                               run with --network none or --network host"
                .to_owned(),
            Self::Failed { .. } => "run with --network none or --network host to go without".to_owned(),
        }
    }
}

/// The program that carries a container's packets. It ends when this is dropped, and when its owner dies.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    program: &'static str,
    mappings: Vec<PortMapping>,
}

impl Helper {
    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// The published ports, each with the host port that it really got.
    pub fn mappings(&self) -> &[PortMapping] {
        &self.mappings
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end; in either case it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the network namespace of `pid` a network, and publishes ports of it. Returns when the default route is there.
///
/// # Errors
/// [`Error::PortInUse`], [`Error::PortRefused`], [`Error::Rootless`] with the reason, or the kernel's refusal.
pub fn attach(pid: Pid, mappings: &[PortMapping]) -> Result<Helper> {
    // Both would say so too, each in its own words.
    File::options().read(true).write(true).open("/dev/net/tun").map_err(Unavailable::NoTun)?;
    raise_loopback(pid)?;
    // The program itself binds the ports. To hold them first finds out whether they can be had, and which are free.
    let mappings = Reservation::take(mappings, crate::port::Family::Four)?.mappings().to_vec();
    let pasta = process::needs::find_program("pasta").map(|path| start(&path, "pasta", pid, pasta(&mappings)));
    let why_not = match pasta {
        Some(Ok(child)) => return Ok(Helper { child, program: "pasta", mappings }),
        Some(Err(Error::Rootless(reason))) => Some(reason),
        Some(Err(error)) => return Err(error),
        None => None,
    };
    let Some(path) = process::needs::find_program("slirp4netns") else {
        return Err(why_not.unwrap_or(Unavailable::NoProgram).into());
    };
    if !mappings.is_empty() {
        let reason = why_not.map_or_else(|| "it is not installed".to_owned(), |reason| reason.to_string());
        return Err(Unavailable::NoPorts(reason).into());
    }
    let child = start(&path, "slirp4netns", pid, slirp())?;
    Ok(Helper { child, program: "slirp4netns", mappings })
}

/// The namespace, by way of the descriptor that the program gets as its standard input.
///
/// Both give up their privileges before they open the namespace, and then may not look into another's `/proc/PID/ns`
/// any more. What they hold already, they may open.
const NAMESPACE: &str = "/proc/self/fd/0";

/// What pasta is told. Each of its four directions of forwarding is `auto` unless said otherwise, which would open every
/// port that listens on this machine to the container, and the other way round.
fn pasta(mappings: &[PortMapping]) -> Vec<String> {
    let fixed = "--foreground --quiet --config-net --no-map-gw --runas 0:0 --tcp-ns none --udp-ns none --ns-ifname";
    let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    arguments.push(DeviceName::container_end(0).to_string());
    for (flag, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
        let mut any = false;
        for mapping in mappings.iter().filter(|mapping| mapping.protocol == protocol) {
            let PortMapping { host_ip, host_port, container_port, .. } = mapping;
            let at = if host_ip.is_unspecified() { String::new() } else { format!("{host_ip}/") };
            arguments.extend([flag.to_owned(), format!("{at}{host_port}:{container_port}")]);
            any = true;
        }
        if !any {
            arguments.extend([flag.to_owned(), "none".to_owned()]);
        }
    }
    arguments.extend(["--netns", NAMESPACE].map(str::to_owned));
    arguments
}

/// What slirp4netns is told: configure the device, keep the container away from this machine's loopback.
fn slirp() -> Vec<String> {
    let arguments = "--configure --mtu=65520 --disable-host-loopback --netns-type=path";
    let device = DeviceName::container_end(0).to_string();
    arguments.split(' ').map(str::to_owned).chain([NAMESPACE.to_owned(), device]).collect()
}

/// Starts the program and waits until the namespace has a default route, or the program has ended.
fn start(path: &Path, program: &'static str, pid: Pid, arguments: Vec<String>) -> Result<Child> {
    let namespace = NetworkNamespace::of(pid)?;
    let mut inside = namespace.inside(Socket::open)?;
    let words =
        rustix::fs::memfd_create("cooper-network-helper", MemfdFlags::CLOEXEC).during("memfd_create", program)?;
    let mut words = File::from(words);
    let copy = |file: &File| file.try_clone().during("dup", program);
    step!(
        10,
        "execve",
        "pasta(1)",
        "carry packets between the container and sockets",
        "{program} {}",
        arguments.join(" ")
    );
    let mut command = Command::new(path);
    command.args(arguments).stdin(namespace.descriptor()?).stdout(copy(&words)?).stderr(copy(&words)?);
    sys::end_with_parent(&mut command);
    let mut child = command.spawn().during("execve", path.display())?;
    let began = Instant::now();
    let message = loop {
        if route::routes(&mut inside)?.iter().any(|route| route.destination.prefix_len() == 0) {
            return Ok(child);
        }
        match child.try_wait().during("waitid", program)? {
            Some(status) => break last_words(&mut words, status),
            None if began.elapsed() > PATIENCE => break format!("no route after {} s", PATIENCE.as_secs()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    // It may have ended, and then this says so; in either case it is reaped.
    let _ = child.kill();
    let _ = child.wait();
    Err(Unavailable::Failed { program, message }.into())
}

/// What the program printed, without its complaints about a system log that many machines lack.
fn last_words(words: &mut File, status: ExitStatus) -> String {
    let mut text = String::new();
    // What cannot be read is as good as not said.
    let _ = words.rewind().and_then(|()| words.take(4096).read_to_string(&mut text));
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("to syslog") && !line.is_empty()).collect();
    if lines.is_empty() { format!("ended with {status}") } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::port;

    #[test]
    fn pasta_is_told_every_direction() {
        let ports: Vec<_> =
            ["8000:80", "127.0.0.1:53:5353/udp"].iter().flat_map(|it| port::parse(it).unwrap()).collect();
        let told = pasta(&ports).join(" ");
        assert!(told.contains("--tcp-ports 8000:80 --udp-ports 127.0.0.1/53:5353"), "{told}");
        assert!(told.contains("--tcp-ns none --udp-ns none"), "{told}");
        assert!(pasta(&[]).join(" ").contains("--tcp-ports none --udp-ports none"));
    }
}
