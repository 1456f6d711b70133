//! `lab verify`, for authors: does each exercise ask what it says it asks?
//!
//! A check that passes everything teaches nothing, and nobody notices. So each exercise is tried four times or more: the
//! starter must fail because it is unwritten, the reference must pass, and each mutant must be caught with its own message.
//!
//! Tries are many, and compiling is what takes time. So all the bodies that are known for a hole are put into it at once,
//! and one variable of the environment chooses among them when the program runs:
//!
//! ```text
//! match LAB_BODY_pivot_root {  "starter" => todo!(..),  "1" => a mutant,  "2" => another,  _ => the reference  }
//! ```
//!
//! Each chapter is compiled once, and a try costs a run. This is done to a copy; no source of Cooper knows of it.
//!
//! The tries of an exercise go the reader's way: what comes before it is solved, and what comes after it is still a
//! hole. So a check that needs a later function is found, too. Since the starters stand side by side with the references in
//! those sources, a workspace full of starters alone is compiled as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};

use crate::check::{ask, cargo, lacking, programs};
use crate::exercise::Exercise;
use crate::starter;
use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// The fewest mutants of an exercise.
const MUTANTS: usize = 2;
/// The starter's name among the bodies of a hole.
const STARTER: &str = "starter";

/// The outcome of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The exercise and what stood in its hole: `pivot-root: mutant chroot`.
    pub name: String,
    /// What the check said.
    pub verdict: Verdict,
    /// What went otherwise than the author says; `None` if all is well.
    pub surprise: Option<String>,
}

/// A try to be made.
struct Try<'a> {
    exercise: &'a Exercise,
    name: String,
    /// The first line that it must fail with; `None` means that it must pass.
    expected: Option<String>,
    environment: Vec<(String, String)>,
}

/// Tries the exercises that `wanted` says with every body that is known for their holes; two at a time.
///
/// # Errors
/// The starters, or a mutant, do not compile.
pub fn verify(workspace: &Workspace, wanted: impl Fn(&Exercise) -> bool) -> Result<Vec<Trial>> {
    let exercises = workspace.exercises()?;
    for exercise in &exercises {
        let count = exercise.mutants.len();
        ensure!(count >= MUTANTS, "{} has {count} mutants, fewer than {MUTANTS}", exercise.id);
    }
    // Always in the same place, so that what the last run compiled need not be compiled again.
    let place = workspace.root().join("target/lab-verify");
    let programs = build(workspace, &place, &exercises)?;
    let tries = tries(&exercises);
    let tries: Vec<&Try<'_>> = tries.iter().filter(|one| wanted(one.exercise)).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Trial>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = tries.get(index) else { break };
                    let trial = attempt(workspace, one, &programs);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(index, trial);
                }
            });
        }
    });
    Ok(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect())
}

fn attempt(workspace: &Workspace, one: &Try<'_>, programs: &BTreeMap<String, PathBuf>) -> Trial {
    let verdict = match lacking(one.exercise) {
        Some(reason) => Verdict::Skipped(reason),
        // A try that could not be made is a finding about that try: the others have been made all the same.
        None => verdict(one, programs).unwrap_or_else(|error| Verdict::Skipped(format!("the harness: {error:#}"))),
    };
    let surprise = surprise(&verdict, one.expected.as_deref()).or_else(|| lost(workspace, &verdict));
    Trial { name: one.name.clone(), verdict, surprise }
}

fn verdict(one: &Try<'_>, programs: &BTreeMap<String, PathBuf>) -> Result<Verdict> {
    let exercise = one.exercise;
    let program = programs.get(&exercise.program()).with_context(|| format!("no {}", exercise.program()))?;
    // The same names in every run, so that what a reader is told can be kept as a snapshot.
    let seed = exercise.id.bytes().fold(0x5eed, |seed: u64, byte| seed.wrapping_mul(131) ^ u64::from(byte));
    ask(exercise, program.clone(), Some(seed), one.environment.clone())
}

/// Every body of every exercise, in the reading order.
fn tries(exercises: &[Exercise]) -> Vec<Try<'_>> {
    let mut tries = Vec::new();
    for (index, exercise) in exercises.iter().enumerate() {
        let mut add = |name: &str, body: &str, expected: Option<&str>| {
            let mut environment = vec![(variable(&exercise.id), body.to_owned())];
            environment.extend(exercises[index + 1..].iter().map(|later| (variable(&later.id), STARTER.to_owned())));
            tries.push(Try {
                exercise,
                name: format!("{}: {name}", exercise.id),
                expected: expected.map(str::to_owned),
                environment,
            });
        };
        add("starter", STARTER, Some("your function is not written yet"));
        add("reference", "reference", None);
        for (number, mutant) in exercise.mutants.iter().enumerate() {
            add(&format!("mutant {}", mutant.name), &number.to_string(), Some(&mutant.says));
        }
    }
    tries
}

fn variable(id: &str) -> String {
    format!("LAB_BODY_{}", id.replace('-', "_"))
}

/// Compiles the starters, then the sources with all bodies, and gives the programs by name.
fn build(workspace: &Workspace, place: &Path, exercises: &[Exercise]) -> Result<BTreeMap<String, PathBuf>> {
    let (starters, bodies, target) = (place.join("starters"), place.join("bodies"), place.join("target"));
    let starter_files = starter::starters(workspace, exercises)?;
    let mut body_files = starter::sources(workspace)?;
    for exercise in exercises {
        starter::rewrite(&mut body_files, exercise, |reference| all_bodies(exercise, reference))?;
    }
    starter::lay_out(&starters, &starter_files)?;
    starter::lay_out(&bodies, &body_files)?;
    compile(&starters, &target, "check", exercises).context("the starters do not compile")?;
    compile(&bodies, &target, "build", exercises).context("a mutant does not compile")
}

fn compile(root: &Path, target: &Path, how: &str, exercises: &[Exercise]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = cargo(root, target);
    cargo.args([how, "--quiet", "--message-format=json-render-diagnostics"]);
    for exercise in exercises {
        cargo.args(["-p", &exercise.package()]);
        cargo.args(["--bin", &exercise.program()]);
    }
    let output = cargo.output().context("cannot run cargo: is it installed?")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(programs(&output.stdout)?.into_iter().collect())
}

/// One body that holds all bodies.
fn all_bodies(exercise: &Exercise, reference: &str) -> Result<String> {
    let mut text = format!(
        "\n    match ::std::env::var({:?}).unwrap_or_default().as_str() {{\n    \"starter\" => {{{}}}\n",
        variable(&exercise.id),
        exercise.starter()
    );
    for (number, mutant) in exercise.mutants.iter().enumerate() {
        text.push_str(&format!("    // mutant {}\n    \"{number}\" => {{{}}}\n", mutant.name, mutant.of(reference)?));
    }
    text.push_str(&format!("    _ => {{{reference}}}\n    }}\n"));
    Ok(text)
}

/// A message that sends its reader to a section of the book that is not there.
fn lost(workspace: &Workspace, verdict: &Verdict) -> Option<String> {
    let Verdict::Failed(failure) = verdict else { return None };
    let (_, place) = failure.because.rsplit_once("(chapter ")?;
    let (number, title) = place.strip_suffix("\")")?.split_once(", \"")?;
    let pages = fs::read_dir(workspace.root().join("book/src")).ok()?.flatten();
    let prefix = format!("{:0>2}-", number);
    let page = pages
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))?;
    let there = fs::read_to_string(&page).ok()?.lines().any(|line| line.trim_start_matches('#').trim() == title);
    (!there).then(|| format!("sends its reader to {title:?}, which is not in {}", page.display()))
}

fn surprise(verdict: &Verdict, expected: Option<&str>) -> Option<String> {
    match (verdict, expected) {
        (Verdict::Passed, None) => None,
        (Verdict::Passed, Some(message)) => Some(format!("passed, and should fail: {message}")),
        (Verdict::Failed(failure), Some(message)) if failure.summary == message => None,
        (Verdict::Failed(failure), Some(message)) => Some(format!("should say {message:?}, says:\n{failure}")),
        (Verdict::Failed(failure), None) => Some(format!("should pass, says:\n{failure}")),
        (Verdict::Skipped(reason), _) => Some(format!("skipped: {reason}")),
    }
}
