//! `lab check`: build what the exercise needs, run it in the sandbox, judge what was seen.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::doctor;
use crate::exercise::{Exercise, Need};
use crate::sandbox::Plan;
use crate::verdict::{Failure, Verdict, judge};
use crate::workspace::Workspace;

/// Checks one exercise of a workspace.
///
/// # Errors
/// The harness failed; what the reader's code does wrong is a [`Verdict`].
pub fn check(workspace: &Workspace, exercise: &Exercise) -> Result<Verdict> {
    check_in(workspace.root(), &workspace.target(), exercise)
}

/// The same, for sources at `root` that are built into `target`.
///
/// # Errors
/// The harness failed.
pub fn check_in(root: &Path, target: &Path, exercise: &Exercise) -> Result<Verdict> {
    for need in &exercise.needs {
        match need {
            Need::UserNamespace => {
                if let Err(reason) = doctor::user_namespaces() {
                    return Ok(Verdict::Skipped(reason));
                }
            }
        }
    }
    let program = match build(root, target, exercise)? {
        Ok(program) => program,
        Err(errors) => return Ok(Verdict::Failed(does_not_compile(exercise, &errors))),
    };
    let scratch = tempfile::Builder::new().prefix("lab-").tempdir().context("no temporary directory")?;
    let seen = Plan::new(program, exercise.arguments.clone(), scratch.path())?.run()?;
    Ok(judge(exercise, &seen))
}

/// Builds the exercise's package and nothing else: an unfinished later hole stops no earlier chapter.
///
/// The inner error is what the compiler said.
fn build(root: &Path, target: &Path, exercise: &Exercise) -> Result<Result<PathBuf, String>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "-p", &exercise.package]);
    cargo.args(["--bin", &exercise.program]).current_dir(root).arg("--target-dir").arg(target);
    let output = cargo.output().context("cannot run cargo: is it installed?")?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")?
            && artifact.target.name == exercise.program
            && let Some(program) = artifact.executable
        {
            return Ok(Ok(program.into_std_path_buf()));
        }
    }
    bail!("cargo built {} but names no program {}", exercise.package, exercise.program)
}

fn does_not_compile(exercise: &Exercise, errors: &str) -> Failure {
    Failure {
        id: exercise.id.clone(),
        summary: "your code does not compile".to_owned(),
        expected: format!("cargo build -p {} succeeds", exercise.package),
        found: errors.lines().filter(|line| !line.trim().is_empty()).take(40).collect::<Vec<_>>().join("\n"),
        because: "the compiler is the first check".to_owned(),
    }
}
