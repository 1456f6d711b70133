//! The outcome of a check, in the reader's words: what was expected of the kernel, what was found, and where the book
//! explains it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The kernel agrees.
    Passed,
    /// It does not.
    Failed(Failure),
    /// The check could not be run on this machine. Never the same as passed.
    Skipped(String),
}

/// Why an answer is not right yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exercise.
    pub id: String,
    /// The failure in a few words.
    pub summary: String,
    /// What was expected of the kernel.
    pub expected: String,
    /// What was found; may have several lines.
    pub found: String,
    /// Why that matters, and the place in the book.
    pub because: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Further lines stand below the first one.
        let below = |text: &str| text.trim_end().replace('\n', "\n            ");
        writeln!(f, "{}: {}", self.id, self.summary)?;
        writeln!(f, "  expected  {}", below(&self.expected))?;
        writeln!(f, "  found     {}", below(&self.found))?;
        write!(f, "  because   {}", below(&self.because))
    }
}

/// What a question ends with, unless the answer is right.
#[derive(Debug)]
pub enum Stop {
    /// The reader's answer is not right yet. The exercise's id is filled in later.
    Wrong(Failure),
    /// The harness could not find out.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// What a question says.
pub type Asked = Result<(), Stop>;

/// An answer that is wrong.
pub fn wrong(summary: &str, expected: impl Into<String>, found: impl Into<String>, because: &str) -> Stop {
    Stop::Wrong(Failure {
        id: String::new(),
        summary: summary.to_owned(),
        expected: expected.into(),
        found: found.into(),
        because: because.to_owned(),
    })
}
