//! Networks with IPv6, networks that are left while others stay, bridges that nobody needs.
#![allow(clippy::unwrap_used)]

mod host;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use host::{Container, at, call, connect, greeter};
use network::link::{self, LinkGroup};
use network::netlink::Socket;
use network::{EndpointOptions, Error, NetworkName, NetworkSpec, port};

#[test]
fn ipv6_is_given_and_published_beside_ipv4() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let spec = NetworkSpec::named("six".parse().unwrap());
    let six = networks.create(NetworkSpec { subnet6: Some("fd00:99::/64".parse().unwrap()), ..spec }).unwrap().name;
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let at_web = connect(&networks, &web, &six, "web");
    connect(&networks, &db, &six, "db");
    let address = at_web.ipv6.unwrap().address;
    assert_eq!(address.to_string(), "fd00:99::2");
    let listener = web.inside(|| TcpListener::bind("[::]:80").unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(format!("hello {}", stream.peer_addr().unwrap().ip()).as_bytes()).unwrap();
        }
    });
    assert_eq!(db.inside(|| call(SocketAddr::new(address.into(), 80))).unwrap(), "hello fd00:99::3");
    let held = networks.publish(&at_web, &port::parse("80").unwrap()).unwrap();
    let [four, of_six] = held.mappings() else { panic!("{:?}", held.mappings()) };
    assert_eq!((four.host_port, of_six.host().is_ipv6()), (of_six.host_port, true));
    let at_gateway: SocketAddr = format!("[fd00:99::1]:{}", of_six.host_port).parse().unwrap();
    assert_eq!(call(at_gateway).unwrap(), "hello fd00:99::1", "from this host by its own address");
    assert_eq!(db.inside(|| call(at_gateway)).unwrap(), "hello fd00:99::1", "from a neighbour, by the published port");
    let loopback: SocketAddr = format!("[::1]:{}", of_six.host_port).parse().unwrap();
    assert_eq!(call(loopback).unwrap_err(), std::io::ErrorKind::ConnectionRefused, "refused at once, not silent");
    for id in [&web.id, &db.id] {
        networks.disconnect(id).unwrap();
    }
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn an_idle_bridge_waits_a_moment_and_a_network_that_is_left_passes_its_part_on() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let (bridge, other): (_, NetworkName) = (NetworkName::default_bridge(), "other".parse().unwrap());
    networks.create(NetworkSpec::named(other.clone())).unwrap();
    let web = Container::new("aaaaaaaaaaaa0001");
    let at_web = connect(&networks, &web, &bridge, "web");
    assert_eq!(connect(&networks, &web, &other, "web").gateway, None);
    greeter(&web, 80);
    let held = networks.publish(&at_web, &port::parse("80").unwrap()).unwrap();
    networks.disconnect_from(&bridge, &web.id).unwrap();
    assert!(matches!(networks.disconnect_from(&bridge, &web.id), Err(Error::NotConnected { .. })));
    let left = networks.endpoints(&web.id).unwrap();
    assert!(left.len() == 1 && left[0].gateway.is_some(), "{left:?}");
    assert!(call(at([127, 0, 0, 1], held.mappings()[0].host_port)).is_ok(), "the port goes with the way out");

    networks.disconnect(&web.id).unwrap();
    assert_eq!(host::leftovers().1.len(), 2, "both bridges wait");
    networks.linger(&[bridge.clone(), other], Duration::from_millis(120)).unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
    // Somebody else's bridge of that name is neither used nor removed.
    let name = networks.inspect(&bridge).unwrap().bridge;
    let mut socket = Socket::open().unwrap();
    socket.request(link::new_bridge(&name, LinkGroup::DEFAULT, None)).unwrap();
    let error = networks.connect(&bridge, &web.id, web.pid(), &EndpointOptions::default()).unwrap_err();
    assert!(matches!(error, Error::ForeignBridge(_)), "{error}");
    networks.lower_idle().unwrap();
    assert!(link::find(&mut socket, &name).unwrap().is_some());
}

#[test]
fn a_plugin_makes_a_network_and_nothing_of_it_is_left() {
    // Debian: containernetworking-plugins.
    if !host::fresh() || !process::needs::file("/usr/lib/cni/bridge") {
        return;
    }
    let (_root, networks) = host::engine();
    let name: NetworkName = "plugged".parse().unwrap();
    let driver = "cni:bridge".parse().unwrap();
    networks.create(NetworkSpec { driver, ..NetworkSpec::named(name.clone()) }).unwrap();
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let at_web = connect(&networks, &web, &name, "web");
    connect(&networks, &db, &name, "db");
    greeter(&web, 80);
    assert_eq!(db.inside(|| call(at(at_web.address, 80))).unwrap(), "hello 172.17.0.3");
    assert!(host::leftovers().0.contains("masquerade"), "the way out is our own table's");
    networks.disconnect(&web.id).unwrap();
    // The other one has ended before it is disconnected, as containers have: its namespace cannot be entered any more.
    let id = db.id.clone();
    drop(db);
    networks.disconnect(&id).unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));

    networks.remove(&name).unwrap();
    let missing = NetworkSpec { driver: "cni:nonsense".parse().unwrap(), ..NetworkSpec::named(name.clone()) };
    networks.create(missing).unwrap();
    let error = networks.connect(&name, &web.id, web.pid(), &EndpointOptions::default()).unwrap_err();
    assert!(error.to_string().contains("there is no such plugin") && error.hint().is_some(), "{error}");
    assert!(networks.leases(&name).holders().unwrap().is_empty());
}
