//! The server at 127.0.0.11: an event loop without a loop.
//!
//! A container's monitor is one thread that waits for many things: output to log, a client to serve, the end of the
//! container. So the server must never wait by itself. It keeps all its sockets in one epoll instance, which is a
//! descriptor too, readable when any of them is: the monitor polls that one, and calls [`Server::handle`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use process::{CallError, During, Pid, step};
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use simple_dns::{Packet, PacketFlag, RCODE};

use super::resolver::{Answer, Resolver, is_single_label, refusal};
use super::stream::{Conversation, Progress};
use super::upstream::{Forwarded, HEADER};
use crate::host_files::RESOLVER;
use crate::namespace::NetworkNamespace;

const DATAGRAMS: u64 = 0;
const CONNECTIONS: u64 = 1;
const CLOCK: u64 = 2;

/// The most questions that wait for another server's answer, of each kind. Whoever asks more is told to try later.
const MOST: usize = 64;
/// The most datagrams that one call handles: the monitor has other things to do as well.
const AT_ONCE: usize = 64;
/// The longest answer that every asker's buffer holds (RFC 1035, section 4.2.1).
const DATAGRAM: usize = 512;

/// A resolver at work in one container's network.
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
    clock: OwnedFd,
    datagrams: UdpSocket,
    connections: TcpListener,
    resolver: Resolver,
    upstreams: Vec<SocketAddr>,
    forwarded: HashMap<u64, Forwarded>,
    conversations: HashMap<u64, Conversation>,
    next: u64,
    ticking: bool,
}

impl Server {
    /// Opens port 53 of 127.0.0.11 in the network namespace of `pid`, where loopback must be switched on already.
    ///
    /// `upstreams` are asked, from the caller's own network, about everything that is no container's name; with none, or
    /// where the container has no way out (its networks are internal), such names do not exist.
    ///
    /// # Errors
    /// `EADDRINUSE` when somebody inside listens there already, and other refusals of the kernel's.
    pub fn open(pid: Pid, resolver: Resolver, upstreams: &[IpAddr]) -> Result<Self, CallError> {
        let (datagrams, connections) = NetworkNamespace::of(pid)?.inside(listen)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).during("epoll_create1", "")?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).during("timerfd_create", "")?;
        let server = Self {
            epoll,
            clock,
            datagrams,
            connections,
            resolver,
            upstreams: upstreams.iter().map(|address| SocketAddr::new(*address, 53)).collect(),
            forwarded: HashMap::new(),
            conversations: HashMap::new(),
            next: CLOCK + 1,
            ticking: false,
        };
        server.watch(server.datagrams.as_fd(), DATAGRAMS, epoll::EventFlags::IN)?;
        server.watch(server.connections.as_fd(), CONNECTIONS, epoll::EventFlags::IN)?;
        server.watch(server.clock.as_fd(), CLOCK, epoll::EventFlags::IN)?;
        Ok(server)
    }

    /// Does whatever can be done without waiting. To be called when the descriptor is readable; harmless otherwise.
    ///
    /// Nothing here can fail for the caller: a question that cannot be answered is dropped, and its asker asks again.
    pub fn handle(&mut self) {
        let mut ready =
            [const { epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) } }; 32];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(count) = epoll::wait(&self.epoll, &mut ready[..], Some(&now)) else { return };
        for event in &ready[..count] {
            match event.data.u64() {
                DATAGRAMS => self.read_datagrams(),
                CONNECTIONS => self.accept(),
                CLOCK => self.expire(),
                id if self.conversations.contains_key(&id) => self.drive(id),
                id => self.read_answer(id),
            }
        }
        self.set_clock();
    }

    fn read_datagrams(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..AT_ONCE {
            let Ok((length, asker)) = self.datagrams.recv_from(&mut buffer) else { return };
            let query = &buffer[..length];
            match self.resolver.answer(query) {
                Answer::Reply(reply) => self.send(&fitting(reply), asker),
                Answer::Forward => self.forward(query.to_vec(), asker),
                Answer::Ignore => {}
            }
        }
    }

    fn forward(&mut self, query: Vec<u8>, asker: SocketAddr) {
        let nobody = self.upstreams.is_empty() || !self.resolver.has_way_out();
        if nobody || self.forwarded.len() >= MOST || query.len() < HEADER {
            // Nobody to ask: then a name without a dot, a neighbour's name misspelled, certainly does not exist.
            let unknown = nobody && is_single_label(&query);
            let code = if unknown { RCODE::NameError } else { RCODE::ServerFailure };
            return self.refuse(&query, code, asker);
        }
        let started = Forwarded::start(query, asker, &self.upstreams);
        self.keep(started, asker);
    }

    /// Remembers a question that was passed on, or tells the asker that it could not be.
    fn keep(&mut self, started: Result<Forwarded, Vec<u8>>, asker: SocketAddr) {
        match started {
            Ok(forwarded) => {
                let id = self.fresh();
                // A socket that is not watched is found again by the clock.
                if self.watch(forwarded.as_fd(), id, epoll::EventFlags::IN).is_ok() {
                    self.forwarded.insert(id, forwarded);
                }
            }
            Err(query) => self.refuse(&query, RCODE::ServerFailure, asker),
        }
    }

    fn read_answer(&mut self, id: u64) {
        // An event of a socket that an earlier event of the same call has closed.
        let Some(forwarded) = self.forwarded.get(&id) else { return };
        match forwarded.receive() {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let asker = forwarded.asker();
                self.forwarded.remove(&id);
                self.send(&answer, asker);
            }
            Err(_) => self.ask_next(id),
        }
    }

    fn ask_next(&mut self, id: u64) {
        if let Some(forwarded) = self.forwarded.remove(&id) {
            let asker = forwarded.asker();
            let next = forwarded.next(&self.upstreams);
            self.keep(next, asker);
        }
    }

    fn accept(&mut self) {
        while let Ok((client, _)) = self.connections.accept() {
            // Too many at once: whoever waits longest is let go.
            if self.conversations.len() >= MOST {
                let oldest = self.conversations.keys().min().copied();
                self.conversations.remove(&oldest.unwrap_or_default());
            }
            let id = self.fresh();
            let Ok(conversation) = Conversation::new(client) else { continue };
            if self.watch(conversation.as_fd(), id, EDGES).is_ok() {
                self.conversations.insert(id, conversation);
                self.drive(id);
            }
        }
    }

    fn drive(&mut self, id: u64) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let upstreams = if self.resolver.has_way_out() { self.upstreams.as_slice() } else { &[] };
        let progress = conversation.drive(&mut self.resolver, upstreams);
        let watched = match (progress, self.conversations.get(&id).and_then(Conversation::server)) {
            (Progress::Waiting, _) => true,
            (Progress::Asked, Some(server)) => self.watch(server, id, EDGES).is_ok(),
            (Progress::Done | Progress::Asked, _) => false,
        };
        if !watched {
            self.conversations.remove(&id);
        }
    }

    /// Gives up on whoever has waited too long.
    fn expire(&mut self) {
        let mut ticks = [0; 8];
        // Only to make the clock's descriptor unreadable; how often it ticked is nothing to us.
        let _ = rustix::io::read(&self.clock, &mut ticks);
        let now = Instant::now();
        self.conversations.retain(|_, conversation| conversation.deadline() > now);
        let late: Vec<_> = self.forwarded.iter().filter(|(_, it)| it.deadline() <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.ask_next(id);
        }
    }

    /// Ticks twice a second while somebody waits, and not at all otherwise: an idle container wakes nobody.
    fn set_clock(&mut self) {
        let busy = !self.forwarded.is_empty() || !self.conversations.is_empty();
        // Set anew at every call, a busy server's clock would never come to tick.
        if busy == self.ticking {
            return;
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: if busy { 500_000_000 } else { 0 } };
        let setting = Itimerspec { it_interval: pause, it_value: pause };
        // It fails for a bad descriptor or a bad time, and this is neither.
        let _ = rustix::time::timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &setting);
        self.ticking = busy;
    }

    fn refuse(&self, query: &[u8], code: RCODE, asker: SocketAddr) {
        if let Some(reply) = refusal(query, code) {
            self.send(&reply, asker);
        }
    }

    fn send(&self, reply: &[u8], asker: SocketAddr) {
        // An answer that cannot be sent is lost, as datagrams may be; the asker repeats its question.
        let _ = self.datagrams.send_to(reply, asker);
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn watch(&self, what: BorrowedFd<'_>, id: u64, flags: epoll::EventFlags) -> Result<(), CallError> {
        epoll::add(&self.epoll, what, epoll::EventData::new_u64(id), flags).during("epoll_ctl", "a resolver's socket")
    }
}

/// For streams, which are always driven until they would wait: tell about changes only, in both directions.
const EDGES: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::OUT).union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// The two sockets, for this thread's network namespace.
fn listen() -> Result<(UdpSocket, TcpListener), CallError> {
    step!(10, "bind", "bind(2)", "be the container's name server", "{RESOLVER}:53, udp and tcp");
    let datagrams = UdpSocket::bind((RESOLVER, 53)).during("bind", "127.0.0.11:53/udp")?;
    let connections = TcpListener::bind((RESOLVER, 53)).during("bind", "127.0.0.11:53/tcp")?;
    datagrams.set_nonblocking(true).during("fcntl", "O_NONBLOCK")?;
    connections.set_nonblocking(true).during("fcntl", "O_NONBLOCK")?;
    Ok((datagrams, connections))
}

/// The reply itself, or, where it is too long for a datagram, one that says "ask again over TCP".
fn fitting(reply: Vec<u8>) -> Vec<u8> {
    if reply.len() <= DATAGRAM {
        return reply;
    }
    let Ok(mut packet) = Packet::parse(&reply) else { return reply };
    packet.set_flags(PacketFlag::TRUNCATION);
    packet.answers.clear();
    packet.build_bytes_vec_compressed().unwrap_or_default()
}
