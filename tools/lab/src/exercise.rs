//! A chapter's exercises, as its authors wrote them down in `lab/lab.toml`, and the wrong answers to them that its checks
//! must catch, in `lab/mutants.toml`. The second file stays with the authors: it gives the right answers away.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::question;

/// What an exercise asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// An ordinary user may make user namespaces.
    UserNamespace,
    /// Control groups that this user may make: root's, or delegated ones.
    Cgroups,
}

/// Which program of the chapter is built and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// The chapter's own.
    #[default]
    Program,
    /// `lab/drive.rs`, which calls the chapter's library with what it is told: for functions of which the program shows
    /// too little.
    Driver,
}

/// One exercise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// The stable name: it never changes, because grades and progress are kept under it. The source marks the function
    /// with it: `// hole: ID`.
    pub id: String,
    /// A short title for lists.
    pub title: String,
    /// The file with the hole, relative to the chapter.
    pub file: PathBuf,
    /// What is built and run.
    #[serde(default)]
    pub runs: Runs,
    /// What it is worth in a class.
    pub points: u32,
    /// How long it takes somebody who has read the chapter, in minutes.
    pub minutes: u32,
    /// What the machine must offer.
    pub needs: Vec<Need>,
    /// What is asked afterwards, one question after the other: names of [`question::ALL`].
    pub checks: Vec<String>,
    /// Where to look, how to think, almost the code.
    pub hints: [String; 3],
    /// Plausible wrong answers that a check must catch; none in a reader's workspace.
    #[serde(skip)]
    pub mutants: Vec<Mutant>,
    /// The chapter's directory, relative to the workspace; known from where the file lies.
    #[serde(skip)]
    pub chapter: PathBuf,
}

/// A wrong answer, and what the check says about it: a whole body, or edits of the right one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// The exercise's id.
    pub exercise: String,
    /// A name for messages.
    pub name: String,
    /// The first line of the message with which it must be caught, without the exercise's id.
    pub says: String,
    /// The whole wrong body.
    pub body: Option<String>,
    /// Pairs: a text that stands in the right body exactly once, and what stands there instead.
    #[serde(default)]
    pub edits: Vec<[String; 2]>,
}

impl Mutant {
    /// The wrong body, made from the right one.
    ///
    /// # Errors
    /// An edit's text is not in the right body, or more than once: the code has changed under the mutant.
    pub fn of(&self, reference: &str) -> Result<String> {
        if let Some(body) = &self.body {
            return Ok(format!("\n{}\n", body.trim_end()));
        }
        let mut body = reference.to_owned();
        for [right, wrong] in &self.edits {
            let count = body.matches(right.as_str()).count();
            ensure!(
                count == 1,
                "{}: mutant {:?}: {right:?} stands {count} times in the body",
                self.exercise,
                self.name
            );
            body = body.replace(right.as_str(), wrong);
        }
        Ok(body)
    }
}

impl Exercise {
    /// The number of the chapter: 3.
    pub fn number(&self) -> u32 {
        self.directory().split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The package to build, and its program: `ch03-rootfs`.
    pub fn package(&self) -> String {
        format!("ch{}", self.directory())
    }

    /// The program to run.
    pub fn program(&self) -> String {
        match self.runs {
            Runs::Program => self.package(),
            Runs::Driver => format!("ch{:02}-drive", self.number()),
        }
    }

    fn directory(&self) -> String {
        self.chapter.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The file with the hole, relative to the workspace.
    pub fn source(&self) -> PathBuf {
        self.chapter.join(&self.file)
    }

    /// What a starter's function says when it is called.
    pub fn unwritten(&self) -> String {
        format!("{}: see chapter {}", self.id, self.number())
    }

    /// What stands in the hole of a starter: compiles, and says whose turn it is when it runs.
    pub fn starter(&self) -> String {
        format!("\n    todo!(\"{}\")\n", self.unwritten())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    exercise: Vec<Exercise>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    mutant: Vec<Mutant>,
}

/// Reads the exercises of the chapter in `directory`.
///
/// # Errors
/// A file cannot be read or is malformed (with line and field); a check or a mutant's exercise does not exist.
pub fn read(root: &Path, directory: &Path) -> Result<Vec<Exercise>> {
    let path = directory.join("lab/lab.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    let chapter = directory.strip_prefix(root).context("a chapter outside its workspace")?;
    let mut exercises = file.exercise;
    for exercise in &mut exercises {
        exercise.chapter = chapter.to_owned();
        for check in &exercise.checks {
            ensure!(question::named(check).is_some(), "{}: {}: no check {check:?}", path.display(), exercise.id);
        }
    }
    for mutant in mutants(&directory.join("lab/mutants.toml"))? {
        match exercises.iter_mut().find(|exercise| exercise.id == mutant.exercise) {
            Some(exercise) => exercise.mutants.push(mutant),
            None => bail!("{}: no exercise {:?} for its mutant", path.display(), mutant.exercise),
        }
    }
    Ok(exercises)
}

fn mutants(path: &Path) -> Result<Vec<Mutant>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let mutants: Mutants = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
            Ok(mutants.mutant)
        }
        // A reader's workspace has none.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
