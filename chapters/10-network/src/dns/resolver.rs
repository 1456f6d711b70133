//! What is answered: the names of a network's containers, out of their lease files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::lease::{Lease, Leases};
use crate::name::NetworkName;

/// How long an answer of ours may be remembered, in seconds: containers come and go.
const TIME_TO_LIVE: u32 = 5;

/// What is to be done about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This is the answer.
    Reply(Vec<u8>),
    /// It is not about our containers: somebody else knows, or nobody.
    Forward,
    /// It is no question, or none that may be answered: silence.
    Ignore,
}

/// The names in some networks, as one container that is connected to them sees them.
#[derive(Debug)]
pub struct Resolver {
    networks: Vec<Names>,
    /// Whose networks these are, if they may change: the directory of all leases, the container's id, and when the
    /// directory was last read.
    follows: Option<(PathBuf, String, Option<SystemTime>)>,
}

/// Names under which a container finds the machine that it runs on, as docker's and podman's users know them.
const HOST_NAMES: [&str; 3] = ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"];

impl Resolver {
    /// A resolver over the leases of these networks.
    pub fn new(networks: Vec<(NetworkName, Leases)>) -> Self {
        let networks = networks.into_iter().map(|(network, leases)| Names::new(network, leases, None));
        Self { networks: networks.collect(), follows: None }
    }

    /// A resolver over the networks that a container is in at the moment of each question: it may join and leave.
    /// `run` is the directory that holds a directory of leases for each network.
    pub fn of_container(run: PathBuf, container_id: &str) -> Self {
        Self { networks: Vec::new(), follows: Some((run, container_id.to_owned(), None)) }
    }

    /// Whether questions about the rest of the world may be passed on: not from a container whose networks are internal.
    pub fn has_way_out(&mut self) -> bool {
        self.refresh();
        self.follows.is_none() || self.gateway().is_some()
    }

    fn gateway(&self) -> Option<Ipv4Addr> {
        self.networks.iter().find_map(|network| network.own.as_ref()?.endpoint.gateway)
    }

    /// Looks again at who is where. Directories' times of change say whether that is needed.
    fn refresh(&mut self) {
        if let Some((run, container_id, read)) = &mut self.follows {
            let changed = modified(run);
            if changed.is_none() || changed != *read {
                let names = std::fs::read_dir(&*run).into_iter().flatten().flatten().map(|entry| entry.file_name());
                for name in names.filter_map(|name| name.to_str()?.parse::<NetworkName>().ok()) {
                    let directory = run.join(name.as_str());
                    if directory.is_dir() && self.networks.iter().all(|known| known.network != name) {
                        let leases = Leases::in_directory(directory);
                        self.networks.push(Names::new(name, leases, Some(container_id.clone())));
                    }
                }
                *read = changed.filter(settled);
            }
        }
        self.networks.iter_mut().for_each(Names::refresh);
    }

    /// Answers a question, as it came from the wire.
    ///
    /// A name of ours has IPv4 addresses, and IPv6 ones in networks that have those. Asked for another kind of record it answers "none of that kind"
    /// and not "no such name", for a C library that hears the latter about IPv6 gives up on IPv4 too.
    ///
    /// # References
    /// RFC 1035, section 4; RFC 2308, section 2.2
    pub fn answer(&mut self, query: &[u8]) -> Answer {
        let Ok(packet) = Packet::parse(query) else { return Answer::Ignore };
        if packet.has_flags(PacketFlag::RESPONSE) {
            return Answer::Ignore;
        }
        let [question] = packet.questions.as_slice() else { return reply(&packet, RCODE::FormatError, Vec::new()) };
        if packet.opcode() != OPCODE::StandardQuery {
            return reply(&packet, RCODE::NotImplemented, Vec::new());
        }
        if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
            return Answer::Forward;
        }
        self.refresh();
        let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
        match reverse(&name) {
            Some(address) => self.answer_reverse(&packet, question, address),
            None => self.answer_name(&packet, question, &name),
        }
    }

    fn answer_name(&mut self, packet: &Packet<'_>, question: &Question<'_>, name: &str) -> Answer {
        let mut places: Vec<_> = self.networks.iter().flat_map(|network| network.places(name)).collect();
        if places.is_empty() && HOST_NAMES.contains(&name) {
            places.extend(self.gateway().map(|gateway| (gateway, None)));
        }
        if places.is_empty() {
            return Answer::Forward;
        }
        let (four, six) = match question.qtype {
            QTYPE::TYPE(TYPE::A) => (true, false),
            QTYPE::TYPE(TYPE::AAAA) => (false, true),
            QTYPE::ANY => (true, true),
            _ => (false, false),
        };
        let old = places.iter().filter(|_| four).map(|(address, _)| RData::A(A { address: (*address).into() }));
        let new = places.iter().filter(|_| six).filter_map(|(_, address)| *address);
        let new = new.map(|address| RData::AAAA(AAAA { address: address.into() }));
        reply(packet, RCODE::NoError, old.chain(new).collect())
    }

    fn answer_reverse(&mut self, packet: &Packet<'_>, question: &Question<'_>, address: IpAddr) -> Answer {
        let found = self.networks.iter().find_map(|network| network.name_of(address));
        let Some(name) = found else { return Answer::Forward };
        if !matches!(question.qtype, QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY) {
            return reply(packet, RCODE::NoError, Vec::new());
        }
        match Name::new(&name) {
            Ok(name) => reply(packet, RCODE::NoError, vec![RData::PTR(PTR(name.into_owned()))]),
            Err(_) => reply(packet, RCODE::ServerFailure, Vec::new()),
        }
    }
}

/// An answer that says nothing but `code`, for a question that could not be passed on; nothing if it is no question.
pub fn refusal(query: &[u8], code: RCODE) -> Option<Vec<u8>> {
    let packet = Packet::parse(query).ok().filter(|packet| !packet.has_flags(PacketFlag::RESPONSE))?;
    match reply(&packet, code, Vec::new()) {
        Answer::Reply(bytes) => Some(bytes),
        _ => None,
    }
}

/// Whether a question is about a name without a dot, which no public server knows.
pub fn is_single_label(query: &[u8]) -> bool {
    Packet::parse(query)
        .is_ok_and(|packet| packet.questions.iter().all(|question| question.qname.get_labels().len() < 2))
}

fn reply(query: &Packet<'_>, code: RCODE, answers: Vec<RData<'_>>) -> Answer {
    let mut packet = Packet::new_reply(query.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *packet.rcode_mut() = code;
    packet.questions = query.questions.clone();
    if let Some(question) = query.questions.first() {
        let records = answers.into_iter();
        packet.answers =
            records.map(|data| ResourceRecord::new(question.qname.clone(), CLASS::IN, TIME_TO_LIVE, data)).collect();
    }
    packet.build_bytes_vec_compressed().map_or(Answer::Ignore, Answer::Reply)
}

/// `2.0.17.172.in-addr.arpa` as the address that it asks about; `ip6.arpa` has a label for each four bits.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        let digits: String = digits.split('.').rev().filter(|digit| digit.len() == 1).collect();
        let bits = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
        return Some(Ipv6Addr::from_bits(bits).into());
    }
    let octets: Vec<_> = name.strip_suffix(".in-addr.arpa")?.split('.').rev().map(str::parse::<u8>).collect();
    match octets.as_slice() {
        [Ok(a), Ok(b), Ok(c), Ok(d)] => Some(Ipv4Addr::new(*a, *b, *c, *d).into()),
        _ => None,
    }
}

/// The names in one network, read again when its directory changes.
#[derive(Debug)]
struct Names {
    network: NetworkName,
    leases: Leases,
    /// In whose name it is read: only while that container is in the network are there names. Anybody's if none.
    reader: Option<String>,
    /// The directory's time of change when it was read.
    read: Option<SystemTime>,
    known: Vec<Lease>,
    /// The reader's own lease.
    own: Option<Lease>,
}

impl Names {
    fn new(network: NetworkName, leases: Leases, reader: Option<String>) -> Self {
        Self { network, leases, reader, read: None, known: Vec::new(), own: None }
    }

    fn places(&self, name: &str) -> Vec<(Ipv4Addr, Option<Ipv6Addr>)> {
        // `web` and `web.mynet` are the same container.
        let network = self.network.as_str();
        let bare = name.len().checked_sub(network.len() + 1).filter(|dot| name.as_bytes()[*dot] == b'.');
        let bare = bare.filter(|dot| name[dot + 1..].eq_ignore_ascii_case(network)).map_or(name, |dot| &name[..dot]);
        let called = |lease: &&Lease| lease.names.iter().any(|known| known == bare || known == name);
        let place = |lease: &Lease| (lease.endpoint.address, lease.endpoint.ipv6.map(|place| place.address));
        self.known.iter().filter(called).map(place).collect()
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        let has = |lease: &&Lease| {
            address == lease.endpoint.address || lease.endpoint.ipv6.is_some_and(|place| address == place.address)
        };
        Some(format!("{}.{}", self.known.iter().find(has)?.names.first()?, self.network))
    }

    /// A lease is written by rename and removed by unlink: both change the directory's own time.
    ///
    /// Two changes within one tick of the file system's clock look the same, so a directory that changed just now is
    /// read again next time.
    fn refresh(&mut self) {
        let changed = modified(self.leases.directory());
        if changed.is_some() && changed == self.read {
            return;
        }
        self.read = changed.filter(settled);
        if let Some(reader) = &self.reader {
            match self.leases.of_container(reader) {
                Ok(None) => {
                    self.own = None;
                    return self.known.clear();
                }
                Ok(own) => self.own = own,
                // One file that cannot be read must not take everybody's names away: what was known stays known.
                Err(_) => return,
            }
        }
        if let Ok(leases) = self.leases.all() {
            self.known = leases;
        }
    }
}

fn modified(directory: &Path) -> Option<SystemTime> {
    std::fs::metadata(directory).and_then(|data| data.modified()).ok()
}

fn settled(at: &SystemTime) -> bool {
    at.elapsed().is_ok_and(|age| age > Duration::from_millis(50))
}

/// A question as the wire has it; for tests and for the demonstration.
pub fn question(id: u16, name: &str, kind: TYPE) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// The addresses in an answer, and its code; for tests and for the demonstration.
pub fn read_answer(bytes: &[u8]) -> Option<(RCODE, Vec<String>)> {
    let packet = Packet::parse(bytes).ok()?;
    let text = |record: &ResourceRecord<'_>| match &record.rdata {
        RData::A(A { address }) => Ipv4Addr::from(*address).to_string(),
        RData::AAAA(AAAA { address }) => Ipv6Addr::from(*address).to_string(),
        RData::PTR(PTR(name)) => name.to_string(),
        _ => "another kind".to_owned(),
    };
    Some((packet.rcode(), packet.answers.iter().map(text).collect()))
}
