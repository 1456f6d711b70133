//! Containers on a network: addresses, names, published ports.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use containers::{CreateOptions, Network, PortMapping, Protocol};
use sandbox::{Sandbox, eventually, sh};

/// On the default network.
fn bridged(script: &str) -> CreateOptions {
    CreateOptions { network: Network::default(), ..sh(script) }
}

#[test]
fn neighbours_find_each_other_by_name() {
    let Some(sandbox) = Sandbox::new() else { return };
    if !process::needs::program("nft") {
        return;
    }
    let server = sandbox.run_detached(CreateOptions { name: Some("server".into()), ..bridged("exec sleep 1000") });
    let life = server.life().unwrap();
    let address = life.endpoints[0].address.to_string();
    let asked = sandbox.run(bridged("cat /etc/resolv.conf; nslookup server 127.0.0.11")).unwrap();
    assert!(asked.stdout.contains("nameserver 127.0.0.11") && asked.stdout.contains(&address), "{asked:?}");
    let hosts = sandbox.run(bridged("cat /etc/hosts")).unwrap().stdout;
    assert!(
        hosts.lines().any(|line| line.starts_with("172.") || line.starts_with("10.") || line.starts_with("192.")),
        "{hosts}"
    );
    let shown = sandbox.engine.inspect(server.id()).unwrap();
    assert_eq!(shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], address);
}

#[test]
fn a_published_port_answers_and_a_taken_one_is_named() {
    let Some(sandbox) = Sandbox::new() else { return };
    if !process::needs::program("nft") {
        return;
    }
    let publish = |host_port| PortMapping {
        host_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        host_port,
        container_port: 80,
        protocol: Protocol::Tcp,
    };
    let serve = |host_port| {
        let network = Network { publish: vec![publish(host_port)], ..Network::default() };
        CreateOptions { network, ..sh("while :; do echo hello from inside | nc -l -p 80; done") }
    };
    let server = sandbox.run_detached(serve(0));
    let port = server.life().unwrap().ports[0].host_port;
    let answer = eventually(|| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let mut answer = String::new();
        socket.write_all(b"\n").ok()?;
        socket.read_to_string(&mut answer).ok().filter(|_| !answer.is_empty()).map(|_| answer)
    });
    assert_eq!(answer.as_deref(), Some("hello from inside\n"));
    let ports = &sandbox.engine.inspect(server.id()).unwrap()["NetworkSettings"]["Ports"];
    assert_eq!(ports["80/tcp"][0]["HostPort"], port.to_string());

    let refused = sandbox.run(serve(port)).unwrap_err();
    assert!(refused.to_string().contains("in use") && refused.to_string().contains(&port.to_string()), "{refused}");
    assert_eq!(refused.exit_code(), 125);
}
