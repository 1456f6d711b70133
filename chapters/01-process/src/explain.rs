//! `--explain`: the subscriber that turns narrated steps into a story or into JSON lines.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

use crate::narrate::{self, TARGET, Told};

/// How narration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: chapter, call, subject, purpose, manual page.
    Story,
    /// One JSON object a line, with `at_us`, microseconds since the program began to listen: of a child's steps, when it
    /// took them.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "story" => Ok(Self::Story),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is neither \"story\" nor \"json\"")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Story => "story",
            Self::Json => "json",
        })
    }
}

/// Prints every step of this process from now on to standard error.
///
/// The first call of a process counts; later ones change nothing.
pub fn install(format: Format) {
    install_listener(move |told, at| {
        let line = match format {
            Format::Story => story(told),
            Format::Json => json(told, at.as_micros()),
        };
        // Standard error may be closed; the story is then for nobody.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    });
}

/// Tells every step of this process from now on to `hear`, with the time since now.
///
/// The first call of a process counts, of this and of [`install`]; later ones change nothing.
pub fn install_listener(hear: impl Fn(&Told, Duration) + Send + Sync + 'static) {
    // The only error is that a subscriber is installed already, and then that one stays.
    let _ = tracing::subscriber::set_global_default(Teller { hear, began: narrate::now() });
}

struct Teller<F> {
    hear: F,
    /// Nanoseconds of the monotonic clock.
    began: u64,
}

impl<F: Fn(&Told, Duration) + Send + Sync + 'static> Subscriber for Teller<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut told = Told {
            chapter: 0,
            call: String::new(),
            subject: String::new(),
            purpose: String::new(),
            man: String::new(),
            at: None,
        };
        event.record(&mut told);
        let at = told.at.take().unwrap_or_else(narrate::now);
        (self.hear)(&told, Duration::from_nanos(at.saturating_sub(self.began)));
    }

    // Narration uses no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Told {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "chapter" => self.chapter = u8::try_from(value).unwrap_or_default(),
            "at" => self.at = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "call" => value.clone_into(&mut self.call),
            "purpose" => value.clone_into(&mut self.purpose),
            "man" => value.clone_into(&mut self.man),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "subject" {
            // Writing to a string cannot fail.
            let _ = write!(self.subject, "{value:?}");
        }
    }
}

/// `ch 3  pivot_root   make the image's directory the root: /tmp/x   [pivot_root(2)]`
fn story(told: &Told) -> String {
    let Told { chapter, call, subject, purpose, man, .. } = told;
    let colon = if subject.is_empty() { "" } else { ": " };
    format!("ch {chapter:<2} {call:<18} {purpose}{colon}{subject}  [{man}]\n")
}

fn json(told: &Told, at_us: u128) -> String {
    let mut value = serde_json::json!(told);
    value["at_us"] = serde_json::json!(u64::try_from(at_us).unwrap_or(u64::MAX));
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_as_a_sentence() {
        let told = Told {
            chapter: 3,
            call: "pivot_root".into(),
            subject: "/tmp/x".into(),
            purpose: "change the root".into(),
            man: "pivot_root(2)".into(),
            at: None,
        };
        assert_eq!(story(&told), "ch 3  pivot_root         change the root: /tmp/x  [pivot_root(2)]\n");
    }
}
