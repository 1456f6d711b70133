//! What all submissions have in common, compiled once: the dependencies, and the chapters with their holes.
//!
//! Two directories, which every container sees read-only: `house`, the sources as `lab init` gives them to a student, with a
//! `target` in it; and `vendor`, the dependencies. No solution is among them, so no submission can read one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::engine::{Engine, Purpose};
use crate::exercise::Exercise;
use crate::starter;
use crate::workspace::{MARK, Workspace};

/// The longest that compiling all dependencies may take.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// What tells cargo where the dependencies are, inside.
const CONFIG: &str = "[source.crates-io]\nreplace-with = \"vendored-sources\"\n\n[source.vendored-sources]\n\
                      directory = \"/vendor\"\n\n[net]\noffline = true\n";

/// The common ground.
#[derive(Debug)]
pub struct Ground {
    place: PathBuf,
}

impl Ground {
    /// Lays it out in the workspace's `target/lab-grade`, and compiles what is not compiled yet, in a container as well.
    ///
    /// # Errors
    /// Dependencies are missing, the starters do not compile, or containers cannot be run.
    pub fn prepare(workspace: &Workspace, engine: &Engine, exercises: &[Exercise]) -> Result<Self> {
        ensure!(!workspace.is_readers(), "grading needs the sources with their solutions: a checkout of Cooper");
        let ground = Self { place: workspace.root().join("target/lab-grade") };
        let house = ground.house();
        fs::create_dir_all(&house).with_context(|| format!("cannot make {}", house.display()))?;
        let mut sources = starter::starters(workspace, &workspace.exercises()?)?;
        // Makes it a reader's workspace for `lab check`.
        sources.insert(Path::new(MARK).join("README"), b"graded\n".to_vec());
        sources.insert(".cargo/config.toml".into(), CONFIG.into());
        ground.vendor(workspace)?;
        starter::lay_out(&house, &sources)?;
        engine.admit(&house)?;
        let purpose = Purpose::Prepare { ground: &ground, build: build_words(exercises) };
        let ran = engine.run("ground", &purpose, PATIENCE)?;
        ensure!(ran.succeeded(), "what all submissions have in common cannot be built: {}", ran.why());
        Ok(ground)
    }

    /// Where submissions may be laid beside it.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The sources, and what was built of them.
    pub fn house(&self) -> PathBuf {
        self.place.join("house")
    }

    /// The dependencies.
    pub fn dependencies(&self) -> PathBuf {
        self.place.join("vendor")
    }

    /// Fetches the dependencies, unless they are those of this lock file already.
    fn vendor(&self, workspace: &Workspace) -> Result<()> {
        let lock = fs::read(workspace.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let stamp = self.place.join("vendored.lock");
        if fs::read(&stamp).is_ok_and(|there| there == lock) {
            return Ok(());
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let cargo = cargo.current_dir(workspace.root()).args(["vendor", "--quiet", "--locked", "--versioned-dirs"]);
        let output = cargo.arg(self.dependencies()).output().context("cannot run cargo: is it installed?")?;
        ensure!(output.status.success(), "cargo vendor failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// What cargo is told, to build what the exercises stand on.
fn build_words(exercises: &[Exercise]) -> Vec<String> {
    let mut words: Vec<String> = ["build", "--locked", "--message-format=short"].map(str::to_owned).into();
    let mut programs: Vec<(String, String)> = Vec::new();
    for exercise in exercises {
        programs.push((exercise.package(), exercise.program()));
    }
    programs.sort();
    programs.dedup();
    for (package, program) in programs {
        words.extend(["-p".to_owned(), package, "--bin".to_owned(), program]);
    }
    words
}
