//! What a person who waits is told.
//!
//! Pull and push say *what happens* to each layer; how that looks is decided here: not at all
//! ([`Silent`]), as lines for a log ([`Lines`]), or as bars for a terminal ([`Bars`]). Layers
//! move at the same time, so every method may be called from several threads.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use layers::Digest;

/// What happens to one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It will have to move; its size in bytes.
    Waiting(u64),
    /// So many bytes have moved by now.
    Moved(u64),
    /// The connection broke, and this is the next attempt (from 2).
    Retry(u32),
    /// Another pull is bringing it in; this one waits for that.
    Shared,
    /// Nothing to do: it is here already.
    Present,
    /// Nothing to send: the registry has it already.
    AtRegistry,
    /// Nothing to send: the registry took it from another repository of its own.
    Mounted,
    /// It has been stored and extracted.
    Pulled,
    /// The registry has it.
    Pushed,
}

/// Somebody who wants to know how a pull or push goes on.
pub trait Progress: Sync {
    /// A fact about the whole: what a name means, what the result is.
    fn note(&self, text: &str);

    /// Something happens to a blob.
    fn blob(&self, digest: &Digest, stage: Stage);
}

/// Tells nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn note(&self, _: &str) {}
    fn blob(&self, _: &Digest, _: Stage) {}
}

/// One line for each change, none for mere bytes: for logs and pipes, as `docker pull` writes
/// when its output is no terminal.
#[derive(Debug)]
pub struct Lines<W> {
    out: Mutex<W>,
}

impl Lines<io::Stderr> {
    /// Lines on standard error, so that standard output stays the result's.
    pub fn stderr() -> Self {
        Lines::to(io::stderr())
    }
}

impl<W: Write> Lines<W> {
    /// Lines to a writer.
    pub fn to(out: W) -> Self {
        Lines { out: Mutex::new(out) }
    }

    /// The writer, with what was written.
    pub fn into_inner(self) -> W {
        self.out.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        // Whoever closed the pipe does not want to know; the work goes on.
        let _ = writeln!(locked(&self.out), "{text}");
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn note(&self, text: &str) {
        self.line(text);
    }

    fn blob(&self, digest: &Digest, stage: Stage) {
        if !matches!(stage, Stage::Moved(_)) {
            self.line(&format!("{}: {}", digest.short(), words(stage)));
        }
    }
}

/// A bar for each layer that moves.
#[derive(Debug, Default)]
pub struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    /// Bars on standard error.
    pub fn new() -> Self {
        Self::default()
    }

    fn bar(&self, digest: &Digest) -> ProgressBar {
        let mut bars = locked(&self.bars);
        let made = bars.entry(*digest).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_prefix(digest.short());
            bar
        });
        made.clone()
    }
}

impl Progress for Bars {
    fn note(&self, text: &str) {
        // Where there is no terminal any more there is nobody to tell.
        let _ = self.all.println(text);
    }

    fn blob(&self, digest: &Digest, stage: Stage) {
        let bar = self.bar(digest);
        match stage {
            Stage::Waiting(size) => {
                bar.set_length(size);
                bar.set_style(style("{prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {msg}"));
            }
            Stage::Moved(bytes) => bar.set_position(bytes),
            Stage::Retry(_) | Stage::Shared => bar.set_message(words(stage)),
            _ => {
                bar.set_style(style("{prefix} {msg}"));
                bar.finish_with_message(words(stage));
            }
        }
    }
}

/// The words of one stage, the same wherever they are read.
fn words(stage: Stage) -> String {
    match stage {
        Stage::Waiting(size) => format!("waiting ({size} bytes)"),
        Stage::Moved(bytes) => format!("{bytes} bytes"),
        Stage::Retry(attempt) => format!("connection lost, attempt {attempt}"),
        Stage::Shared => "waiting for another pull".to_owned(),
        Stage::Present => "already here".to_owned(),
        Stage::AtRegistry => "already there".to_owned(),
        Stage::Mounted => "mounted from another repository".to_owned(),
        Stage::Pulled => "pulled".to_owned(),
        Stage::Pushed => "pushed".to_owned(),
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a broken one would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// A panic of another thread spoils no bar.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_changes_and_not_every_byte() {
        let lines = Lines::to(Vec::new());
        let digest = Digest::of(b"");
        lines.note("resolved");
        for stage in [Stage::Waiting(7), Stage::Moved(3), Stage::Retry(2), Stage::Moved(7), Stage::Pulled] {
            lines.blob(&digest, stage);
        }
        let text = String::from_utf8(lines.into_inner()).unwrap();
        insta::assert_snapshot!(text, @r"
        resolved
        e3b0c44298fc: waiting (7 bytes)
        e3b0c44298fc: connection lost, attempt 2
        e3b0c44298fc: pulled
        ");
    }
}
