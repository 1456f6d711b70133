//! Containers that are connected, published and taken away again, each test in a network of its own.
#![allow(clippy::unwrap_used)]

mod host;

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use host::{Container, LIMIT, at, call, connect, greeter};
use network::firewall::Published;
use network::link::{self, LinkGroup, Veth};
use network::name::DeviceName;
use network::namespace::NetworkNamespace;
use network::netlink::Socket;
use network::{EndpointOptions, Error, Mac, NetworkName, NetworkSpec, port, route};

#[test]
fn two_containers_and_the_host_talk_and_nothing_is_left() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let bridge = NetworkName::default_bridge();
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let (at_web, at_db) = (connect(&networks, &web, &bridge, "web"), connect(&networks, &db, &bridge, "db"));
    assert_eq!((at_web.address, at_db.address), (Ipv4Addr::new(172, 17, 0, 2), Ipv4Addr::new(172, 17, 0, 3)));
    greeter(&web, 80);
    assert_eq!(call(at(at_web.address, 80)).unwrap(), "hello 172.17.0.1");
    assert_eq!(db.inside(|| call(at(at_web.address, 80))).unwrap(), "hello 172.17.0.3");

    web.inside(|| {
        let mut socket = Socket::open().unwrap();
        let eth0 = link::find(&mut socket, &at_web.interface).unwrap().unwrap();
        assert!(eth0.up && eth0.kind == "veth" && eth0.mtu == 1500, "{eth0:?}");
        let routes = route::routes(&mut socket).unwrap();
        assert!(routes.iter().any(|it| it.gateway == at_web.gateway && it.destination.prefix_len() == 0), "{routes:?}");
    });

    networks.disconnect(&web.id).unwrap();
    networks.disconnect(&web.id).unwrap();
    assert_eq!(networks.leases(&bridge).all().unwrap().len(), 1);
    assert!(!host::leftovers().0.is_empty(), "the other container still needs the rules");
    networks.disconnect(&db.id).unwrap();
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let world = world();
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let bridge = NetworkName::default_bridge();
    let at_web = connect(&networks, &web, &bridge, "web");
    connect(&networks, &db, &bridge, "db");
    greeter(&web, 80);
    let held = networks.publish(&at_web, &port::parse("80").unwrap()).unwrap();
    let port = held.mappings()[0].host_port;
    assert_ne!(port, 0);

    assert_eq!(call(at([127, 0, 0, 1], port)).unwrap(), "hello 172.17.0.1", "from the host's own loopback");
    assert_eq!(call(at([203, 0, 113, 1], port)).unwrap(), "hello 203.0.113.1", "from the host by its own address");
    let from_world = world.inside(|| call(at([203, 0, 113, 1], port)));
    assert_eq!(from_world.unwrap(), "hello 203.0.113.2", "from the world, which is seen as it is");
    let hairpin = web.inside(|| call(at([203, 0, 113, 1], port)));
    assert_eq!(hairpin.unwrap(), "hello 172.17.0.1", "from the container itself");
    assert_eq!(db.inside(|| call(at([172, 17, 0, 1], port))).unwrap(), "hello 172.17.0.1", "from its neighbour");

    let not_published = world.inside(|| {
        let mut socket = Socket::open().unwrap();
        let index = link::find(&mut socket, &DeviceName::container_end(0)).unwrap().unwrap().index;
        socket.request(route::new_default(index, Ipv4Addr::new(203, 0, 113, 1))).unwrap();
        call(at(at_web.address, 80))
    });
    assert_eq!(not_published.unwrap_err(), std::io::ErrorKind::TimedOut, "the world may not walk around the port");

    networks.disconnect(&web.id).unwrap();
    drop(held);
    assert_eq!(call(at([127, 0, 0, 1], port)).unwrap_err(), std::io::ErrorKind::ConnectionRefused);
    networks.disconnect(&db.id).unwrap();
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers().0, "");
}

#[test]
fn a_port_published_on_one_address_is_not_on_others() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let web = Container::new("aaaaaaaaaaaa0001");
    let _world = world();
    let at_web = connect(&networks, &web, &NetworkName::default_bridge(), "web");
    greeter(&web, 80);
    let held = networks.publish(&at_web, &port::parse("127.0.0.1:8000:80").unwrap()).unwrap();
    assert_eq!(call(at([127, 0, 0, 1], 8000)).unwrap(), "hello 172.17.0.1");
    assert_eq!(call(at([203, 0, 113, 1], 8000)).unwrap_err(), std::io::ErrorKind::ConnectionRefused);
    let again = networks.publish(&at_web, &port::parse("127.0.0.1:8000:81").unwrap()).unwrap_err();
    assert!(matches!(again, Error::PortInUse { port: 8000, .. }), "{again}");
    networks.disconnect(&web.id).unwrap();
    drop(held);
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn datagrams_are_published_too() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let web = Container::new("aaaaaaaaaaaa0001");
    let at_web = connect(&networks, &web, &NetworkName::default_bridge(), "web");
    let server = web.inside(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    let _held = networks.publish(&at_web, &port::parse("5353:53/udp").unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"ping", "127.0.0.1:5353").unwrap();
    let mut buffer = [0; 16];
    server.set_read_timeout(Some(LIMIT)).unwrap();
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(&buffer[..length], from).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap().1, "127.0.0.1:5353".parse().unwrap());
    networks.disconnect(&web.id).unwrap();
}

#[test]
fn networks_do_not_see_each_other_and_an_internal_one_sees_nobody() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let world = world();
    let inner: NetworkName = "inner".parse().unwrap();
    networks.create(NetworkSpec { internal: true, ..NetworkSpec::named(inner.clone()) }).unwrap();
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let _at_web = connect(&networks, &web, &NetworkName::default_bridge(), "web");
    let at_db = connect(&networks, &db, &inner, "db");
    assert_eq!(at_db.gateway, None);
    greeter(&web, 80);
    greeter(&db, 80);
    greeter(&world, 80);
    assert_eq!(web.inside(|| call(at([203, 0, 113, 2], 80))).unwrap(), "hello 203.0.113.1", "the way out");
    assert!(web.inside(|| call(at(at_db.address, 80))).is_err());
    assert!(db.inside(|| call(at([203, 0, 113, 2], 80))).is_err());

    // In both networks at once: two devices, one way out.
    let second = connect(&networks, &web, &inner, "web");
    assert_eq!((second.interface.as_str(), second.gateway), ("eth1", None));
    assert_eq!(web.inside(|| call(at(at_db.address, 80))).unwrap(), format!("hello {}", second.address));
    assert!(matches!(networks.remove(&inner), Err(Error::NetworkInUse { .. })));
    for id in [&web.id, &db.id] {
        networks.disconnect(id).unwrap();
    }
    assert_eq!(networks.prune().unwrap(), [inner]);
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn a_container_cannot_reach_what_listens_on_the_hosts_loopback() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let web = Container::new("aaaaaaaaaaaa0001");
    connect(&networks, &web, &NetworkName::default_bridge(), "web");
    let secret = UdpSocket::bind("127.0.0.1:7777").unwrap();
    secret.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    web.inside(|| {
        // As root in its namespace, a container may send 127.0.0.1 out of its own loopback: the bridge lets such packets in.
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        let ip = process::needs::find_program("ip").unwrap();
        for arguments in [
            "addr del 127.0.0.1/8 dev lo",
            "route del local 127.0.0.0/8 table local",
            "route add 127.0.0.1/32 via 172.17.0.1",
        ] {
            let done =
                std::process::Command::new(&ip).args(arguments.split(' ')).stderr(std::process::Stdio::null()).status();
            done.unwrap();
        }
        let socket = UdpSocket::bind("172.17.0.2:0").unwrap();
        // Whether the kernel refuses this already or the packet leaves, it must not arrive.
        let _ = socket.send_to(b"knock", "127.0.0.1:7777");
    });
    assert!(secret.recv(&mut [0; 16]).is_err(), "a packet from the container arrived");
    networks.disconnect(&web.id).unwrap();
}

#[test]
fn what_a_killed_monitor_left_is_taken_away() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let bridge = NetworkName::default_bridge();
    let (dead, alive) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let at_dead = connect(&networks, &dead, &bridge, "dead");
    connect(&networks, &alive, &bridge, "alive");
    networks.publish(&at_dead, &port::parse("8000:80").unwrap()).unwrap();
    drop(dead);
    assert_eq!(networks.reconcile(|id| id.starts_with('b')).unwrap(), ["aaaaaaaaaaaa0001"]);
    assert_eq!(networks.leases(&bridge).all().unwrap().len(), 1);
    assert!(!host::leftovers().0.contains("8000"));
    // Nobody vouches for the other, but its process lives: it may just be starting.
    assert!(networks.reconcile(|_| false).unwrap().is_empty());
    drop(alive);
    assert_eq!(networks.reconcile(|_| false).unwrap(), ["bbbbbbbbbbbb0002"]);
    // Killed when it had made the bridge and nothing else.
    let name = networks.inspect(&bridge).unwrap().bridge;
    Socket::open().unwrap().request(link::new_bridge(&name, LinkGroup::of(&name), None)).unwrap();
    assert!(networks.reconcile(|_| true).unwrap().is_empty());
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn a_table_that_outlived_its_bridge_is_replaced() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let bridge = NetworkName::default_bridge();
    let table = networks.table(&bridge);
    let nft = process::needs::find_program("nft").unwrap();
    let words = ["add", "chain", "inet", table.name(), "of_yesterday"];
    assert!(std::process::Command::new(&nft).args(["add", "table", "inet", table.name()]).status().unwrap().success());
    assert!(std::process::Command::new(&nft).args(words).status().unwrap().success());
    let web = Container::new("aaaaaaaaaaaa0001");
    connect(&networks, &web, &bridge, "web");
    let rules = table.list().unwrap().unwrap();
    assert!(rules.contains("chain postrouting") && !rules.contains("of_yesterday"), "{rules}");
    networks.disconnect(&web.id).unwrap();
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn a_flushed_firewall_is_loaded_again_when_the_next_port_is_published() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let web = Container::new("aaaaaaaaaaaa0001");
    let at_web = connect(&networks, &web, &NetworkName::default_bridge(), "web");
    greeter(&web, 80);
    let _first = networks.publish(&at_web, &port::parse("8000:80").unwrap()).unwrap();
    let nft = process::needs::find_program("nft").unwrap();
    assert!(std::process::Command::new(nft).args(["flush", "ruleset"]).status().unwrap().success());
    let _second = networks.publish(&at_web, &port::parse("8001:80").unwrap()).unwrap();
    for port in [8000, 8001] {
        assert_eq!(call(at([127, 0, 0, 1], port)).unwrap(), "hello 172.17.0.1");
    }
    networks.disconnect(&web.id).unwrap();
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn what_was_asked_for_is_given_or_refused_with_nothing_left() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let bridge = NetworkName::default_bridge();
    let (web, db) = (Container::new("aaaaaaaaaaaa0001"), Container::new("bbbbbbbbbbbb0002"));
    let mac: Mac = "02:00:00:00:00:77".parse().unwrap();
    let options = EndpointOptions { address: Some(Ipv4Addr::new(172, 17, 5, 5)), mac: Some(mac), ..Default::default() };
    let given = networks.connect(&bridge, &web.id, web.pid(), &options).unwrap();
    assert_eq!((given.address, given.mac), (Ipv4Addr::new(172, 17, 5, 5), mac));
    assert!(matches!(networks.connect(&bridge, &db.id, db.pid(), &options), Err(Error::BadAddress { .. })));
    assert!(matches!(networks.connect(&bridge, &web.id, web.pid(), &options), Err(Error::AlreadyConnected { .. })));
    // A device of that name is there already: the kernel refuses, and the lease is given back.
    let error = networks.connect(&bridge, &db.id, web.pid(), &EndpointOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with(r#"RTM_NEWLINK veth "cv-bbbbbbbb-0""#), "{error}");
    assert_eq!(networks.leases(&bridge).holders().unwrap().len(), 1);
    networks.disconnect(&web.id).unwrap();
    networks.lower_idle().unwrap();
    assert_eq!(host::leftovers(), (String::new(), Vec::new()));
}

#[test]
fn the_rules_read_as_they_were_meant() {
    if !host::fresh() {
        return;
    }
    let (root, networks) = host::engine();
    let network = networks.inspect(&NetworkName::default_bridge()).unwrap();
    let published: Vec<_> = ["8000:80", "127.0.0.1:5432:5432", "53:53/udp"]
        .iter()
        .flat_map(|text| port::parse(text).unwrap())
        .map(|mapping| Published { address: Ipv4Addr::new(172, 17, 0, 2).into(), mapping })
        .collect();
    let table = networks.table(&network.name);
    table.load(&network, &published).unwrap().finish().unwrap();
    let listed = host::leftovers().0;
    let redacted = listed.replace(table.name(), "cooper-[ROOT]-bridge").replace(network.bridge.as_str(), "[BRIDGE]");
    insta::assert_snapshot!(redacted);
    table.remove().unwrap().finish().unwrap();
    table.remove().unwrap().finish().unwrap();
    drop(root);
}

/// Somebody outside: 203.0.113.2, at the other end of a cable to this host's 203.0.113.1.
fn world() -> Container {
    let world = Container::new("ffffffffffff0000");
    let namespace = NetworkNamespace::of(world.pid()).unwrap();
    let mut host = Socket::open().unwrap();
    let (uplink, far) = ("uplink".parse().unwrap(), DeviceName::container_end(0));
    let mac = Mac::of(Ipv4Addr::new(203, 0, 113, 2));
    let cable = Veth {
        host_end: &uplink,
        master: 0,
        group: LinkGroup::DEFAULT,
        container_end: &far,
        namespace: namespace.as_fd(),
        mac,
        mtu: None,
    };
    host.request(link::new_veth(&cable)).unwrap();
    let give = |socket: &mut Socket, name: &DeviceName, address: &str| {
        let index = link::find(socket, name).unwrap().unwrap().index;
        socket.request(route::new_address(index, name, address.parse::<ipnet::Ipv4Net>().unwrap())).unwrap();
    };
    give(&mut host, &uplink, "203.0.113.1/24");
    let mut there = namespace.inside(Socket::open).unwrap();
    give(&mut there, &far, "203.0.113.2/24");
    let index = link::find(&mut there, &far).unwrap().unwrap().index;
    there.request(link::set_up(index, &far)).unwrap();
    world
}

#[test]
fn without_bridges_a_program_carries_the_packets() {
    if !host::fresh() || !process::needs::program("pasta") || !process::needs::device("/dev/net/tun") {
        return;
    }
    // pasta copies the address of the machine's way out, so there must be one.
    let world = world();
    greeter(&world, 80);
    let mut socket = Socket::open().unwrap();
    let uplink = link::find(&mut socket, &"uplink".parse().unwrap()).unwrap().unwrap().index;
    socket.request(route::new_default(uplink, Ipv4Addr::new(203, 0, 113, 2))).unwrap();

    let web = Container::new("aaaaaaaaaaaa0001");
    greeter(&web, 80);
    greeter(&web, 81);
    let names = web.inside(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    let texts = ["127.0.0.1::80", "8001:80", "8100-8101:80-81", "127.0.0.1:5353:53/udp"];
    let mappings: Vec<_> = texts.iter().flat_map(|text| port::parse(text).unwrap()).collect();
    let helper = network::rootless::attach(web.pid(), &mappings).unwrap();
    assert_eq!(helper.program(), "pasta");
    let port = helper.mappings()[0].host_port;
    assert!(call(at([127, 0, 0, 1], port)).unwrap().starts_with("hello "));
    for port in [8001, 8100, 8101] {
        assert!(call(at([127, 0, 0, 1], port)).unwrap().starts_with("hello "), "{port}");
    }
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"who?", "127.0.0.1:5353").unwrap();
    names.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(names.recv(&mut [0; 16]).unwrap(), 4);
    assert_eq!(web.inside(|| call(at([203, 0, 113, 2], 80))).unwrap(), "hello 203.0.113.1", "the way out");
    let taken = network::rootless::attach(web.pid(), &mappings[1..2]).unwrap_err();
    assert!(matches!(taken, Error::PortInUse { port: 8001, .. }), "{taken}");
    let pid = helper.pid();
    drop(helper);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_machine_without_any_way_out_still_gives_a_network_but_no_ports() {
    let programs = ["pasta", "slirp4netns"];
    if !host::fresh() || !programs.into_iter().all(process::needs::program) || !process::needs::device("/dev/net/tun") {
        return;
    }
    let web = Container::new("aaaaaaaaaaaa0001");
    assert_eq!(network::rootless::attach(web.pid(), &[]).unwrap().program(), "slirp4netns");
    let db = Container::new("bbbbbbbbbbbb0002");
    let error = network::rootless::attach(db.pid(), &port::parse("80").unwrap()).unwrap_err();
    assert!(error.to_string().contains("ports can be published only with pasta, and pasta: No external"), "{error}");
    assert!(error.hint().is_some());
}
