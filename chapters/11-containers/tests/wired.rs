//! Containers on a network: addresses, names, published ports.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use containers::{Connection, CreateOptions, Network, PortMapping, Protocol, StartOptions};
use network::NetworkSpec;
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

#[test]
fn networks_are_joined_and_left_while_it_runs() {
    let Some(sandbox) = Sandbox::new() else { return };
    if !process::needs::program("nft") {
        return;
    }
    let inner = NetworkSpec { ipv6: true, internal: true, ..NetworkSpec::named("inner".parse().unwrap()) };
    let inner = sandbox.engine.networks().create(inner).unwrap();
    let connection = |alias: &str| Connection {
        network: "inner".to_owned(),
        aliases: vec![alias.to_owned()],
        ..Connection::default()
    };
    let more = Network { more: vec![connection("store")], ..Network::default() };
    let db = sandbox.run_detached(CreateOptions { network: more, ..sh("exec sleep 1000") });
    assert_eq!(db.life().unwrap().endpoints.len(), 2);

    let web = sandbox.run_detached(CreateOptions { name: Some("web".into()), ..bridged("exec sleep 1000") });
    let inside = |script: &str| {
        let output = sandbox.command(&["exec", "web", "sh", "-c", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    let four = db.life().unwrap().endpoints[1].address.to_string();
    assert!(!inside("nslookup store 127.0.0.11").contains(&four), "not its network");
    sandbox.engine.connect_network(web.id(), connection("front")).unwrap();
    assert!(sandbox.engine.connect_network(web.id(), connection("again")).is_err());
    let six = db.life().unwrap().endpoints[1].ipv6.unwrap().address.to_string();
    assert!(inner.ipv6.unwrap().subnet.contains(&six.parse::<std::net::Ipv6Addr>().unwrap()));
    // The resolver was told nothing: it follows the leases.
    let told = inside("nslookup store 127.0.0.11");
    assert!(told.contains(&four) && told.contains(&six), "{told}");
    let own = web.life().unwrap().endpoints[1].address.to_string();
    assert!(inside("cat /etc/hosts").contains(&own));

    sandbox.engine.disconnect_network(web.id(), "inner").unwrap();
    assert!(sandbox.engine.disconnect_network(web.id(), "inner").is_err());
    assert!(!inside("nslookup store 127.0.0.11").contains(&four));
    assert!(!inside("cat /etc/hosts").contains(&own));
    assert_eq!(web.life().unwrap().endpoints.len(), 1);
    // Without the bridge, the way out is gone; the container goes on, and starts again as it was left.
    sandbox.engine.disconnect_network(web.id(), "bridge").unwrap();
    assert_eq!(web.life().unwrap().endpoints, []);
    sandbox.engine.stop(web.id(), Some(std::time::Duration::ZERO)).unwrap();
    sandbox.engine.start(web.id(), &StartOptions::default()).unwrap();
    assert_eq!(web.life().unwrap().endpoints, []);
}

#[test]
fn another_containers_network_is_shared() {
    let Some(sandbox) = Sandbox::new() else { return };
    if !process::needs::program("nft") {
        return;
    }
    let owner = sandbox.run_detached(CreateOptions { name: Some("owner".into()), ..bridged("exec sleep 1000") });
    let address = owner.life().unwrap().endpoints[0].address.to_string();
    let shared = || CreateOptions {
        network: Network { mode: "container:owner".parse().unwrap(), ..Network::default() },
        ..sh("cat /etc/hosts; nslookup owner 127.0.0.11")
    };
    let said = sandbox.run(shared()).unwrap();
    assert!(said.stdout.matches(&address).count() >= 2, "{said:?}");
    sandbox.engine.stop(owner.id(), Some(std::time::Duration::ZERO)).unwrap();
    assert!(sandbox.run(shared()).unwrap_err().to_string().contains("running"));
}
