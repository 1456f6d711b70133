//! A chapter's exercises, as its authors wrote them down in `lab/lab.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What an exercise asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// An ordinary user may make user namespaces.
    UserNamespace,
}

/// Which question is put to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Is the host's root gone from the container's mount namespace?
    RootIsItsOwn,
}

/// One exercise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// The stable name: it never changes, because grades and progress are kept under it.
    pub id: String,
    /// A short title for lists.
    pub title: String,
    /// The name after `// hole:` in the source.
    pub hole: String,
    /// The file with the hole, relative to the chapter.
    pub file: PathBuf,
    /// The package to build.
    pub package: String,
    /// The program of that package to run.
    pub program: String,
    /// Its arguments; `{root}` stands for the container's root, `{probe}` for the program that reports from inside.
    pub arguments: Vec<String>,
    /// What it is worth in a class.
    pub points: u32,
    /// How long it takes somebody who has read the chapter.
    pub minutes: u32,
    /// What the machine must offer.
    pub needs: Vec<Need>,
    /// What the kernel is asked afterwards.
    pub question: Question,
    /// Where to look, how to think, almost the code.
    pub hints: [String; 3],
    /// Plausible wrong answers that the check must catch.
    #[serde(rename = "mutant")]
    pub mutants: Vec<Mutant>,
    /// The chapter's directory, relative to the workspace; known from where the file lies.
    #[serde(skip)]
    pub chapter: PathBuf,
}

/// A wrong answer, and what the check says about it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// A name for messages.
    pub name: String,
    /// The file with the function's wrong body, relative to the chapter's `lab` directory.
    pub body: PathBuf,
    /// The first line of the message with which it must be caught.
    pub says: String,
}

impl Exercise {
    /// The number of the chapter: 3.
    pub fn number(&self) -> u32 {
        let name = self.chapter.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The file with the hole, relative to the workspace.
    pub fn source(&self) -> PathBuf {
        self.chapter.join(&self.file)
    }

    /// What stands in the hole of a starter: compiles, and says whose turn it is when it runs.
    pub fn starter(&self) -> String {
        format!("\n    todo!(\"{}: see chapter {}\")\n", self.hole, self.number())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    exercise: Vec<Exercise>,
}

/// Reads the exercises of the chapter in `directory`.
///
/// # Errors
/// The file cannot be read, is malformed (with line and field), or has an exercise with fewer than two mutants.
pub fn read(root: &Path, directory: &Path) -> Result<Vec<Exercise>> {
    let path = directory.join("lab/lab.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    let chapter = directory.strip_prefix(root).context("a chapter outside its workspace")?;
    let mut exercises = file.exercise;
    for exercise in &mut exercises {
        ensure!(exercise.mutants.len() >= 2, "{}: {} has fewer than two mutants", path.display(), exercise.id);
        exercise.chapter = chapter.to_owned();
    }
    Ok(exercises)
}
