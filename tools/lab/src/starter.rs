//! `lab init`: a workspace of the reader's own. `lab reset`: the starter again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::exercise::Exercise;
use crate::hole;
use crate::workspace::{MARK, Workspace};

/// Copies the tracked sources of `from` to `to`, empties every hole, and commits the result.
///
/// Exercises whose function is not in the sources yet are an error: a starter without its hole teaches nothing.
///
/// # Errors
/// `to` exists and is not empty; git is missing; a hole is not where its `lab.toml` says.
pub fn init(from: &Workspace, to: &Path) -> Result<Vec<Exercise>> {
    ensure!(!from.is_readers(), "{} is a reader's workspace: its holes are not solved", from.root().display());
    if to.exists() {
        let mut entries = fs::read_dir(to).with_context(|| format!("cannot make a workspace at {}", to.display()))?;
        ensure!(entries.next().is_none(), "{} exists and is not empty", to.display());
    }
    let exercises = from.exercises()?;
    copy(from.root(), to)?;
    for exercise in &exercises {
        punch(to, exercise)?;
    }
    fs::create_dir_all(to.join(MARK)).context("cannot make .lab")?;
    fs::write(to.join(MARK).join("README"), "`lab` keeps your saved answers here.\n")
        .context("cannot write to .lab")?;
    commit(to)?;
    Ok(exercises)
}

/// Puts the starter's body back and keeps the reader's answer; gives the file where it was saved.
///
/// # Errors
/// The hole's marker is gone from the source.
pub fn reset(workspace: &Workspace, exercise: &Exercise) -> Result<PathBuf> {
    ensure!(workspace.is_readers(), "reset works in a workspace made by `lab init`: here it would delete the solution");
    let path = workspace.root().join(exercise.source());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.hole).with_context(|| format!("in {}", path.display()))?;
    let saved = first_free(&workspace.root().join(MARK), &exercise.id);
    fs::write(&saved, &text[hole.item.clone()]).with_context(|| format!("cannot save {}", saved.display()))?;
    punch(workspace.root(), exercise)?;
    Ok(saved)
}

/// Replaces the body of the exercise's function below `root`.
///
/// # Errors
/// The hole's marker is not in the source.
pub fn replace_body(root: &Path, exercise: &Exercise, body: &str) -> Result<()> {
    let path = root.join(exercise.source());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.hole).with_context(|| format!("in {}", path.display()))?;
    fs::write(&path, hole::fill(&text, &hole, body)).with_context(|| format!("cannot write {}", path.display()))
}

fn punch(root: &Path, exercise: &Exercise) -> Result<()> {
    replace_body(root, exercise, &exercise.starter())
}

fn first_free(directory: &Path, id: &str) -> PathBuf {
    let candidates = (1u32..).map(|number| directory.join(format!("{id}-{number}.rs")));
    candidates.into_iter().find(|path| !path.exists()).unwrap_or_else(|| directory.join(id))
}

/// Copies what git tracks. Solutions that stand apart from the code, the mutants, stay behind.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let listed = git(from, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (source, target) = (from.join(name), to.join(name));
        if name.contains("/lab/mutants/") || !source.is_file() {
            continue;
        }
        let parent = target.parent().context("a file without a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::copy(&source, &target).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

fn commit(root: &Path) -> Result<()> {
    git(root, &["init", "--quiet", "--initial-branch=main"])?;
    git(root, &["add", "--all"])?;
    // A reader may have no name in git's configuration yet; the first commit is the lab's.
    let author = ["-c", "user.name=lab", "-c", "user.email=lab@localhost", "-c", "commit.gpgsign=false"];
    let message = ["commit", "--quiet", "--message", "Start: the sources, with holes"];
    git(root, &[author.as_slice(), message.as_slice()].concat())?;
    Ok(())
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    // A checkout may belong to somebody else (a class's shared copy): reading it is no danger, we run none of its hooks.
    let safe = format!("safe.directory={}", directory.display());
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(["-c", &safe, "-c", "core.hooksPath=/dev/null"]).args(arguments);
    let output = command.env_remove("GIT_DIR").output().context("cannot run git: is it installed?")?;
    if !output.status.success() {
        bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
