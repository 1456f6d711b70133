//! Narration: every wrapper of a kernel call says what it is about to do, for `--explain`.
//!
//! A wrapper calls [`step!`](crate::step). In the parent that is one `tracing` event of target
//! [`TARGET`]; with no subscriber it costs one relaxed load. In a child between clone and exec
//! no subscriber may be touched (it could hold a lock that nobody will ever release), so there the
//! same macro formats the record into a bounded buffer and sends it down the parent's channel;
//! the parent emits it in the child's place.

use std::fmt::{self, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use serde::{Deserialize, Serialize};

/// The `tracing` target of every narrated step.
pub const TARGET: &str = "cooper::step";

/// One narrated kernel call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The chapter that owns the wrapper, 1 to 16.
    pub chapter: u8,
    /// The kernel call, by its manual page's name.
    pub call: String,
    /// What it acts on, with the real values.
    pub subject: String,
    /// Why, in a few words.
    pub purpose: String,
    /// Where to read more: `pivot_root(2)`.
    pub man: String,
    /// When, where that was not the moment of hearing it: a child's steps are heard later than they are taken. Nanoseconds
    /// of the monotonic clock, which parent and child share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Where narration goes from this process: the parent's subscriber, nowhere, or a descriptor.
const TO_SUBSCRIBER: RawFd = -1;
const TO_NOBODY: RawFd = -2;
static SINK: AtomicI32 = AtomicI32::new(TO_SUBSCRIBER);

/// Whether anybody listens to the narration of this process.
pub fn wanted() -> bool {
    match SINK.load(Ordering::Relaxed) {
        TO_SUBSCRIBER => tracing::enabled!(target: TARGET, tracing::Level::INFO),
        TO_NOBODY => false,
        _ => true,
    }
}

/// Called by a fresh child: from here on steps go down `channel`, or nowhere.
pub(crate) fn from_child(channel: Option<BorrowedFd<'_>>) {
    SINK.store(channel.map_or(TO_NOBODY, |fd| fd.as_raw_fd()), Ordering::Relaxed);
}

/// Tells one step. Use the [`step!`](crate::step) macro, which formats only when somebody listens.
#[doc(hidden)]
pub fn tell(chapter: u8, call: &'static str, man: &'static str, purpose: &'static str, subject: fmt::Arguments<'_>) {
    match SINK.load(Ordering::Relaxed) {
        TO_SUBSCRIBER => tracing::event!(
            target: TARGET, tracing::Level::INFO,
            chapter, call, subject = %subject, purpose, man,
        ),
        TO_NOBODY => {}
        fd => {
            let mut text = Bounded::default();
            // A subject that is too long is cut, never an error.
            let _ = text.write_fmt(subject);
            let told = Told {
                chapter,
                call: call.to_owned(),
                subject: text.as_str().to_owned(),
                purpose: purpose.to_owned(),
                man: man.to_owned(),
                at: Some(now()),
            };
            crate::channel::told_by_child(fd, told);
        }
    }
}

impl Told {
    /// Emits a child's record in this process.
    pub fn emit(&self) {
        tracing::event!(
            target: TARGET, tracing::Level::INFO,
            chapter = self.chapter, call = self.call.as_str(), subject = %self.subject,
            purpose = self.purpose.as_str(), man = self.man.as_str(), at = self.at.unwrap_or_else(now),
        );
    }
}

/// A string of at most 1,024 bytes on the stack.
struct Bounded {
    bytes: [u8; 1024],
    length: usize,
}

impl Default for Bounded {
    fn default() -> Self {
        Self { bytes: [0; 1024], length: 0 }
    }
}

impl Bounded {
    fn as_str(&self) -> &str {
        let bytes = &self.bytes[..self.length];
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.length;
        let taken = text.len().min(room);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

/// Narrates one kernel call just before it is made.
///
/// ```
/// # let path = std::path::Path::new("/tmp/x");
/// process::step!(3, "pivot_root", "pivot_root(2)", "make the image's directory the root", "{}", path.display());
/// ```
///
/// Arguments: the chapter, the call, its manual page, the purpose, then the subject as `format!` takes it.
#[macro_export]
macro_rules! step {
    ($chapter:literal, $call:expr, $man:literal, $purpose:expr, $($subject:tt)+) => {
        if $crate::narrate::wanted() {
            $crate::narrate::tell($chapter, $call, $man, $purpose, ::std::format_args!($($subject)+));
        }
    };
}
