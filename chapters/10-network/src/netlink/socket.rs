//! The conversation with the kernel: requests out, acknowledgements and listings back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};
use process::{CallError, During};

use super::message::{Attributes, HEADER, Message, messages, read_u32};
use crate::sys::enable_netlink_option;

/// The type of the attribute that holds the kernel's own words about an error.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A request, with the words in which its failure will be told.
#[derive(Debug)]
pub struct Request {
    /// The message, without its number.
    pub message: Message,
    /// What it does, beginning with the name of its type: `RTM_NEWLINK bridge`.
    pub operation: &'static str,
    /// What it does it to: a device, an address.
    pub object: String,
}

/// A routing socket: it speaks for the network namespace in which it was **opened**, wherever its owner goes later.
///
/// That last fact carries the chapter: a process enters the container's namespace only for the moment in which it opens
/// this socket, and from then on configures both namespaces side by side.
///
/// # References
/// netlink(7), rtnetlink(7), network_namespaces(7)
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a routing socket in this thread's network namespace.
    ///
    /// # Errors
    /// The call that failed, by name.
    pub fn open() -> Result<Self, CallError> {
        let descriptor =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                .during("socket", "AF_NETLINK, NETLINK_ROUTE")?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&descriptor), &NetlinkAddr::new(0, 0)).during("bind", "AF_NETLINK")?;
        // Errors then say why in words, and do not repeat the request. Kernels before 4.12 know neither; they
        // only become terser, so a refusal is no failure.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            match enable_netlink_option(descriptor.as_fd(), option) {
                Ok(()) | Err(Errno::ENOPROTOOPT) => {}
                Err(errno) => return Err(CallError::new("setsockopt", "SOL_NETLINK", errno)),
            }
        }
        Ok(Self { descriptor, sequence: 0 })
    }

    /// Sends all the requests in one datagram and waits for each one's acknowledgement.
    ///
    /// The kernel handles them in order and does not stop at a failure, so a request must not rely on an earlier one
    /// of the same batch unless failing twice is fine. The first failure is the one that is told.
    ///
    /// # Errors
    /// The first request that failed: its operation, its object, the kernel's words, the errno.
    pub fn batch(&mut self, requests: Vec<Request>) -> Result<(), CallError> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(256 * requests.len());
        let mut told = Vec::with_capacity(requests.len());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend_from_slice(&request.message.finish(self.sequence));
            told.push((request.operation, request.object));
        }
        self.send(&datagram)?;
        let mut failure = None;
        let mut outstanding = told.len();
        while outstanding > 0 {
            let buffer = self.receive()?;
            for answer in messages(&buffer) {
                let index = answer.sequence.wrapping_sub(first) as usize;
                if i32::from(answer.kind) != libc::NLMSG_ERROR || index >= told.len() {
                    continue;
                }
                outstanding -= 1;
                let (operation, object) = &told[index];
                if let Err(error) = acknowledgement(answer.flags, answer.body, operation, object) {
                    failure = Some(failure.unwrap_or(error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends one request and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub fn request(&mut self, request: Request) -> Result<(), CallError> {
        self.batch(vec![request])
    }

    /// Sends one request and collects every message with which the kernel answers, each read by `read`.
    ///
    /// With `NLM_F_DUMP` in the request that is a listing; with `NLM_F_ACK`, the one object that was asked for. One of the
    /// two must be there: they are what ends the answer.
    ///
    /// # Errors
    /// The request's failure; `ENODEV` is how the kernel says that the device asked for is not there.
    pub fn query<T>(
        &mut self,
        request: Request,
        mut read: impl FnMut(&super::message::Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, CallError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.send(&request.message.finish(sequence))?;
        let mut found = Vec::new();
        loop {
            let buffer = self.receive()?;
            for answer in messages(&buffer).filter(|answer| answer.sequence == sequence) {
                match i32::from(answer.kind) {
                    libc::NLMSG_DONE => return Ok(found),
                    libc::NLMSG_ERROR => {
                        acknowledgement(answer.flags, answer.body, request.operation, &request.object)?;
                        return Ok(found);
                    }
                    _ => found.extend(read(&answer)),
                }
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Result<(), CallError> {
        let kernel = NetlinkAddr::new(0, 0);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.descriptor);
        sendto(fd, datagram, &kernel, MsgFlags::empty()).map(drop).during("sendto", "AF_NETLINK")
    }

    /// One datagram. The kernel never sends more at once than 32 KiB to a reader that has room for it (a listing comes
    /// in pieces), so a fixed buffer does.
    fn receive(&self) -> Result<Vec<u8>, CallError> {
        let mut buffer = vec![0; 64 * 1024];
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.descriptor);
        let length = loop {
            match recv(fd, &mut buffer, MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => {}
                other => break other.during("recv", "AF_NETLINK")?,
            }
        };
        if length > buffer.len() || length < HEADER {
            return Err(CallError::refused("recv", "AF_NETLINK", format!("an answer of {length} bytes")));
        }
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Reads `NLMSG_ERROR`, which is also how success is said: an errno of zero.
///
/// ```text
///  0         4                                       20
/// +---------+---------------------------------------+----------------------------+
/// | -errno  | header of the request that this is    | attributes, if NLM_F_ACK_  |
/// | (or 0)  | about (and its body, unless CAPPED)   | TLVS: words, an offset     |
/// +---------+---------------------------------------+----------------------------+
/// ```
fn acknowledgement(flags: u16, body: &[u8], operation: &'static str, object: &str) -> Result<(), CallError> {
    let refused = || CallError::refused(operation, object, "a short acknowledgement");
    let code = read_u32(body, 0).ok_or_else(refused)? as i32;
    if code == 0 {
        return Ok(());
    }
    let error = CallError::new(operation, object, Errno::from_raw(code.wrapping_neg()));
    if i32::from(flags) & libc::NLM_F_ACK_TLVS == 0 {
        return Err(error);
    }
    let capped = i32::from(flags) & libc::NLM_F_CAPPED != 0;
    let echoed = if capped { HEADER } else { read_u32(body, 4).ok_or_else(refused)? as usize };
    let start = 4usize.saturating_add(echoed).next_multiple_of(4);
    let attributes = Attributes::inside(body.get(start..).unwrap_or(&[]));
    Err(match attributes.find_kind(NLMSGERR_ATTR_MSG) {
        Some(words) => error.with(super::message::text(words)),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_acknowledgement_of_zero_is_success() {
        assert!(acknowledgement(0, &[0; 20], "RTM_NEWLINK", "x").is_ok());
    }

    #[test]
    fn an_error_carries_the_kernels_words() {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(&9u16.to_ne_bytes());
        body.extend_from_slice(&NLMSGERR_ATTR_MSG.to_ne_bytes());
        body.extend_from_slice(b"nope\0\0\0\0");
        let flags = (libc::NLM_F_ACK_TLVS | libc::NLM_F_CAPPED) as u16;
        let error = acknowledgement(flags, &body, "RTM_NEWLINK bridge", "co-1").unwrap_err();
        assert_eq!(error.to_string(), r#"RTM_NEWLINK bridge "co-1" (nope): EINVAL"#);
    }

    #[test]
    fn the_kernel_answers_for_a_device_that_is_not_there() {
        let mut socket = Socket::open().unwrap();
        let error = crate::link::find(&mut socket, &"no-such-dev".parse().unwrap()).unwrap();
        assert_eq!(error, None);
    }
}
