//! Inside a submission's container: lay the submission over the common ground, build, check, tell.
//!
//! ```text
//! /cooper   overlay:  /work/upper   in memory, bounded: what is written
//!                     /submission   what was handed in, as far as it differs
//!                     /house        the sources with their holes, and what was built of them
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::check::check;
use crate::exercise::Exercise;
use crate::hole;
use crate::sandbox::map_ids;
use crate::verdict::{Failure, Verdict};
use crate::workspace::Workspace;

/// What is to be graded; travels into the container as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The exercises' ids, in the reading order.
    pub exercises: Vec<String>,
}

/// One line of what the container tells.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    exercise: String,
    /// What the check said; nothing if the harness itself failed.
    verdict: Option<Verdict>,
    error: Option<String>,
}

/// `lab inside grade`: not for people.
///
/// # Errors
/// There is no plan, or the overlay cannot be made.
pub fn run() -> Result<ExitCode> {
    let text = std::env::var("LAB_GRADE").context("only `lab grade` calls this")?;
    let plan: Plan = serde_json::from_str(&text).context("only `lab grade` calls this")?;
    lay_over()?;
    let workspace = Workspace::find(Path::new("/cooper"))?;
    for id in &plan.exercises {
        let line = match judge(&workspace, &workspace.exercise(id)?) {
            Ok(verdict) => Line { exercise: id.clone(), verdict: Some(verdict), error: None },
            Err(error) => Line { exercise: id.clone(), verdict: None, error: Some(format!("{error:#}")) },
        };
        // At once: if the next exercise ends the container, this one is graded.
        println!("{}", serde_json::to_string(&line)?);
        std::io::stdout().flush().context("nobody listens")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a container said about its exercises.
pub fn read(told: &str) -> BTreeMap<String, Outcome> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let outcome = |line: Line| {
        let outcome = match line.verdict {
            Some(verdict) => Outcome::Checked(verdict),
            None => Outcome::NotChecked(line.error.unwrap_or_default()),
        };
        (line.exercise, outcome)
    };
    lines.map(outcome).collect()
}

fn lay_over() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    ensure!(Path::new("/house").is_dir(), "refused: this is no container of `lab grade`");
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .context("this machine forbids user namespaces (`lab doctor` says why): unshare CLONE_NEWUSER")?;
    map_ids(&format!("0 {user} 1"), &format!("0 {group} 1"))?;
    for directory in ["/work/upper", "/work/index"] {
        fs::create_dir(directory).with_context(|| format!("cannot make {directory}"))?;
    }
    let options = "lowerdir=/submission:/house,upperdir=/work/upper,workdir=/work/index,userxattr";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("overlay"), "/cooper", Some("overlay"), flags, Some(options)).context("mount overlay on /cooper")?;
    std::env::set_current_dir("/cooper").context("cannot enter /cooper")
}

fn judge(workspace: &Workspace, exercise: &Exercise) -> Result<Verdict> {
    let path = workspace.root().join(exercise.source());
    let text = fs::read_to_string(&path).unwrap_or_default();
    match hole::find(&text, &exercise.id) {
        // As a run would say, without the minutes of building it.
        Ok(hole) if text[hole.body.clone()].trim() == exercise.starter().trim() => Ok(refused(
            exercise,
            "your function is not written yet",
            "a function that returns",
            "`todo!()` still stands there",
        )),
        Ok(_) => check(workspace, exercise),
        Err(error) => Ok(refused(
            exercise,
            "your function cannot be found",
            &format!("a function below the line `// hole: {}`", exercise.id),
            &format!("{error:#}"),
        )),
    }
}

fn refused(exercise: &Exercise, summary: &str, expected: &str, found: &str) -> Verdict {
    Verdict::Failed(Failure {
        id: exercise.id.clone(),
        summary: summary.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        because: format!("the exercise is in {} (chapter {})", exercise.source().display(), exercise.number()),
    })
}
