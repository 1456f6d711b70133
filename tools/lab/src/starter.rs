//! `lab init`: a workspace of the reader's own. `lab reset`: the starter again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    lay_out(to, &starters(from, &exercises)?)?;
    fs::create_dir_all(to.join(MARK)).context("cannot make .lab")?;
    fs::write(to.join(MARK).join("README"), "`lab` keeps your saved answers here.\n")
        .context("cannot write to .lab")?;
    // Where `lab diff` finds the reference, as long as it is there.
    let origin = from.root().to_string_lossy();
    fs::write(to.join(MARK).join("origin"), format!("{origin}\n")).context("cannot write to .lab")?;
    fs::write(to.join(MARK).join(".gitignore"), "*\n").context("cannot write to .lab")?;
    install(to)?;
    commit(to, "Start: the sources, with holes")?;
    Ok(exercises)
}

/// Calls the lab of a workspace.
const SCRIPT: &str = "#!/bin/sh
# The lab of this workspace: the program that made it, or, where that does not run, one that is built from its sources.
here=$(dirname \"$0\")
program=$here/.lab/program
\"$program\" --version >/dev/null 2>&1 && exec \"$program\" -C \"$here\" \"$@\"
exec cargo run --quiet --manifest-path \"$here/Cargo.toml\" -p lab -- -C \"$here\" \"$@\"
";

/// Puts `./lab` into a workspace. It keeps this very program, so that nobody waits for it to be built a second time.
fn install(to: &Path) -> Result<()> {
    let this = std::env::current_exe().context("cannot find this program")?;
    fs::copy(&this, to.join(MARK).join("program")).context("cannot copy this program to .lab")?;
    fs::write(to.join("lab"), SCRIPT).context("cannot write ./lab")?;
    fs::set_permissions(to.join("lab"), fs::Permissions::from_mode(0o755)).context("cannot make ./lab executable")
}

/// Puts the starter's body back and keeps the reader's answer; gives the file where it was saved.
///
/// # Errors
/// The hole's marker is gone from the source.
pub fn reset(workspace: &Workspace, exercise: &Exercise) -> Result<PathBuf> {
    ensure!(workspace.is_readers(), "reset works in a workspace made by `lab init`: here it would delete the solution");
    let path = workspace.root().join(exercise.source());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.id).with_context(|| format!("in {}", path.display()))?;
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
    let hole = hole::find(&text, &exercise.id).with_context(|| format!("in {}", path.display()))?;
    fs::write(&path, hole::fill(&text, &hole, body)).with_context(|| format!("cannot write {}", path.display()))
}

fn punch(root: &Path, exercise: &Exercise) -> Result<()> {
    let path = root.join(exercise.source());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.id).with_context(|| format!("in {}", path.display()))?;
    replace_body(root, exercise, &starter_for(exercise, &text[hole.body]))
}

fn first_free(directory: &Path, id: &str) -> PathBuf {
    let candidates = (1u32..).map(|number| directory.join(format!("{id}-{number}.rs")));
    candidates.into_iter().find(|path| !path.exists()).unwrap_or_else(|| directory.join(id))
}

/// Files by their paths below a workspace.
pub type Sources = BTreeMap<PathBuf, Vec<u8>>;

/// What git tracks, or would. Solutions that stand apart from the code, the mutants, stay behind.
///
/// # Errors
/// Git is missing, or a file cannot be read.
pub fn sources(from: &Workspace) -> Result<Sources> {
    let listed = git(from.root(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut sources = Sources::new();
    for name in listed.split('\0').filter(|name| !name.is_empty() && !name.ends_with("/lab/mutants.toml")) {
        let path = from.root().join(name);
        if path.is_file() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            sources.insert(name.into(), bytes);
        }
    }
    Ok(sources)
}

/// The [`sources`], in which each of these exercises is a hole.
///
/// # Errors
/// As for [`sources`], or a hole is not where its `lab.toml` says.
pub fn starters(from: &Workspace, exercises: &[Exercise]) -> Result<Sources> {
    let mut sources = sources(from)?;
    for exercise in exercises {
        empty(&mut sources, exercise)?;
    }
    Ok(sources)
}

fn empty(files: &mut Sources, exercise: &Exercise) -> Result<()> {
    rewrite(files, exercise, |reference| Ok(starter_for(exercise, reference)))
}

/// The starter's body, with its closing brace where the reference has it.
fn starter_for(exercise: &Exercise, reference: &str) -> String {
    let indent = reference.rsplit('\n').next().filter(|line| line.trim().is_empty()).unwrap_or_default();
    format!("\n{indent}    {}\n{indent}", exercise.starter().trim())
}

/// Gives the exercise's function another body, which `body` makes from the one that is there.
///
/// # Errors
/// The hole is not where its `lab.toml` says, or `body` fails.
pub fn rewrite(files: &mut Sources, exercise: &Exercise, body: impl Fn(&str) -> Result<String>) -> Result<()> {
    let path = exercise.source();
    let bytes = files.get_mut(&path).with_context(|| format!("no file {}", path.display()))?;
    let text = String::from_utf8(bytes.clone()).with_context(|| format!("in {}", path.display()))?;
    let hole = hole::find(&text, &exercise.id).with_context(|| format!("in {}", path.display()))?;
    *bytes = hole::fill(&text, &hole, &body(&text[hole.body.clone()])?).into_bytes();
    Ok(())
}

/// Writes the sources below `to`, and removes sources that are not among them. Files that are right already are left
/// alone: cargo compiles again what is newer than what it compiled.
///
/// # Errors
/// A file cannot be written.
pub fn lay_out(to: &Path, sources: &Sources) -> Result<()> {
    for (name, bytes) in sources {
        let path = to.join(name);
        if fs::read(&path).is_ok_and(|there| there == *bytes) {
            continue;
        }
        let parent = path.parent().context("a file without a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let listed: BTreeSet<PathBuf> = sources.keys().map(|name| to.join(name)).collect();
    sweep(to, &listed)
}

/// Removes files below `directory` that are not listed; a `target` that somebody built there stays.
fn sweep(directory: &Path, listed: &BTreeSet<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() != "target" && entry.file_name() != ".git" {
                sweep(&path, listed)?;
            }
        } else if !listed.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Commits what was added to a workspace that [`init`] has just made.
///
/// # Errors
/// Git refuses.
pub fn commit_again(root: &Path, message: &str) -> Result<()> {
    commit(root, message)
}

/// The reader's function beside the reference, as a unified difference.
///
/// # Errors
/// The workspace does not know where its reference is, or that is gone.
pub fn difference(workspace: &Workspace, exercise: &Exercise) -> Result<String> {
    let origin = workspace.root().join(MARK).join("origin");
    let origin = fs::read_to_string(&origin).unwrap_or_default();
    ensure!(!origin.is_empty(), "this workspace has no reference to compare with: it was made for a class");
    let item = |root: &Path| -> Result<String> {
        let path = root.join(exercise.source());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let hole = hole::find(&text, &exercise.id).with_context(|| format!("in {}", path.display()))?;
        Ok(format!("{}\n", &text[hole.item]))
    };
    let place = tempfile::tempdir().context("no temporary directory")?;
    for (name, text) in [("mine.rs", item(workspace.root())?), ("reference.rs", item(Path::new(origin.trim()))?)] {
        fs::write(place.path().join(name), text).context("cannot write a file to compare")?;
    }
    let mut command = Command::new("git");
    command.current_dir(place.path()).args(["diff", "--no-index", "--no-color", "mine.rs", "reference.rs"]);
    let output = command.output().context("cannot run git: is it installed?")?;
    // The first lines name the two files and their hashes.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().skip_while(|line| !line.starts_with("---")).map(|line| format!("{line}\n")).collect())
}

fn commit(root: &Path, what: &str) -> Result<()> {
    git(root, &["init", "--quiet", "--initial-branch=main"])?;
    git(root, &["add", "--all"])?;
    // A reader may have no name in git's configuration yet; the first commit is the lab's.
    let author = ["-c", "user.name=lab", "-c", "user.email=lab@localhost", "-c", "commit.gpgsign=false"];
    let message = ["commit", "--quiet", "--message", what];
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
