//! `lab verify`, for authors: does each exercise ask what it says it asks?
//!
//! A check that passes everything teaches nothing, and nobody notices. So each exercise is tried four times or more: the
//! starter must fail because it is unwritten, the reference must pass, and each mutant must be caught with its own message.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::check::check_in;
use crate::exercise::Exercise;
use crate::starter;
use crate::verdict::Verdict;
use crate::workspace::Workspace;

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

/// Tries every exercise of the workspace with every body that is known for its hole.
///
/// # Errors
/// The harness failed.
pub fn verify(workspace: &Workspace, mut told: impl FnMut(&Trial)) -> Result<Vec<Trial>> {
    // Always in the same place, so that what the last run compiled need not be compiled again.
    let place = workspace.root().join("target/lab-verify");
    let (copy, target) = (place.join("sources"), place.join("target"));
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    let exercises = starter::init(workspace, &copy)?;
    let mut trials = Vec::new();
    for exercise in &exercises {
        for (name, body, expected) in bodies(workspace, exercise)? {
            starter::replace_body(&copy, exercise, &body)?;
            let verdict = check_in(&copy, &target, exercise)?;
            let surprise = surprise(&verdict, expected.as_deref());
            let trial = Trial { name: format!("{}: {name}", exercise.id), verdict, surprise };
            told(&trial);
            trials.push(trial);
        }
        // The next exercise of the chapter is checked against a right answer to this one.
        starter::replace_body(&copy, exercise, &reference(workspace.root(), exercise)?)?;
    }
    Ok(trials)
}

/// Name, body and expected summary of each try; a summary of `None` means that it must pass.
fn bodies(workspace: &Workspace, exercise: &Exercise) -> Result<Vec<(String, String, Option<String>)>> {
    let unwritten = "your function is not written yet".to_owned();
    let mut bodies = vec![
        ("starter".to_owned(), exercise.starter(), Some(unwritten)),
        ("reference".to_owned(), reference(workspace.root(), exercise)?, None),
    ];
    for mutant in &exercise.mutants {
        let path = workspace.root().join(&exercise.chapter).join("lab").join(&mutant.body);
        let body = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bodies.push((format!("mutant {}", mutant.name), format!("\n{body}"), Some(mutant.says.clone())));
    }
    Ok(bodies)
}

fn reference(root: &Path, exercise: &Exercise) -> Result<String> {
    let path = root.join(exercise.source());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = crate::hole::find(&text, &exercise.hole).with_context(|| format!("in {}", path.display()))?;
    Ok(text[hole.body].to_owned())
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
