//! D-Bus messages: as much of the format as one conversation with systemd needs.
//!
//! ```text
//! 'l' type flags 1 | length of the body | serial | header fields | filled up to 8 | body
//! ```
//!
//! Every value stands at a multiple of its own size, counted from the message's first byte; a text is its length, its bytes
//! and a zero; an array is its length in bytes and its elements. Which values a body has is said by its signature:
//! `s` text, `o` path of an object, `u` and `t` numbers of 32 and 64 bits, `b` yes or no, `a` an array, `()` a structure,
//! `v` a value with its own signature before it.
//!
//! # References
//! D-Bus Specification, "Type System", "Message Protocol"

/// The kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Answer,
    Error,
    Signal,
}

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `s`
    Text(String),
    /// `b`
    Flag(bool),
    /// `t`
    Number(u64),
    /// `au`
    Numbers(Vec<u32>),
}

/// A call's arguments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    signature: String,
    bytes: Writer,
}

impl Body {
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.bytes.text(text);
        self
    }

    /// `a(sv)`
    pub(crate) fn properties(mut self, properties: &[(&str, Value)]) -> Self {
        self.signature.push_str("a(sv)");
        self.bytes.array(8, |bytes| {
            for (name, value) in properties {
                bytes.align(8);
                bytes.text(name);
                bytes.variant(value);
            }
        });
        self
    }

    /// `a(sa(sv))`: the last argument of StartTransientUnit, which nobody uses.
    pub(crate) fn no_auxiliary_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.bytes.array(8, |_| {});
        self
    }
}

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) destination: &'a str,
    pub(crate) object: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
}

/// A call, ready to be sent.
pub(crate) fn call(serial: u32, target: Target<'_>, body: &Body) -> Vec<u8> {
    let mut message = Writer::default();
    message.0.extend([b'l', 1, 0, 1]);
    message.number(body.bytes.0.len() as u32);
    message.number(serial);
    message.array(8, |fields| {
        fields.field(1, 'o', target.object);
        fields.field(2, 's', target.interface);
        fields.field(3, 's', target.member);
        fields.field(6, 's', target.destination);
        if !body.signature.is_empty() {
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(&body.signature);
        }
    });
    message.align(8);
    message.0.extend(&body.bytes.0);
    message.0
}

/// Bytes being written. The first one is at a multiple of 8.
#[derive(Debug, Clone, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// The length does not count what is filled in before the first element.
    fn array(&mut self, align: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        elements(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn field(&mut self, code: u8, kind: char, value: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(&kind.to_string());
        self.text(value);
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.number(u32::from(*flag));
            }
            Value::Number(number) => {
                self.signature("t");
                self.align(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Numbers(list) => {
                self.signature("au");
                self.array(4, |bytes| list.iter().for_each(|number| bytes.number(*number)));
            }
        }
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Which call this answers.
    pub(crate) answers: Option<u32>,
    /// A signal's or an error's name.
    pub(crate) name: String,
    signature: String,
    body: Vec<u8>,
}

/// The bytes before the header fields' own.
pub(crate) const FIXED: usize = 16;
/// No message of systemd's that concerns us is near this.
const LARGEST: usize = 1 << 20;

/// How many bytes follow the first [`FIXED`] ones.
///
/// # Errors
/// The reason, if this is no message.
pub(crate) fn rest_of(first: &[u8; FIXED]) -> Result<usize, &'static str> {
    if first[0] != b'l' || first[3] != 1 {
        return Err("no message of version 1 in the order of bytes that was asked in");
    }
    let number = |at: usize| u32::from_le_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]) as usize;
    let (body, fields) = (number(4), number(12));
    match body > LARGEST || fields > LARGEST {
        true => Err("a message of more than a MiB"),
        false => Ok(fields.next_multiple_of(8) + body),
    }
}

impl Message {
    /// Reads a whole message.
    ///
    /// # Errors
    /// The reason, if it is malformed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Answer,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => return Err("a message of no known kind"),
        };
        let mut reader = Reader { bytes, at: 12 };
        let end = reader.number()? as usize + FIXED;
        let mut message = Self { kind, answers: None, name: String::new(), signature: String::new(), body: Vec::new() };
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            match (code, reader.signature()?.as_str()) {
                (5, "u") => message.answers = Some(reader.number()?),
                (3 | 4, "s") => message.name = reader.text()?,
                (8, "g") => message.signature = reader.signature()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.number()?),
                (_, "g") => drop(reader.signature()?),
                _ => return Err("a header field of an unknown type"),
            }
        }
        reader.align(8);
        message.body = bytes.get(reader.at..).ok_or("it ends in its header")?.to_owned();
        Ok(message)
    }

    /// The texts and paths among the arguments, in order; numbers are passed over.
    ///
    /// # Errors
    /// Arguments of other types, before which nothing can be found.
    pub(crate) fn texts(&self) -> Result<Vec<String>, &'static str> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut texts = Vec::new();
        for kind in self.signature.chars() {
            match kind {
                's' | 'o' => texts.push(reader.text()?),
                'u' => drop(reader.number()?),
                'v' if reader.signature()? == "s" => texts.push(reader.text()?),
                _ => return Err("arguments of types that were not expected"),
            }
        }
        Ok(texts)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, size: usize) {
        self.at = self.at.next_multiple_of(size);
    }

    fn take(&mut self, length: usize) -> Result<&[u8], &'static str> {
        let end = self.at.checked_add(length).ok_or("a length past all bounds")?;
        let taken = self.bytes.get(self.at..end).ok_or("it is cut off")?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = self.number()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Result<String, &'static str> {
        let length = self.byte()?.into();
        self.ended(length)
    }

    /// So many bytes, and a zero.
    fn ended(&mut self, length: usize) -> Result<String, &'static str> {
        let text = String::from_utf8(self.take(length)?.to_owned()).map_err(|_| "a text that is none")?;
        self.byte()?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_call_is_written_byte_by_byte_as_the_specification_has_it() {
        let target = Target { destination: "d.e", object: "/o", interface: "i.f", member: "M" };
        let properties = [("PIDs", Value::Numbers(vec![7])), ("Delegate", Value::Flag(true))];
        let bytes = call(9, target, &Body::default().text("unit").properties(&properties).no_auxiliary_units());
        let expected: &[&[u8]] = &[
            // 64 bytes of body, serial 9, 85 bytes of fields
            b"l\x01\x00\x01\x40\0\0\0\x09\0\0\0\x55\0\0\0",
            b"\x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0",
            b"\x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0",
            b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0",
            b"\x06\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
            b"\x08\x01g\0\x0fsa(sv)a(sa(sv))\0",
        ];
        assert_eq!(bytes[..expected.concat().len()], expected.concat()[..]);
        let body = &bytes[bytes.len() - 0x40..];
        assert_eq!(body[..16], *b"\x04\0\0\0unit\0\0\0\0\x2c\0\0\0");
    }

    #[test]
    fn what_came_is_read_and_what_is_cut_off_is_not() {
        let mut bytes = Writer(b"l\x04\0\x01\0\0\0\0\x07\0\0\0".to_vec());
        bytes.array(8, |fields| {
            fields.field(1, 'o', "/org/freedesktop/systemd1");
            fields.field(3, 's', "JobRemoved");
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature("uoss");
        });
        bytes.align(8);
        let start = bytes.0.len();
        bytes.number(3);
        for text in ["/job/3", "x.scope", "done"] {
            bytes.text(text);
        }
        let length = (bytes.0.len() - start) as u32;
        bytes.0[4..8].copy_from_slice(&length.to_le_bytes());
        let first: [u8; FIXED] = bytes.0[..FIXED].try_into().unwrap();
        assert_eq!(rest_of(&first).unwrap(), bytes.0.len() - FIXED);
        let message = Message::read(&bytes.0).unwrap();
        assert_eq!((message.kind, &*message.name), (Kind::Signal, "JobRemoved"));
        assert_eq!(message.texts().unwrap(), ["/job/3", "x.scope", "done"]);
        for end in 0..bytes.0.len() {
            let read = Message::read(&bytes.0[..end]).and_then(|message| message.texts());
            assert!(read.is_err(), "{end} bytes were enough");
        }
    }
}
