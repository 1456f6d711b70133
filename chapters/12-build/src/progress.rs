//! Telling the user what a build does, in the shape that BuildKit taught everybody to read.
//!
//! ```text
//! #5 [2/4] RUN make                 a vertex begins: its number, its place in its stage, its line
//! #5 0.123 cc -o a a.c              its output, with seconds since it began
//! #5 DONE 0.4s                      or: #5 CACHED, or: #5 ERROR: process ... exit code: 2
//! ```
//!
//! A build emits [`Event`]s; what becomes of them is the caller's matter.

use std::io::Write;
use std::time::{Duration, Instant};

/// Something happened. Vertices (steps) are numbered from 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A vertex begins.
    Begin {
        /// Its number.
        vertex: usize,
        /// What it is: `[2/4] RUN make`.
        name: &'a str,
    },
    /// Why its result can, or can not, be taken from the cache.
    Reason {
        /// The vertex.
        vertex: usize,
        /// One line.
        why: &'a str,
    },
    /// It said something, or its command did.
    Output {
        /// The vertex.
        vertex: usize,
        /// How long after its begin; none for remarks of the build itself.
        after: Option<Duration>,
        /// One line without its newline.
        line: &'a str,
    },
    /// Its result was there already.
    Cached {
        /// The vertex.
        vertex: usize,
    },
    /// It is done.
    Done {
        /// The vertex.
        vertex: usize,
        /// How long it took.
        took: Duration,
    },
    /// It failed, and the build with it.
    Failed {
        /// The vertex.
        vertex: usize,
        /// Why, in one line.
        message: &'a str,
    },
}

/// Someone who wants to know.
pub trait Progress {
    /// Takes one event; events come in order.
    fn tell(&mut self, event: Event<'_>);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn tell(&mut self, _event: Event<'_>) {}
}

/// Whether [`Plain`] shows why each step was cached or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasons {
    /// A line `#5 because ...` before the step's end.
    Show,
    /// As `docker build --progress=plain` looks.
    Hide,
}

/// Plain lines, as `docker build --progress=plain` prints them.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    reasons: Reasons,
}

impl<W: Write> Plain<W> {
    /// Lines to `out`.
    pub fn new(out: W, reasons: Reasons) -> Plain<W> {
        Plain { out, reasons }
    }

    fn line(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event {
            Event::Begin { vertex, name } => writeln!(self.out, "#{vertex} {name}"),
            Event::Reason { .. } if self.reasons == Reasons::Hide => Ok(()),
            Event::Reason { vertex, why } => writeln!(self.out, "#{vertex} because {why}"),
            Event::Output { vertex, after: Some(after), line } => {
                writeln!(self.out, "#{vertex} {:.3} {}", after.as_secs_f64(), printable(line))
            }
            Event::Output { vertex, after: None, line } => writeln!(self.out, "#{vertex} {line}"),
            Event::Cached { vertex } => writeln!(self.out, "#{vertex} CACHED\n"),
            Event::Done { vertex, took } => writeln!(self.out, "#{vertex} DONE {:.1}s\n", took.as_secs_f64()),
            Event::Failed { vertex, message } => writeln!(self.out, "#{vertex} ERROR: {message}\n"),
        }?;
        self.out.flush()
    }
}

impl<W: Write> Progress for Plain<W> {
    fn tell(&mut self, event: Event<'_>) {
        // A reader that went away (`| head`) must not fail the build.
        self.line(&event).ok();
    }
}

/// A line that cannot steer the terminal: control characters other than tabs become `?`.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

/// Numbers the vertices of one build and times them.
pub(crate) struct Reporter<'p> {
    progress: &'p mut dyn Progress,
    last: usize,
    began: Instant,
}

impl<'p> Reporter<'p> {
    pub(crate) fn new(progress: &'p mut dyn Progress) -> Reporter<'p> {
        Reporter { progress, last: 0, began: Instant::now() }
    }

    /// Begins the next vertex.
    pub(crate) fn begin(&mut self, name: &str) {
        self.last += 1;
        self.began = Instant::now();
        self.progress.tell(Event::Begin { vertex: self.last, name });
    }

    pub(crate) fn because(&mut self, why: &str) {
        self.progress.tell(Event::Reason { vertex: self.last, why });
    }

    pub(crate) fn remark(&mut self, line: &str) {
        self.progress.tell(Event::Output { vertex: self.last, after: None, line });
    }

    pub(crate) fn output(&mut self, line: &str) {
        let after = Some(self.began.elapsed());
        self.progress.tell(Event::Output { vertex: self.last, after, line });
    }

    pub(crate) fn cached(&mut self) {
        self.progress.tell(Event::Cached { vertex: self.last });
    }

    pub(crate) fn done(&mut self) {
        self.progress.tell(Event::Done { vertex: self.last, took: self.began.elapsed() });
    }

    pub(crate) fn failed(&mut self, message: &str) {
        let message = message.lines().next().unwrap_or(message);
        self.progress.tell(Event::Failed { vertex: self.last, message });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_progress_reads_like_buildkits() {
        let events = [
            Event::Begin { vertex: 5, name: "[2/4] RUN make" },
            Event::Reason { vertex: 5, why: "the command changed" },
            Event::Output { vertex: 5, after: Some(Duration::from_millis(123)), line: "cc\u{7} a.c" },
            Event::Done { vertex: 5, took: Duration::from_millis(420) },
            Event::Cached { vertex: 6 },
            Event::Failed { vertex: 7, message: "exit code: 1" },
        ];
        let shown = |reasons| {
            let mut plain = Plain::new(Vec::new(), reasons);
            events.iter().for_each(|event| plain.tell(event.clone()));
            String::from_utf8(plain.out).unwrap()
        };
        insta::assert_snapshot!(shown(Reasons::Show), @r"
        #5 [2/4] RUN make
        #5 because the command changed
        #5 0.123 cc? a.c
        #5 DONE 0.4s

        #6 CACHED

        #7 ERROR: exit code: 1
        ");
        assert!(!shown(Reasons::Hide).contains("because"));
    }
}
