//! Exercises that are holes in the real code.
//!
//! A hole is a whole function body of the engine. `lab init` copies the workspace and empties the holes; the reader fills
//! them in; `lab check` builds just what the exercise needs, runs it inside a namespace of its own, and asks the *kernel*
//! what it did. Nothing is written twice: the starter, the solution and the book's excerpt are the one function.
//!
//! In reading order:
//!
//! 1. [`workspace`]: where the sources are: Cooper's own, or a reader's copy.
//! 2. [`exercise`]: a chapter's `lab.toml`.
//! 3. [`hole`]: finding a function's body by syntax tree, emptying it, filling it.
//! 4. [`starter`]: `lab init` and `lab reset`.
//! 5. [`sandbox`]: the namespace in which a reader's program runs, and its bounds.
//! 6. [`scene`] and [`observation`]: what a check has at hand there, and what can be seen from outside.
//! 7. [`question`]: what each check asks the kernel.
//! 8. [`verdict`]: the outcome, told in the reader's words.
//! 9. [`check`]: build, ask, judge.
//! 10. [`progress`] and [`watch`]: how far a reader has come, and the loop that goes along.
//! 11. [`verify`], [`export`] and [`grade`]: for authors and instructors.
//! 12. [`doctor`]: what this machine can run.

pub mod check;
pub mod doctor;
pub mod exercise;
pub mod export;
pub mod grade;
pub mod hole;
pub mod observation;
pub mod progress;
pub mod question;
pub mod sandbox;
pub mod scene;
pub mod starter;
mod sys;
pub mod verdict;
pub mod verify;
pub mod watch;
pub mod workspace;

/// For a program that does nothing but print from here on (`lab list | head`): it ends quietly when nobody reads any more.
pub fn end_by_broken_pipe() {
    sys::end_by_broken_pipe();
}
