//! `lab check`: build what the exercise needs, run it in the sandbox, judge what was seen.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::doctor;
use crate::exercise::{Exercise, Need};
use crate::sandbox::Plan;
use crate::verdict::{Failure, Verdict};
use crate::workspace::Workspace;

/// Checks one exercise of a workspace.
///
/// # Errors
/// The harness failed; what the reader's code does wrong is a [`Verdict`].
pub fn check(workspace: &Workspace, exercise: &Exercise) -> Result<Verdict> {
    if let Some(reason) = lacking(exercise) {
        return Ok(Verdict::Skipped(reason));
    }
    if !workspace.target().join("debug/.fingerprint").is_dir() {
        // Minutes without a word look like a hang.
        eprintln!("building what the exercises stand on: a minute or two, this once");
    }
    match build(workspace.root(), &workspace.target(), exercise)? {
        Ok(program) => ask(exercise, program, None, Vec::new()),
        Err(errors) => Ok(Verdict::Failed(does_not_compile(exercise, &errors))),
    }
}

/// What this machine lacks for the exercise, with the remedy.
pub fn lacking(exercise: &Exercise) -> Option<String> {
    exercise.needs.iter().find_map(|need| {
        match need {
            Need::UserNamespace => doctor::user_namespaces(),
            Need::Cgroups => doctor::control_groups(),
        }
        .err()
    })
}

/// Asks the exercise's questions of a program that is built.
///
/// # Errors
/// The harness failed.
pub fn ask(
    exercise: &Exercise,
    program: PathBuf,
    seed: Option<u64>,
    environment: Vec<(String, String)>,
) -> Result<Verdict> {
    let scratch = tempfile::Builder::new().prefix("lab-").tempdir().context("no temporary directory")?;
    let plan = Plan::new(exercise, program, scratch.path(), seed)?;
    Plan { environment, ..plan }.run()
}

/// Builds the exercise's package and nothing else: an unfinished later hole stops no earlier chapter.
///
/// The inner error is what the compiler said.
fn build(root: &Path, target: &Path, exercise: &Exercise) -> Result<Result<PathBuf, String>> {
    let program = exercise.program();
    let mut cargo = cargo(root, target);
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "-p", &exercise.package()]);
    let output = cargo.args(["--bin", &program]).output().context("cannot run cargo: is it installed?")?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    match programs(&output.stdout)?.into_iter().find(|(name, _)| *name == program) {
        Some((_, path)) => Ok(Ok(path)),
        None => bail!("cargo built {} but names no program {program}", exercise.package()),
    }
}

/// Cargo, for the sources at `root`, building into `target`.
pub fn cargo(root: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Else a first compilation would stop at what the starters leave unused.
    cargo.current_dir(root).env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS");
    cargo
}

/// The programs that cargo says it built, with their paths.
///
/// # Errors
/// What it says is not what cargo says.
pub fn programs(messages: &[u8]) -> Result<Vec<(String, PathBuf)>> {
    let mut programs = Vec::new();
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")?
            && let Some(program) = artifact.executable
        {
            programs.push((artifact.target.name, program.into_std_path_buf()));
        }
    }
    Ok(programs)
}

fn does_not_compile(exercise: &Exercise, errors: &str) -> Failure {
    // Warnings come first, and are not what stops it.
    let lines: Vec<&str> = errors.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("error")).unwrap_or(0);
    let told = lines[first..].iter().filter(|line| !line.trim().is_empty()).take(40);
    Failure {
        id: exercise.id.clone(),
        summary: "your code does not compile".to_owned(),
        expected: format!("cargo build -p {} succeeds", exercise.package()),
        found: told.copied().collect::<Vec<_>>().join("\n"),
        because: "the compiler is the first check".to_owned(),
    }
}
