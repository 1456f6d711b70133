//! Netlink messages: how a request to the kernel's network stack looks, byte by byte.
//!
//! Everything that `ip link` and `ip address` do is said in this one shape, in the machine's own byte order:
//!
//! ```text
//!  0               4       6       8              12              16
//! +---------------+-------+-------+---------------+---------------+----------------+------------+
//! | length        | type  | flags | sequence      | port (0: the  | the type's own | attributes |
//! | (all of it)   |       |       | (ours)        |  kernel)      | fixed header   |    ...     |
//! +---------------+-------+-------+---------------+---------------+----------------+------------+
//!
//! an attribute:  0        2        4
//!               +--------+--------+-------------------------+---------+
//!               | length | type   | value (length - 4)      | padding |   the next one begins at a multiple of 4;
//!               +--------+--------+-------------------------+---------+   the padding is not part of the length
//! ```
//!
//! A value may be attributes again; that is how a cable with two ends is one request:
//!
//! ```text
//! RTM_NEWLINK ifinfomsg{}                      the host's end
//!   IFLA_IFNAME "cv-3f2a9c01-0"
//!   IFLA_MASTER 7                              plugged into bridge number 7
//!   IFLA_LINKINFO
//!     IFLA_INFO_KIND "veth"
//!     IFLA_INFO_DATA
//!       VETH_INFO_PEER ifinfomsg{}             the container's end: a link of its own,
//!         IFLA_IFNAME "eth0"
//!         IFLA_NET_NS_FD 9                     born inside the container's namespace
//! ```
//!
//! # References
//! netlink(7), rtnetlink(7), `include/uapi/linux/netlink.h`

use std::os::fd::{AsRawFd, BorrowedFd};

/// The size of the header that begins every message.
pub const HEADER: usize = 16;

/// The size of an attribute's own header.
const ATTRIBUTE: usize = 4;

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Begins a message of `kind` (an `RTM_` number) with `flags` (`NLM_F_` bits; `NLM_F_REQUEST` is added) and the
    /// fixed header of that kind.
    pub fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        // The flags are sixteen bits on the wire and a C int in the headers.
        bytes.extend_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds an attribute with raw bytes as its value.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.open(kind, |message| message.bytes.extend_from_slice(value))
    }

    /// Adds a 32 bit attribute.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a text, ended by a NUL as the kernel wants names.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.open(kind, |message| {
            message.bytes.extend_from_slice(value.as_bytes());
            message.bytes.push(0);
        })
    }

    /// Adds an open descriptor of this process; the kernel looks it up while it handles the request.
    pub fn descriptor(&mut self, kind: u16, value: BorrowedFd<'_>) -> &mut Self {
        self.bytes(kind, &value.as_raw_fd().to_ne_bytes())
    }

    /// Adds an attribute whose value is attributes, written by `fill`.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.open(kind, fill)
    }

    /// Like [`nested`](Self::nested), with a fixed header before the inner attributes.
    pub fn nested_after(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.open(kind, |message| {
            message.bytes.extend_from_slice(fixed);
            message.pad();
            fill(message);
        })
    }

    /// The finished message, numbered; the kernel's answer will carry the same number.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    /// Writes an attribute: its header with a length of zero, its value, and then the length, which only now is known.
    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        // Sixteen bits of length: every value here is a name, an address or a few of those.
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message that the kernel sent, borrowed from the buffer that it was received into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// `NLMSG_ERROR`, `NLMSG_DONE` or an `RTM_` number.
    pub kind: u16,
    /// `NLM_F_` bits.
    pub flags: u16,
    /// The number of the request that this answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The fixed header of `size` bytes and the attributes after it; nothing if the body is shorter than that.
    pub fn split(&self, size: usize) -> Option<(&'a [u8], Attributes<'a>)> {
        let fixed = self.body.get(..size)?;
        Some((fixed, Attributes { rest: self.body.get(size.next_multiple_of(4)..).unwrap_or(&[]) }))
    }
}

/// The messages in a received datagram, which may hold many.
///
/// A length that points outside the buffer ends the walk: nothing the other side says is believed further than the
/// bytes that are really there.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = read_u32(rest, 0)? as usize;
        if length < HEADER {
            return None;
        }
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Received {
            kind: read_u16(message, 4)?,
            flags: read_u16(message, 6)?,
            sequence: read_u32(message, 8)?,
            body: &message[HEADER..],
        })
    })
}

/// A walk over attributes: pairs of a type and a value.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes inside a value that is nested.
    pub fn inside(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// The value of the first attribute of `kind`.
    pub fn find_kind(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(read_u16(self.rest, 0)?);
        // The two highest bits say "nested" and "network byte order"; the type is the rest.
        let kind = read_u16(self.rest, 2)? & 0x3fff;
        let value = self.rest.get(ATTRIBUTE..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// The text in a value, without the NUL that ends it.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Sixteen bits at `offset`, in the machine's byte order, if they are there.
pub fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

/// Thirty-two bits at `offset`, in the machine's byte order, if they are there.
pub fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_is_its_header_and_padded_attributes() {
        let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &[7; 16]);
        message.text(libc::IFLA_IFNAME, "eth0").u32(libc::IFLA_MTU, 1500);
        #[rustfmt::skip]
        let expected = [
            52, 0, 0, 0,   16, 0,   5, 0,   9, 0, 0, 0,   0, 0, 0, 0,
            7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            9, 0,   3, 0,   b'e', b't', b'h', b'0', 0,   0, 0, 0,
            8, 0,   4, 0,   0xdc, 5, 0, 0,
        ];
        assert_eq!(message.finish(9), expected);
    }

    #[test]
    fn a_nested_attribute_counts_what_is_inside() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &[]);
        message.nested(18, |info| {
            info.text(1, "bridge").nested(2, |data| {
                data.u32(1, 0);
            });
        });
        #[rustfmt::skip]
        let expected = [
            28, 0,   18, 0,
            11, 0,   1, 0,   b'b', b'r', b'i', b'd', b'g', b'e', 0,   0,
            12, 0,   2, 0,   8, 0,   1, 0,   0, 0, 0, 0,
        ];
        assert_eq!(message.finish(1)[HEADER..], expected);
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &[1, 2, 3, 4]);
        message.text(3, "lo").u32(4, 65536);
        let bytes = message.finish(77);
        let received = messages(&bytes).next().unwrap();
        assert_eq!((received.kind, received.sequence), (libc::RTM_NEWLINK, 77));
        let (fixed, attributes) = received.split(4).unwrap();
        assert_eq!(fixed, [1, 2, 3, 4]);
        assert_eq!(text(attributes.find_kind(3).unwrap()), "lo");
        assert_eq!(read_u32(attributes.find_kind(4).unwrap(), 0), Some(65536));
        assert_eq!(attributes.find_kind(5), None);
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        assert_eq!(messages(&[200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&[16, 0]).count(), 0);
        assert_eq!(Attributes::inside(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(Attributes::inside(&[9, 0, 1, 0, 5]).count(), 0);
    }
}
