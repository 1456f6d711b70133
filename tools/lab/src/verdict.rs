//! What an observation means, in the reader's words: what was expected of the kernel, what was found, and where the book
//! explains it.

use std::fmt;

use crate::exercise::{Exercise, Question};
use crate::observation::{Observation, what};

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel agrees.
    Passed,
    /// It does not.
    Failed(Failure),
    /// The check could not be run on this machine. Never the same as passed.
    Skipped(String),
}

/// Why an answer is not right yet.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let found = self.found.trim_end().replace('\n', "\n            ");
        writeln!(f, "{}: {}", self.id, self.summary)?;
        writeln!(f, "  expected  {}", self.expected)?;
        writeln!(f, "  found     {found}")?;
        write!(f, "  because   {}", self.because)
    }
}

/// Judges what was seen.
pub fn judge(exercise: &Exercise, seen: &Observation) -> Verdict {
    if let Some(ended) = &seen.ended {
        return Verdict::Failed(never_lived(exercise, seen, ended));
    }
    let failure = match exercise.question {
        Question::RootIsItsOwn => root_is_its_own(seen),
    };
    match failure {
        None => Verdict::Passed,
        Some(failure) => Verdict::Failed(Failure { id: exercise.id.clone(), ..failure }),
    }
}

/// The reader's program ended before there was a container to look at.
fn never_lived(exercise: &Exercise, seen: &Observation, ended: &str) -> Failure {
    let unwritten = format!("{}: see chapter", exercise.hole);
    let number = exercise.number();
    let (summary, because) = match seen.errors.contains(&unwritten) {
        true => (
            "your function is not written yet".to_owned(),
            format!("`todo!()` still stands in {} (chapter {number})", exercise.source().display()),
        ),
        false => (
            "your container never came up".to_owned(),
            format!("its init stopped before it became the command (chapter {number}, \"The code\")"),
        ),
    };
    let said = telling_lines(&seen.errors);
    let found = if said.is_empty() { ended.to_owned() } else { format!("{ended}\n{said}") };
    let expected = "a process with a mount namespace of its own, running the command".to_owned();
    Failure { id: exercise.id.clone(), summary, expected, found, because }
}

/// The lines of an error output that tell something: no backtraces, at most six.
fn telling_lines(errors: &str) -> String {
    let lines = errors.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note: run with"));
    lines.take(6).collect::<Vec<_>>().join("\n")
}

fn root_is_its_own(seen: &Observation) -> Option<Failure> {
    let is_host_root = |line: &&String| what(line).is_some() && what(line) == what(&seen.host_root);
    let failure = |summary: &str, expected: &str, found: &str, because: &str| {
        let [summary, expected, found, because] = [summary, expected, found, because].map(str::to_owned);
        Some(Failure { id: String::new(), summary, expected, found, because })
    };
    if let Some(line) = seen.inside.iter().find(is_host_root) {
        return failure(
            "your container still sees the host's root",
            "no mount of the host's / in /proc/1/mountinfo",
            line,
            "after pivot_root the old root stays mounted until you detach it (chapter 3, \"Letting go\")",
        );
    }
    if let Some(line) = seen.namespace.iter().find(is_host_root) {
        return failure(
            "your container only looks away from the host's root",
            "no mount of the host's / at the root of its mount namespace",
            line,
            "chroot changes what one process calls /, the mount namespace keeps the host's tree (chapter 3, \"Why not chroot\")",
        );
    }
    if seen.marker_reachable {
        return failure(
            "a file of the host can be opened in your container",
            "ENOENT for a file that lies outside the new root",
            "it was opened, from the root of the mount namespace",
            "some mount of the host is still there (chapter 3, \"Letting go\")",
        );
    }
    None
}
