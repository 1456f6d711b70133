//! The resolver, asked with real packets, alone and inside a container's network.
#![allow(clippy::unwrap_used)]

mod host;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use host::Container;
use network::dns::resolver::{Answer, Resolver, question, read_answer};
use network::dns::{RCODE, Server, TYPE};
use network::lease::{Endpoint, Lease, Leases, Owner};
use network::{DeviceName, EndpointOptions, Mac, NetworkName};
use process::Pid;

fn lease(leases: &Leases, last: u8, names: &[&str]) {
    let address = Ipv4Addr::new(172, 17, 0, last);
    let container_id = format!("container{last}");
    let endpoint = Endpoint {
        network: NetworkName::default_bridge(),
        address,
        prefix_length: 16,
        gateway: None,
        ipv6: None,
        mac: Mac::of(address),
        interface: DeviceName::container_end(0),
        host_end: DeviceName::host_end(&container_id, 0),
        container_id,
    };
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let owner = Owner::of(Pid::this()).unwrap();
    leases.write(&Lease { endpoint, names, owner, ports: Vec::new() }).unwrap();
}

fn resolver(directory: &Path) -> (Leases, Resolver) {
    let leases = Leases::in_directory(directory.to_owned());
    (leases.clone(), Resolver::new(vec![(NetworkName::default_bridge(), leases)]))
}

fn ask(resolver: &mut Resolver, name: &str, kind: TYPE) -> Option<(RCODE, Vec<String>)> {
    match resolver.answer(&question(7, name, kind).unwrap()) {
        Answer::Reply(bytes) => read_answer(&bytes),
        Answer::Forward => None,
        Answer::Ignore => panic!("a question was ignored"),
    }
}

fn addresses(list: &[&str]) -> Option<(RCODE, Vec<String>)> {
    Some((RCODE::NoError, list.iter().map(|&text| text.to_owned()).collect()))
}

#[test]
fn names_and_aliases_have_addresses_and_addresses_have_names() {
    let directory = tempfile::tempdir().unwrap();
    let (leases, mut resolver) = resolver(directory.path());
    lease(&leases, 2, &["web", "site"]);
    lease(&leases, 3, &["web2", "site"]);
    assert_eq!(ask(&mut resolver, "web", TYPE::A), addresses(&["172.17.0.2"]));
    assert_eq!(ask(&mut resolver, "WEB.bridge", TYPE::A), addresses(&["172.17.0.2"]));
    assert_eq!(ask(&mut resolver, "site", TYPE::A), addresses(&["172.17.0.2", "172.17.0.3"]));
    assert_eq!(ask(&mut resolver, "2.0.17.172.in-addr.arpa", TYPE::PTR), addresses(&["web.bridge"]));
    assert_eq!(ask(&mut resolver, "web", TYPE::AAAA), addresses(&[]), "no such record is not no such name");
    for foreign in ["example.org", "nobody", "web.other", "9.9.9.9.in-addr.arpa"] {
        assert_eq!(ask(&mut resolver, foreign, TYPE::A), None, "{foreign}");
    }
}

#[test]
fn a_container_that_comes_or_goes_is_noticed_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (leases, mut resolver) = resolver(directory.path());
    for last in 2..40 {
        assert_eq!(ask(&mut resolver, "web", TYPE::A), None);
        lease(&leases, last, &["web"]);
        assert!(ask(&mut resolver, "web", TYPE::A).is_some());
        leases.remove(Ipv4Addr::new(172, 17, 0, last), &format!("container{last}")).unwrap();
    }
}

#[test]
fn what_is_no_question_is_met_with_silence_or_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (_, mut resolver) = resolver(directory.path());
    let query = question(7, "web", TYPE::A).unwrap();
    let mut answer = query.clone();
    answer[2] |= 0x80;
    assert_eq!(resolver.answer(&answer), Answer::Ignore, "answers are not answered");
    let mut status = query.clone();
    status[2] |= 0x10;
    let Answer::Reply(refused) = resolver.answer(&status) else { panic!() };
    assert_eq!(read_answer(&refused).unwrap().0, RCODE::NotImplemented);
    // Every beginning of a question, and every question with one bit turned: no panic.
    for length in 0..query.len() {
        resolver.answer(&query[..length]);
    }
    for bit in 0..query.len() * 8 {
        let mut turned = query.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        resolver.answer(&turned);
    }
}

/// Polls the server as a monitor does, until `done`.
fn serve_until<T>(server: &mut Server, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no answer");
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(server.as_fd(), rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if rustix::event::poll(&mut fds, Some(&limit)).unwrap() > 0 {
            server.handle();
        }
    }
}

#[test]
fn a_container_asks_at_its_own_loopback_over_udp_and_tcp() {
    if !host::fresh() {
        return;
    }
    let (_root, networks) = host::engine();
    let bridge = NetworkName::default_bridge();
    let web = Container::new("aaaaaaaaaaaa0001");
    let options = EndpointOptions { names: vec!["web".to_owned()], ..Default::default() };
    networks.connect(&bridge, &web.id, web.pid(), &options).unwrap();
    // This machine's own name server, for the test: it knows one name.
    let upstream = UdpSocket::bind("127.0.0.53:53").unwrap();
    upstream.set_nonblocking(true).unwrap();
    let stream_upstream = std::net::TcpListener::bind("127.0.0.53:53").unwrap();
    let mut server = Server::open(web.pid(), networks.resolver(&web.id), &["127.0.0.53".parse().unwrap()]).unwrap();

    let client = web.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    let mut ask = |server: &mut Server, id: u16, name: &str| {
        client.send_to(&question(id, name, TYPE::A).unwrap(), "127.0.0.11:53").unwrap();
        let length = serve_until(server, || {
            let mut passed_on = [0; 512];
            if let Ok((length, from)) = upstream.recv_from(&mut passed_on) {
                passed_on[2] |= 0x80;
                upstream.send_to(&passed_on[..length], from).unwrap();
            }
            client.recv(&mut buffer).ok()
        });
        assert_eq!(buffer[..2], id.to_be_bytes());
        read_answer(&buffer[..length]).unwrap()
    };
    assert_eq!(Some(ask(&mut server, 1, "web")), addresses(&["172.17.0.2"]));
    assert_eq!(Some(ask(&mut server, 2, "aaaaaaaaaaaa")), addresses(&["172.17.0.2"]));
    assert_eq!(Some(ask(&mut server, 3, "example.org")), addresses(&[]), "passed on, and answered by the other");

    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = stream_upstream.accept().unwrap();
        let mut question = [0; 512];
        let length = stream.read(&mut question).unwrap();
        question[4] |= 0x80;
        stream.write_all(&question[..length]).unwrap();
    });
    for (name, expected) in [("web", addresses(&["172.17.0.2"])), ("example.org", addresses(&[]))] {
        let mut stream = web.inside(|| TcpStream::connect("127.0.0.11:53").unwrap());
        let query = question(4, name, TYPE::A).unwrap();
        stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        serve_until(&mut server, || stream.read_to_end(&mut answer).ok());
        assert_eq!(read_answer(&answer[2..]), expected);
    }
    upstream.join().unwrap();
    networks.disconnect(&web.id).unwrap();
}

#[test]
fn an_internal_network_passes_nothing_on() {
    if !host::fresh() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let web = Container::new("aaaaaaaaaaaa0001");
    network::raise_loopback(web.pid()).unwrap();
    let mut server = Server::open(web.pid(), resolver(directory.path()).1, &[]).unwrap();
    let client = web.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.set_nonblocking(true).unwrap();
    for (name, code) in [("nobody", RCODE::NameError), ("example.org", RCODE::ServerFailure)] {
        client.send_to(&question(1, name, TYPE::A).unwrap(), "127.0.0.11:53").unwrap();
        let mut buffer = [0; 512];
        let length = serve_until(&mut server, || client.recv(&mut buffer).ok());
        assert_eq!(read_answer(&buffer[..length]).unwrap().0, code, "{name}");
    }
}
