#![allow(clippy::unwrap_used)]
#![allow(dead_code)] // each test program uses a part of it
//! A machine of its own for a test: a network namespace belongs to a thread, and each test is one.
//!
//! Nothing of the real machine's links, routes or rules is seen or changed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use network::name::DeviceName;
use network::namespace::NetworkNamespace;
use network::netlink::Socket;
use network::{Endpoint, EndpointOptions, NetworkName, Networks, link};
use process::Pid;

/// Gives the test's thread a network of its own, with loopback; false if this machine does not allow it.
pub(crate) fn fresh() -> bool {
    if !process::needs::root() || !process::needs::program("nft") || !process::needs::program("unshare") {
        return false;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace for the test");
    let mut socket = Socket::open().expect("a netlink socket");
    socket.request(link::set_up(1, &DeviceName::loopback())).expect("loopback");
    true
}

/// A process in a network namespace of its own, standing for a container; ended when dropped.
pub(crate) struct Container {
    child: Child,
    pub(crate) id: String,
}

impl Container {
    pub(crate) fn new(id: &str) -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare --net sleep");
        let container = Self { child, id: id.to_owned() };
        let began = Instant::now();
        let comm = format!("/proc/{}/comm", container.pid());
        // The namespace is there before `sleep` is.
        while std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() != "sleep") {
            assert!(began.elapsed() < Duration::from_secs(10), "sleep never started");
            std::thread::sleep(Duration::from_millis(1));
        }
        container
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::new(self.child.id() as i32).expect("a pid")
    }

    /// Does something inside the container's network.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let namespace = NetworkNamespace::of(self.pid()).expect("the container's namespace");
        namespace.inside(|| Ok::<_, process::CallError>(what())).expect("enter the container's namespace")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An engine's networks in a directory that goes away.
pub(crate) fn engine() -> (tempfile::TempDir, Networks) {
    let root = tempfile::tempdir().expect("a directory");
    let networks = Networks::open(root.path(), &root.path().join("run")).expect("networks");
    (root, networks)
}

/// What `nft list ruleset` says, and the names of all links but loopback: empty when nothing was left.
pub(crate) fn leftovers() -> (String, Vec<String>) {
    let nft = process::needs::find_program("nft").expect("nft");
    let listed = Command::new(nft).args(["list", "ruleset"]).output().expect("nft list ruleset");
    let mut socket = Socket::open().expect("a netlink socket");
    let links = link::list(&mut socket).expect("links").into_iter().map(|link| link.name);
    // Kernels with tunnels built in show some in each namespace.
    let ours = |name: &String| name.starts_with("co-") || name.starts_with("cv-");
    (String::from_utf8_lossy(&listed.stdout).into_owned(), links.filter(ours).collect())
}

/// How long an answer may take.
pub(crate) const LIMIT: Duration = Duration::from_millis(1500);

/// Connects a container under a name.
pub(crate) fn connect(networks: &Networks, container: &Container, network: &NetworkName, name: &str) -> Endpoint {
    let options = EndpointOptions { names: vec![name.to_owned()], ..Default::default() };
    networks.connect(network, &container.id, container.pid(), &options).unwrap()
}

/// A service inside the container that greets whoever connects with the address that it sees of him.
pub(crate) fn greeter(container: &Container, port: u16) {
    let listener = container.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let text = format!("hello {}", stream.peer_addr().unwrap().ip());
            stream.write_all(text.as_bytes()).unwrap();
        }
    });
}

/// What a greeter says.
pub(crate) fn call(address: impl Into<SocketAddr>) -> Result<String, std::io::ErrorKind> {
    let mut stream = TcpStream::connect_timeout(&address.into(), LIMIT).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.kind())?;
    Ok(text)
}

pub(crate) fn at(address: impl Into<Ipv4Addr>, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address.into(), port)
}
