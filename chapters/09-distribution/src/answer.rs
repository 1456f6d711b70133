//! An answer of a server: bounded, and never trusted to be printable.

use std::io::Read;

use serde_json::Value;
use ureq::Body;
use ureq::http::{Response, Uri};

use crate::address::Origin;
use crate::busy;
use crate::conversation::Conversation;
use crate::error::{Error, Result};
use crate::pace::Paced;

/// Most that is read of an error's body, in bytes.
const LARGEST_ERROR: u64 = 64 << 10;

/// Longest message of a registry that is passed on, in characters.
const LONGEST_MESSAGE: usize = 300;

/// An answer, and where it came from in the end.
pub(crate) struct Answer {
    pub(crate) url: Uri,
    pub(crate) origin: Origin,
    /// The `Authorization` that the request carried.
    pub(crate) shown: Option<String>,
    response: Response<Body>,
}

impl Answer {
    pub(crate) fn new(response: Response<Body>, url: Uri, origin: Origin, shown: Option<String>) -> Answer {
        Answer { url, origin, shown, response }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The first value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All values of a header that are text.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The body, of which no more than `limit` bytes are accepted.
    pub(crate) fn bytes(mut self, conversation: &Conversation, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.body(conversation, limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| conversation.unreachable(&self.origin, ureq::Error::Io(error)))?;
        if bytes.len() as u64 > limit {
            return Err(conversation.broken(&format!("{} has more than {limit} bytes", self.url.path())));
        }
        Ok(bytes)
    }

    /// The body as a stream, for content whose size is known from elsewhere.
    pub(crate) fn into_reader(self, conversation: &Conversation) -> impl Read + Send + use<> {
        let options = &conversation.client.options;
        Paced::new(self.response.into_body().into_reader(), options.slowest, options.stall)
    }

    /// Reads a short body to its end and forgets it.
    pub(crate) fn drain(&mut self, conversation: &Conversation) {
        // If that fails the connection is not used again, and nothing else changes.
        let _ = std::io::copy(&mut self.body(conversation, LARGEST_ERROR), &mut std::io::sink());
    }

    fn body(&mut self, conversation: &Conversation, limit: u64) -> impl Read {
        let options = &conversation.client.options;
        Paced::new(self.response.body_mut().as_reader(), options.slowest, options.stall).take(limit)
    }

    /// The error that an unexpected status means.
    pub(crate) fn refusal(mut self, conversation: &Conversation, operation: &'static str) -> Error {
        let status = self.status();
        let mut message = self.message(conversation);
        if matches!(status, 429 | 503) {
            message.push_str(&busy::limits(|name| self.header(name)));
        }
        let (object, host) = (conversation.object.clone(), self.host(conversation));
        match status {
            401 | 403 => Error::Unauthorized { object, host, status, message },
            _ => Error::Status { operation, object, host, status, message },
        }
    }

    /// What the server says about an error: the specification's JSON, or else the status.
    pub(crate) fn message(&mut self, conversation: &Conversation) -> String {
        let mut bytes = Vec::new();
        // Half a message is better than none.
        let _ = self.body(conversation, LARGEST_ERROR).read_to_end(&mut bytes);
        let from_json = serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| error_text(&value));
        let reason = self.response.status().canonical_reason().unwrap_or("unknown status");
        // Go's servers say this in plain text to whoever does not encrypt.
        let plain = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("HTTP request to an HTTPS server"));
        printable(from_json.as_deref().or(plain.map(str::trim)).unwrap_or(reason))
    }

    /// Who answered, as a person would call it.
    pub(crate) fn host(&self, conversation: &Conversation) -> String {
        if self.origin == conversation.origin { conversation.registry.clone() } else { self.origin.to_string() }
    }

    pub(crate) fn narrate(&self) {
        if !process::narrate::wanted() {
            return;
        }
        let status = self.response.status();
        let mut subject = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
        for name in ["www-authenticate", "location", "content-type", "docker-content-digest", "content-length"] {
            if let Some(value) = self.header(name) {
                // What follows the question mark may be a signature.
                let value = if name == "location" { value.split('?').next().unwrap_or(value) } else { value };
                subject.push_str(&format!("; {name}: {}", printable(value)));
            }
        }
        process::narrate::tell(9, "answer", "distribution-spec", "the server says", format_args!("{subject}"));
    }
}

/// `{"errors":[{"code","message"}]}`, or the token servers' `{"details"}` and `{"error"}`.
fn error_text(value: &Value) -> Option<String> {
    if let Some(first) = value.get("errors").and_then(|errors| errors.get(0)) {
        let text = |name: &str| first.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        return text("message").or_else(|| text("code")).map(str::to_owned);
    }
    ["error_description", "details", "message", "error"]
        .iter()
        .find_map(|name| value.get(name).and_then(Value::as_str))
        .map(str::to_owned)
}

/// A stranger's text made safe for a terminal, and short: no character that moves the cursor, and none that turns around
/// or hides what stands beside it.
pub(crate) fn printable(text: &str) -> String {
    let unseen =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || unseen(c) { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable("moc.\u{202e}x"), "moc. x");
        assert_eq!(printable(&"x".repeat(10_000)).len(), LONGEST_MESSAGE);
    }

    #[test]
    fn messages_are_found_in_the_forms_that_servers_use() {
        for (json, text) in [
            (r#"{"errors":[{"code":"C","message":"m"}]}"#, Some("m")),
            (r#"{"errors":[{"code":"C","message":""}]}"#, Some("C")),
            (r#"{"errors":[]}"#, None),
            (r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password")),
            (r#"[1]"#, None),
        ] {
            let value = serde_json::from_str(json).unwrap_or_default();
            assert_eq!(error_text(&value).as_deref(), text, "{json}");
        }
    }
}
