//! `book check`: includes, links, console blocks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::console::{self, Block};
use crate::pages::{House, Page, broken_links};
use crate::spelling::{self, Speller};
use crate::{generated, item, placeholder};

/// One block in so many may be excused from being executed.
const EXCUSED_AT_MOST: usize = 20;

/// What to do with output that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Report it as wrong.
    Refuse,
    /// Write it into the page.
    Accept,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Pages read.
    pub pages: usize,
    /// Blocks executed.
    pub executed: usize,
    /// Blocks whose page says why they are not executed, anywhere.
    pub excused: usize,
    /// Blocks that were not executed here, with the reasons that their pages give.
    pub not_run: Vec<String>,
    /// Blocks whose output was rewritten.
    pub accepted: Vec<String>,
    /// What this machine could not check, other than blocks.
    pub not_checked: Vec<String>,
    /// What is wrong, each with page and line.
    pub wrong: Vec<String>,
}

/// Checks every page of the book.
///
/// # Errors
/// The check itself failed; what is wrong in the book is in the report.
pub fn check(house: &House, changes: Changes) -> Result<Report> {
    let pages = house.pages()?;
    let programs = build_programs(house, &pages)?;
    let mut report = Report { pages: pages.len(), ..Report::default() };
    for page in &pages {
        let expanded = item::expand(house.root(), &page.name, &page.text);
        if let Err(error) = expanded.and_then(|text| generated::expand(house, &page.name, &text)) {
            report.wrong.push(format!("{error:#}"));
        }
        report.wrong.extend(broken_links(page));
        check_blocks(page, &programs, changes, &mut report)?;
    }
    check_spelling(house, &pages, &mut report)?;
    // A book that excuses itself too often has stopped being checked.
    let blocks = report.executed + report.not_run.len();
    if report.excused * EXCUSED_AT_MOST > blocks {
        let share = format!("more than one in {EXCUSED_AT_MOST}");
        report.wrong.push(format!("{} of {blocks} console blocks are excused: {share}", report.excused));
    }
    Ok(report)
}

fn check_spelling(house: &House, pages: &[Page], report: &mut Report) -> Result<()> {
    let Some(mut speller) = Speller::find(house)? else {
        let lack = format!("spelling: this machine has no dictionary: install {}", spelling::PACKAGE);
        // As for a block: where all must run, a skip is a failure.
        let list = if std::env::var_os("CI").is_some() { &mut report.wrong } else { &mut report.not_checked };
        list.push(lack);
        return Ok(());
    };
    for page in pages {
        report.wrong.extend(speller.misspelt(page));
    }
    report.wrong.extend(speller.stale());
    Ok(())
}

fn check_blocks(page: &Page, programs: &Path, changes: Changes, report: &mut Report) -> Result<()> {
    let mut came_out = Vec::new();
    for block in console::blocks(&page.name, &page.text)? {
        let place = format!("{}:{}", page.name, block.line);
        if let Some(reason) = &block.not_run {
            report.not_run.push(format!("{place}: {reason}"));
            report.excused += 1;
            continue;
        }
        let directory = tempfile::Builder::new().prefix("book-").tempdir().context("no temporary directory")?;
        if !console::can_run(&block, directory.path(), programs)? {
            let lack =
                format!("{place}: this machine lacks what it needs: {}", block.needs.as_deref().unwrap_or_default());
            // As for every test: where all must run, a skip is a failure.
            let list = if std::env::var_os("CI").is_some() { &mut report.wrong } else { &mut report.not_run };
            list.push(lack);
            continue;
        }
        let result = console::run(&block, directory.path(), programs)?;
        if let Err(error) = console::open_up(directory.path()) {
            report.wrong.push(format!("{place}: it leaves what cannot be removed: {error}"));
        }
        report.executed += 1;
        if result == block {
            continue;
        }
        match changes {
            Changes::Accept => {
                report.accepted.push(place);
                came_out.push(result);
            }
            Changes::Refuse => {
                report.wrong.push(format!("{place}: the output changed\n{}", difference(&block, &result)))
            }
        }
    }
    if !came_out.is_empty() {
        let text = console::replace(&page.text, &came_out);
        std::fs::write(&page.path, text).with_context(|| format!("cannot write {}", page.path.display()))?;
    }
    Ok(())
}

/// The lines that differ, as the page shows them (`-`) and as they came out (`+`).
fn difference(page: &Block, result: &Block) -> String {
    let mut lines = Vec::new();
    for (shown, printed) in page.commands.iter().zip(&result.commands) {
        if shown.output == printed.output {
            continue;
        }
        lines.push(format!("    $ {}", shown.command));
        let longest = shown.output.len().max(printed.output.len());
        for index in 0..longest {
            let (old, new) = (shown.output.get(index), printed.output.get(index));
            if let (Some(old), Some(new)) = (old, new)
                && placeholder::matches(old, new)
            {
                continue;
            }
            lines.extend(old.map(|line| format!("  - {line}")));
            lines.extend(new.map(|line| format!("  + {line}")));
        }
    }
    lines.join("\n")
}

/// Builds the workspace's programs and the examples that the blocks call, and gives the directory that they are in.
fn build_programs(house: &House, pages: &[Page]) -> Result<PathBuf> {
    let mut examples = BTreeSet::new();
    for page in pages {
        for block in console::blocks(&page.name, &page.text)?.iter().filter(|block| block.not_run.is_none()) {
            let shown = block.commands.iter().filter_map(|shown| console::example(&shown.command));
            examples.extend(shown.map(|(_, name)| name.to_owned()));
        }
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(house.root()).args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let output = cargo.output().context("cannot run cargo")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    let target = PathBuf::from(metadata["target_directory"].as_str().context("cargo names no target directory")?);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As `cargo test --workspace` builds them: some packages alone ask less of their dependencies, which would be compiled once more.
    cargo.current_dir(house.root()).args(["build", "--quiet", "--workspace", "--bins"]);
    for example in &examples {
        cargo.arg("--example").arg(example);
    }
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("cannot build what the book's commands call");
    }
    Ok(target.join("debug"))
}
