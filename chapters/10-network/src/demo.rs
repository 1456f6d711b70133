//! The demonstration: what it makes, it shows; what it shows, it takes away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use network::dns::resolver::{Answer, question, read_answer};
use network::dns::{Resolver, TYPE};
use network::namespace::NetworkNamespace;
use network::netlink::Socket;
use network::{DeviceName, Endpoint, EndpointOptions, NetworkName, Networks, link, port, route};
use process::Pid;

/// Runs it all, and removes it all also when something failed on the way.
pub(crate) fn run(out: &mut impl Write) -> Result<()> {
    let root = tempfile::tempdir().context("make a directory for the engine's state")?;
    let networks = Networks::open(root.path(), &root.path().join("run"))?;
    Socket::open()?.request(link::set_up(1, &DeviceName::loopback()))?;
    let (web, db) = (Host::start("3f2a9c01aaaa", "web")?, Host::start("77b1e0d4bbbb", "db")?);
    let shown = show(out, &networks, &web, &db);
    for host in [&web, &db] {
        networks.disconnect(host.id)?;
    }
    networks.lower_idle()?;
    shown?;
    let links = link::list(&mut Socket::open()?)?;
    let left: Vec<_> = links.into_iter().filter(|link| link.name.starts_with('c')).map(|link| link.name).collect();
    writeln!(
        out,
        "\n== taken away again\nlinks left: {}\ntables left: {}",
        left.len(),
        tables("tables")?.lines().count()
    )?;
    Ok(())
}

fn show(out: &mut impl Write, networks: &Networks, web: &Host, db: &Host) -> Result<()> {
    let name = NetworkName::default_bridge();
    let network = networks.inspect(&name)?;
    writeln!(
        out,
        "== a network\n{} {} gateway {} on {}",
        network.name, network.subnet, network.gateway, network.bridge
    )?;
    let at_web = web.connect(networks, &name)?;
    db.connect(networks, &name)?;
    writeln!(out, "\n== this machine")?;
    describe(out, &mut Socket::open()?)?;
    writeln!(out, "\n== inside web")?;
    describe(out, &mut web.namespace.inside(Socket::open)?)?;

    writeln!(out, "\n== two hosts that talk")?;
    serve(web.namespace.inside(|| listen(at_web.address))?);
    let answer = db.namespace.inside(|| call(at_web.address, 80))?;
    writeln!(out, "db calls {}:80, web answers: {answer}", at_web.address)?;
    let mut resolver = networks.resolver(db.id);
    writeln!(out, "db asks for \"web\", and learns: {}", look_up(&mut resolver, "web")?)?;

    writeln!(out, "\n== a port the world can reach")?;
    let reservation = networks.publish(&at_web, &port::parse("8000:80")?)?;
    for mapping in reservation.mappings() {
        writeln!(out, "published {mapping}")?;
    }
    writeln!(out, "this machine calls 127.0.0.1:8000, web answers: {}", call(Ipv4Addr::LOCALHOST, 8000)?)?;
    write!(out, "\n== the rules\n{}", tables("ruleset")?)?;
    Ok(())
}

/// A process in a network of its own; all that a network needs to know of a container.
struct Host {
    child: Child,
    id: &'static str,
    name: &'static str,
    pid: Pid,
    namespace: NetworkNamespace,
}

impl Host {
    fn start(id: &'static str, name: &'static str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("host")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start host {name}"))?;
        let mut ready = String::new();
        let stdout = child.stdout.take().context("the host's output")?;
        BufReader::new(stdout).read_line(&mut ready)?;
        anyhow::ensure!(ready == "ready\n", "host {name} did not get a network namespace");
        let pid = Pid::new(i32::try_from(child.id())?)?;
        Ok(Self { child, id, name, pid, namespace: NetworkNamespace::of(pid)? })
    }

    fn connect(&self, networks: &Networks, network: &NetworkName) -> Result<Endpoint> {
        let options = EndpointOptions { names: vec![self.name.to_owned()], ..EndpointOptions::default() };
        Ok(networks.connect(network, self.id, self.pid, &options)?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It ends when its input does; to kill it as well is for a host that does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `ip link`, `ip address` and `ip route` would say, of the devices that matter here.
fn describe(out: &mut impl Write, socket: &mut Socket) -> Result<()> {
    let addresses = route::addresses(socket)?;
    let links: Vec<_> = link::list(socket)?.into_iter().filter(|link| link.up).collect();
    for link in &links {
        let kind = if link.kind.is_empty() { "device" } else { &link.kind };
        write!(out, "{:14} {kind:7} mtu {:<6}", link.name, link.mtu)?;
        for address in addresses.iter().filter(|address| address.index == link.index) {
            write!(out, "{}", address.address)?;
        }
        // A master's number is one of this namespace's; the other end of a cable has one of another's.
        if let Some(master) = links.iter().find(|other| Some(other.index) == link.master) {
            write!(out, "plugged into {}", master.name)?;
        }
        writeln!(out)?;
    }
    for route in route::routes(socket)? {
        match route.gateway {
            Some(gateway) => writeln!(out, "route {} via {gateway}", route.destination)?,
            None => writeln!(out, "route {} direct", route.destination)?,
        }
    }
    Ok(())
}

fn listen(address: Ipv4Addr) -> Result<TcpListener> {
    TcpListener::bind((address, 80)).with_context(|| format!("listen at {address}:80"))
}

/// Greets whoever connects, until the program ends.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let whom = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
            // Somebody who hangs up before he is greeted misses nothing but the greeting.
            let _ = (&stream).write_all(format!("hello {whom}").as_bytes());
        }
    });
}

fn call(address: Ipv4Addr, port: u16) -> Result<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&SocketAddrV4::new(address, port).into(), limit)
        .with_context(|| format!("connect to {address}:{port}"))?;
    stream.set_read_timeout(Some(limit))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn look_up(resolver: &mut Resolver, name: &str) -> Result<String> {
    let query = question(1, name, TYPE::A).context("a question")?;
    let Answer::Reply(reply) = resolver.answer(&query) else { anyhow::bail!("nobody is called {name}") };
    Ok(read_answer(&reply).context("an answer")?.1.join(", "))
}

fn tables(what: &str) -> Result<String> {
    let nft = process::needs::find_program("nft").context("find nft")?;
    let listed = Command::new(nft).args(["list", what]).output().context("nft list")?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}
