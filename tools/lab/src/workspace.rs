//! Where the sources are: a checkout of Cooper, or the workspace that `lab init` made for a reader.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::exercise::{self, Exercise};

/// The directory that `lab init` leaves in a reader's workspace: saved answers and, in time, progress.
pub const MARK: &str = ".lab";

/// A workspace with chapters in it.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace at `start` or in the nearest directory above it.
    ///
    /// # Errors
    /// There is none; the message says how to make one.
    pub fn find(start: &Path) -> Result<Self> {
        let start = start.canonicalize().with_context(|| format!("cannot open {}", start.display()))?;
        for directory in start.ancestors() {
            if directory.join("chapters/01-process").is_dir() && directory.join("Cargo.toml").is_file() {
                return Ok(Self { root: directory.to_owned() });
            }
        }
        bail!("{} is in no workspace of Cooper: `cd` into one, or make one with `lab init DIR`", start.display())
    }

    /// The workspace's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a reader works here, as opposed to an author of Cooper.
    pub fn is_readers(&self) -> bool {
        self.root.join(MARK).is_dir()
    }

    /// Where the programs of the exercises are built.
    ///
    /// A reader's workspace has a `target` of its own, wherever `CARGO_TARGET_DIR` points: a wrong answer must never
    /// lie where somebody looks for the right one.
    pub fn target(&self) -> PathBuf {
        match self.is_readers() {
            true => self.root.join("target"),
            false => self.root.join("target/lab-reference"),
        }
    }

    /// Every exercise, chapter by chapter.
    ///
    /// # Errors
    /// A `lab.toml` is malformed; the message names file, line and field.
    pub fn exercises(&self) -> Result<Vec<Exercise>> {
        let chapters = self.root.join("chapters");
        let mut directories: Vec<PathBuf> = fs::read_dir(&chapters)
            .with_context(|| format!("cannot list {}", chapters.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        directories.sort();
        let mut exercises = Vec::new();
        for directory in directories.iter().filter(|directory| directory.join("lab/lab.toml").is_file()) {
            exercises.extend(exercise::read(&self.root, directory)?);
        }
        Ok(exercises)
    }

    /// One exercise by its id.
    ///
    /// # Errors
    /// No exercise has it; the message lists those that there are.
    pub fn exercise(&self, id: &str) -> Result<Exercise> {
        let mut exercises = self.exercises()?;
        let known: Vec<&str> = exercises.iter().map(|exercise| exercise.id.as_str()).collect();
        match known.iter().position(|&known| known == id) {
            Some(index) => Ok(exercises.swap_remove(index)),
            None => bail!("no exercise is called {id:?}; there are: {}", known.join(", ")),
        }
    }
}
