//! Questions passed on over UDP: one socket each, so that an answer can only come from the server that was asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use process::{CallError, During, step};

/// How long one server may think before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer that is taken over UDP. Who needs more asks again over TCP.
const LONGEST: usize = 16 * 1024;

/// The header of a message: id, flags, four counts.
pub(crate) const HEADER: usize = 12;

/// A question that was passed on and not yet answered.
///
/// The id on the way out is a fresh random one, the port is the kernel's random choice, and an answer must repeat
/// the question: a forger who cannot see the packets has to guess all three (RFC 5452).
#[derive(Debug)]
pub struct Forwarded {
    socket: UdpSocket,
    query: Vec<u8>,
    asker: SocketAddr,
    id: [u8; 2],
    /// How many servers were asked so far.
    asked: usize,
    deadline: Instant,
}

impl Forwarded {
    /// Asks the first server that can be sent to. Returns the query if there is none.
    pub fn start(query: Vec<u8>, asker: SocketAddr, upstreams: &[SocketAddr]) -> Result<Self, Vec<u8>> {
        Self::ask(query, asker, upstreams, 0)
    }

    /// Asks the next server, once this one has been silent for too long or has refused.
    pub fn next(self, upstreams: &[SocketAddr]) -> Result<Self, Vec<u8>> {
        Self::ask(self.query, self.asker, upstreams, self.asked)
    }

    fn ask(query: Vec<u8>, asker: SocketAddr, upstreams: &[SocketAddr], skip: usize) -> Result<Self, Vec<u8>> {
        for (index, upstream) in upstreams.iter().enumerate().skip(skip) {
            // A server that cannot even be sent to (no route to an IPv6 one, say) is passed over.
            if let Ok((socket, id)) = send(&query, *upstream) {
                return Ok(Self { socket, query, asker, id, asked: index + 1, deadline: Instant::now() + PATIENCE });
            }
        }
        Err(query)
    }

    /// Takes an answer, if one has come that fits; its id is the asker's again.
    ///
    /// # Errors
    /// When the server refused (nobody listens there): ask the next.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, CallError> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.during("recv", "an answer from the name server")?,
            };
            let answer = &buffer[..length];
            if length >= HEADER && answer[..2] == self.id && repeats_question(answer, &self.query) {
                let mut answer = answer.to_vec();
                answer[..2].copy_from_slice(&self.query[..2]);
                return Ok(Some(answer));
            }
        }
    }

    /// Who asked.
    pub fn asker(&self) -> SocketAddr {
        self.asker
    }

    /// When patience ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl AsFd for Forwarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send(query: &[u8], upstream: SocketAddr) -> Result<(UdpSocket, [u8; 2]), CallError> {
    step!(10, "sendto", "udp(7)", "pass a question on that is not about our containers", "to {upstream}");
    let any: IpAddr = if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).during("bind", any)?;
    socket.set_nonblocking(true).during("fcntl", "O_NONBLOCK")?;
    socket.connect(upstream).during("connect", upstream)?;
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| CallError::refused("getrandom", "", error))?;
    let mut sent = query.to_vec();
    sent[..2].copy_from_slice(&id);
    socket.send(&sent).during("send", upstream)?;
    Ok((socket, id))
}

/// Whether an answer repeats the question as it was asked: the bytes after the header, as long as they are a question.
pub(crate) fn repeats_question(answer: &[u8], query: &[u8]) -> bool {
    let Some(end) = question_end(query) else { return false };
    answer.get(HEADER..end).is_some_and(|question| question.eq_ignore_ascii_case(&query[HEADER..end]))
}

/// Where the first question of a query ends: after its labels, a zero, and four bytes of type and class.
fn question_end(query: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*query.get(at)?) {
            0 => break,
            // The two high bits would be a pointer backwards, which a query has no use for.
            length if length < 64 => at += length + 1,
            _ => return None,
        }
    }
    let end = at + 5;
    (end <= query.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::resolver::question;
    use super::*;
    use simple_dns::TYPE;

    #[test]
    fn a_silent_server_is_followed_by_the_next_and_the_answer_has_the_askers_id() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let upstreams = [silent.local_addr().unwrap(), server.local_addr().unwrap()];
        let query = question(7, "example.org", TYPE::A).unwrap();
        let first = Forwarded::start(query.clone(), "127.0.0.1:9".parse().unwrap(), &upstreams).unwrap();
        let second = first.next(&upstreams).unwrap();

        let mut buffer = [0; 512];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        let mut forged = buffer[..length].to_vec();
        forged[13] ^= 1;
        server.send_to(&forged, from).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
        let answer = loop {
            match second.receive().unwrap() {
                Some(answer) => break answer,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(answer, query);
        assert!(second.next(&upstreams).is_err());
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let (one, other) = (question(1, "a.org", TYPE::A).unwrap(), question(1, "b.org", TYPE::A).unwrap());
        assert!(repeats_question(&one, &one));
        assert!(!repeats_question(&one, &other));
        assert!(!repeats_question(&one[..13], &one));
        assert!(!repeats_question(&one, &[0xff; 20]));
    }
}
