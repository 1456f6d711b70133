//! Containers on a network: addresses, names, published ports.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use containers::{Connection, CreateOptions, Network, PortMapping, Protocol, StartOptions, Update};
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

#[test]
fn ports_come_and_go_while_a_container_runs() {
    let Some(sandbox) = Sandbox::new() else { return };
    if !process::needs::program("nft") {
        return;
    }
    let mut options = bridged("(while :; do echo one | nc -l -p 80; done) & while :; do echo two | nc -l -p 81; done");
    options.network.publish = network::port::parse("127.0.0.1::80").unwrap();
    let container = sandbox.run_detached(options);
    let ports = || container.life().unwrap().ports;
    let port_of = |inside: u16| ports().iter().find(|port| port.container_port == inside).map(|port| port.host_port);
    let says = |port: u16| {
        let mut text = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"\n").ok()?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        stream.read_to_string(&mut text).ok().filter(|_| !text.is_empty()).map(|_| text)
    };
    let rules = || {
        let table = sandbox.engine.networks().table(&network::NetworkName::default_bridge());
        let text = table.list().unwrap().unwrap();
        text.lines().filter(|line| !line.contains("elements") && !line.contains(" : ")).count()
    };
    let first = port_of(80).unwrap();
    assert_eq!(eventually(|| says(first)).unwrap(), "one\n");
    let before = rules();

    let more = Update { publish: network::port::parse("127.0.0.1::81").unwrap(), ..Update::default() };
    sandbox.engine.update(container.id(), &more).unwrap();
    let second = port_of(81).unwrap();
    assert_eq!(eventually(|| says(second)).unwrap(), "two\n");
    assert_eq!(rules(), before, "a port is an element of a map, and no rule");
    assert_eq!(port_of(80), Some(first));
    let held = network::Reservation::take(&[ports()[1]], network::Family::Four).unwrap_err().to_string();
    assert!(held.contains("in use"), "{held}");

    let taken = format!("127.0.0.1:{first}:81");
    let taken = Update { publish: network::port::parse(&taken).unwrap(), ..Update::default() };
    let error = sandbox.engine.update(container.id(), &taken).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    assert_eq!(ports().len(), 2);
    assert_eq!(sandbox.engine.container(container.id()).unwrap().record().options.network.publish.len(), 2);

    let fewer = Update { unpublish: vec!["80".into()], ..Update::default() };
    sandbox.engine.update(container.id(), &fewer).unwrap();
    assert!(port_of(80).is_none() && says(first).is_none());
    assert_eq!(eventually(|| says(second)).unwrap(), "two\n");
    assert!(std::net::TcpListener::bind(("127.0.0.1", first)).is_ok(), "the machine's port is free again");
    assert!(sandbox.engine.update(container.id(), &fewer).unwrap_err().to_string().contains("not published"));

    // And at the next start.
    sandbox.engine.restart(container.id(), Some(std::time::Duration::ZERO), &Default::default()).unwrap();
    assert!(port_of(80).is_none());
    let again = port_of(81).unwrap();
    assert_eq!(eventually(|| says(again)).unwrap(), "two\n");
}
