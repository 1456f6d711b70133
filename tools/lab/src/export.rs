//! `lab export --student`: a bundle for a class without a network. The sources with holes, every dependency beside them, and
//! the book; no solutions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::check::cargo;
use crate::starter;
use crate::workspace::Workspace;

/// What tells cargo that everything is here. `cargo vendor` would print most of it, unless it is told to be quiet.
const OFFLINE: &str = "[source.crates-io]
replace-with = \"vendored-sources\"

[source.vendored-sources]
directory = \"vendor\"

[net]
offline = true
";

/// Makes the bundle at `to`, and gives the number of holes in it.
///
/// # Errors
/// `to` is not empty, cargo cannot gather the dependencies, or the book cannot be built.
pub fn student(workspace: &Workspace, to: &Path, book: bool) -> Result<usize> {
    let exercises = starter::init(workspace, to)?;
    // Where the solutions lie is none of the class's business.
    fs::remove_file(to.join(crate::workspace::MARK).join("origin")).context("cannot remove .lab/origin")?;
    // The students' machines may be others than this one: theirs is built from the sources.
    fs::remove_file(to.join(crate::workspace::MARK).join("program")).context("cannot remove .lab/program")?;
    let mut vendor = cargo(to, &to.join("target"));
    let vendor = vendor.args(["vendor", "--quiet", "--locked", "--versioned-dirs", "vendor"]);
    let output = vendor.output().context("cannot run cargo: is it installed?")?;
    ensure!(output.status.success(), "cargo vendor failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let directory = to.join(".cargo");
    fs::create_dir_all(&directory).context("cannot make .cargo")?;
    fs::write(directory.join("config.toml"), OFFLINE).context("cannot write .cargo/config.toml")?;
    if book {
        build_book(workspace, to)?;
    }
    starter::commit_again(to, "Everything that a class without a network needs")?;
    Ok(exercises.len())
}

/// Builds the book out of the sources with holes: a page that includes a function of an exercise shows what is to be
/// written, and not how. It is built from the vendored dependencies, so a bundle that lacks one is noticed here.
fn build_book(workspace: &Workspace, to: &Path) -> Result<()> {
    let mut book = cargo(to, &workspace.target());
    let output = book.args(["run", "--quiet", "-p", "book", "--", "build"]).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the book does not build: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
