//! What is answered: the names of a network's containers, out of their lease files.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use simple_dns::rdata::{A, PTR, RData};
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
}

impl Resolver {
    /// A resolver over the leases of these networks.
    pub fn new(networks: Vec<(NetworkName, Leases)>) -> Self {
        let networks =
            networks.into_iter().map(|(network, leases)| Names { network, leases, read: None, known: Vec::new() });
        Self { networks: networks.collect() }
    }

    /// Answers a question, as it came from the wire.
    ///
    /// A name of ours has addresses of the old kind only. Asked for another kind of record it answers "none of that kind"
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
        let name = question.qname.to_string().trim_end_matches('.').to_ascii_lowercase();
        match reverse(&name) {
            Some(address) => self.answer_reverse(&packet, question, address),
            None => self.answer_name(&packet, question, &name),
        }
    }

    fn answer_name(&mut self, packet: &Packet<'_>, question: &Question<'_>, name: &str) -> Answer {
        let addresses: Vec<_> = self.networks.iter_mut().flat_map(|network| network.addresses(name)).collect();
        if addresses.is_empty() {
            return Answer::Forward;
        }
        if !matches!(question.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
            return reply(packet, RCODE::NoError, Vec::new());
        }
        let record = |address: Ipv4Addr| RData::A(A { address: address.into() });
        reply(packet, RCODE::NoError, addresses.into_iter().map(record).collect())
    }

    fn answer_reverse(&mut self, packet: &Packet<'_>, question: &Question<'_>, address: Ipv4Addr) -> Answer {
        let found = self.networks.iter_mut().find_map(|network| network.name_of(address));
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

/// `2.0.17.172.in-addr.arpa` as the address that it asks about.
fn reverse(name: &str) -> Option<Ipv4Addr> {
    let octets: Vec<_> = name.strip_suffix(".in-addr.arpa")?.split('.').rev().map(str::parse::<u8>).collect();
    match octets.as_slice() {
        [Ok(a), Ok(b), Ok(c), Ok(d)] => Some(Ipv4Addr::new(*a, *b, *c, *d)),
        _ => None,
    }
}

/// The names in one network, read again when its directory changes.
#[derive(Debug)]
struct Names {
    network: NetworkName,
    leases: Leases,
    /// The directory's time of change when it was read.
    read: Option<SystemTime>,
    known: Vec<Lease>,
}

impl Names {
    fn addresses(&mut self, name: &str) -> Vec<Ipv4Addr> {
        self.refresh();
        // `web` and `web.mynet` are the same container.
        let suffix = format!(".{}", self.network.as_str().to_ascii_lowercase());
        let bare = name.strip_suffix(suffix.as_str()).unwrap_or(name);
        let called = |lease: &&Lease| lease.names.iter().any(|known| known == bare || known == name);
        self.known.iter().filter(called).map(|lease| lease.endpoint.address).collect()
    }

    fn name_of(&mut self, address: Ipv4Addr) -> Option<String> {
        self.refresh();
        let lease = self.known.iter().find(|lease| lease.endpoint.address == address)?;
        Some(format!("{}.{}", lease.names.first()?, self.network))
    }

    /// A lease is written by rename and removed by unlink: both change the directory's own time.
    ///
    /// Two changes within one tick of the file system's clock look the same, so a directory that changed just now is
    /// read again next time.
    fn refresh(&mut self) {
        let changed = std::fs::metadata(self.leases.directory()).and_then(|data| data.modified()).ok();
        if changed.is_some() && changed == self.read {
            return;
        }
        // One file that cannot be read must not take everybody's names away: what was known stays known.
        if let Ok(leases) = self.leases.all() {
            self.known = leases;
            let settled = |at: &SystemTime| at.elapsed().is_ok_and(|age| age > Duration::from_millis(50));
            self.read = changed.filter(settled);
        }
    }
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
        RData::PTR(PTR(name)) => name.to_string(),
        _ => "another kind".to_owned(),
    };
    Some((packet.rcode(), packet.answers.iter().map(text).collect()))
}
