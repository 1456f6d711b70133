//! `lab grade`, for instructors: many submissions at once, each inside a container of Cooper's own.
//!
//! Whoever builds and runs a submission executes what a stranger wrote. So everything of it, the compiler's run and the checks',
//! happens in a container: an ordinary user without capabilities, no network, everything read-only but one directory in
//! memory, and bounds on memory, processes, processor and time. A submission that crashes, never ends or fills what it can
//! costs its own points and nobody else's.
//!
//! ```text
//! lab grade ──┬─ cooper run ── lab inside grade ──┬─ cargo build
//!             ├─ cooper run ── ...                └─ the harness of `lab check`, in namespaces below the container's
//!             └─ (one for each processor)
//! ```
//!
//! What all have in common, the dependencies and the chapters with their holes, is compiled once ([`ground`]). A container sees it
//! read-only, lays the submission's files over it, and compiles what differs.
//!
//! In reading order: [`submission`], [`ground`], [`engine`], [`inside`], [`report`].

pub mod engine;
pub mod ground;
pub mod inside;
pub mod report;
pub mod submission;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::exercise::Exercise;
use crate::verdict::Verdict;
use crate::workspace::Workspace;
use engine::{Engine, Purpose};
use ground::Ground;
use submission::Submission;

/// How to grade.
#[derive(Debug)]
pub struct Rules {
    /// The exercises that count.
    pub exercises: Vec<Exercise>,
    /// What containers are run with.
    pub engine: Engine,
    /// How many at once.
    pub jobs: usize,
    /// The longest that one submission may take.
    pub patience: Duration,
}

/// What became of one exercise of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was checked.
    Checked(Verdict),
    /// It was not: why.
    NotChecked(String),
}

/// A submission with its grades.
#[derive(Debug, Clone)]
pub struct Graded {
    /// Its name: that of its directory.
    pub name: String,
    /// Each exercise of the rules, in their order.
    pub outcomes: Vec<(Exercise, Outcome)>,
    /// How long it took.
    pub took: Duration,
    /// What is to be said about the whole: that it was ended, that it is none.
    pub note: Option<String>,
}

impl Graded {
    /// The points that it has.
    pub fn points(&self) -> u32 {
        let passed = self.outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Checked(Verdict::Passed));
        passed.map(|(exercise, _)| exercise.points).sum()
    }

    /// The points that there are.
    pub fn of(&self) -> u32 {
        self.outcomes.iter().map(|(exercise, _)| exercise.points).sum()
    }
}

/// Grades all directories; tells `seen` of each as soon as it is done. What comes back is in the order of the directories.
///
/// # Errors
/// No submission can be graded: containers cannot be run, or what all have in common does not compile. What is wrong with one submission
/// stands in its [`Graded::note`].
pub fn grade(
    workspace: &Workspace,
    directories: &[PathBuf],
    rules: &Rules,
    seen: impl Fn(&Graded) + Sync,
) -> Result<Vec<Graded>> {
    let submissions = submission::named(directories)?;
    ensure!(!rules.exercises.is_empty(), "no exercise to grade");
    let ground = Ground::prepare(workspace, &rules.engine, &rules.exercises)?;
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Graded>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..rules.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(submission) = submissions.get(index) else { break };
                    let begun = Instant::now();
                    let mut graded = one(&ground, rules, submission, index);
                    graded.took = begun.elapsed();
                    seen(&graded);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(index, graded);
                }
            });
        }
    });
    rules.engine.clear()?;
    Ok(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect())
}

/// One submission; whatever happens is part of its grade.
fn one(ground: &Ground, rules: &Rules, submission: &Submission, index: usize) -> Graded {
    let graded = |verdicts: BTreeMap<String, Outcome>, note: Option<String>| {
        let outcome = |exercise: &Exercise| match verdicts.get(&exercise.id) {
            Some(outcome) => outcome.clone(),
            None => {
                Outcome::NotChecked(note.clone().unwrap_or_else(|| "the container said nothing about it".to_owned()))
            }
        };
        let outcomes = rules.exercises.iter().map(|exercise| (exercise.clone(), outcome(exercise))).collect();
        Graded { name: submission.name.clone(), outcomes, took: Duration::ZERO, note: note.clone() }
    };
    match contained(ground, rules, submission, index) {
        Ok((verdicts, note)) => graded(verdicts, note),
        Err(error) => graded(BTreeMap::new(), Some(format!("{error:#}"))),
    }
}

fn contained(
    ground: &Ground,
    rules: &Rules,
    submission: &Submission,
    index: usize,
) -> Result<(BTreeMap<String, Outcome>, Option<String>)> {
    let place = tempfile::Builder::new().prefix("submission-").tempdir_in(ground.place()).context("no directory")?;
    submission.copy(place.path(), &ground.house())?;
    rules.engine.admit(place.path())?;
    let plan = inside::Plan { exercises: rules.exercises.iter().map(|exercise| exercise.id.clone()).collect() };
    let purpose = Purpose::Grade { ground, submission: place.path(), plan: serde_json::to_string(&plan)? };
    let ran = rules.engine.run(&format!("submission-{index}"), &purpose, rules.patience)?;
    let verdicts = inside::read(&ran.out);
    let complete = verdicts.len() == rules.exercises.len();
    Ok((verdicts, if complete { None } else { Some(ran.why()) }))
}
