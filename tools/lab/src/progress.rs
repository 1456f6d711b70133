//! How far a reader has come: what was passed and when, and how many hints it took.
//!
//! One file, `.lab/progress.json`, that its owner can read. It is a diary and no proof: `lab check` is what counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::exercise::Exercise;
use crate::workspace::{MARK, Workspace};

/// The diary.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    #[serde(flatten)]
    exercises: BTreeMap<String, Record>,
    #[serde(skip)]
    path: Option<PathBuf>,
}

/// What is known about one exercise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Whether the last check passed.
    pub passed: bool,
    /// How often it was checked.
    pub checks: u32,
    /// How many of the three hints were read.
    pub hints: u8,
}

impl Progress {
    /// The reader's diary; in an author's checkout an empty one that is not kept.
    ///
    /// # Errors
    /// It is there, and is none.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        if !workspace.is_readers() {
            return Ok(Self::default());
        }
        let path = workspace.root().join(MARK).join("progress.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let progress: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is malformed: mend it or remove it", path.display()))?;
        Ok(Self { path: Some(path), ..progress })
    }

    /// What is known about an exercise.
    pub fn record(&self, id: &str) -> Record {
        self.exercises.get(id).copied().unwrap_or_default()
    }

    /// Notes the outcome of a check.
    ///
    /// # Errors
    /// The diary cannot be written.
    pub fn note_check(&mut self, id: &str, passed: bool) -> Result<()> {
        let record = self.exercises.entry(id.to_owned()).or_default();
        record.passed = passed;
        record.checks += 1;
        self.keep()
    }

    /// Notes that a hint was read.
    ///
    /// # Errors
    /// The diary cannot be written.
    pub fn note_hint(&mut self, id: &str, step: u8) -> Result<()> {
        let record = self.exercises.entry(id.to_owned()).or_default();
        record.hints = record.hints.max(step);
        self.keep()
    }

    /// The first exercise of the reading order that has not passed.
    pub fn next<'a>(&self, exercises: &'a [Exercise]) -> Option<&'a Exercise> {
        exercises.iter().find(|exercise| !self.record(&exercise.id).passed)
    }

    fn keep(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_string_pretty(self).context("cannot write down the progress")? + "\n";
        // Beside its place first: an editor's crash or a full disk must not cost the diary.
        let new = path.with_extension("new");
        fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The picture for a terminal: a line a chapter, a box an exercise.
    ///
    /// ```text
    /// chapter  1   [x] look-up  [x] reset-signals  [>] reap-all  [ ] pass-on       3 of 8 points
    /// ```
    pub fn picture(&self, exercises: &[Exercise]) -> String {
        let next = self.next(exercises).map(|exercise| exercise.id.clone());
        let mut text = String::new();
        for chapter in chapters(exercises) {
            let boxes = chapter.iter().map(|exercise| {
                let mark = match () {
                    () if self.record(&exercise.id).passed => 'x',
                    () if next.as_ref() == Some(&exercise.id) => '>',
                    () => ' ',
                };
                format!("[{mark}] {}", exercise.id)
            });
            let boxes = boxes.collect::<Vec<_>>().join("  ");
            let (have, all) = self.points(chapter);
            // Writing into a string cannot fail.
            let _ = writeln!(text, "chapter {:2}   {boxes:<82} {have:2} of {all:2} points", chapter[0].number());
        }
        let (have, all) = self.points(exercises);
        let filled = (have * 40).checked_div(all).unwrap_or(0) as usize;
        let _ = writeln!(text, "\n[{}{}] {have} of {all} points", "#".repeat(filled), ".".repeat(40 - filled));
        text
    }

    /// The same as a page that loads nothing from anywhere.
    pub fn page(&self, exercises: &[Exercise]) -> String {
        let mut rows = String::new();
        for chapter in chapters(exercises) {
            let _ = write!(rows, "<tr><th>{}</th><td>", chapter[0].number());
            for exercise in chapter {
                let record = self.record(&exercise.id);
                let class = if record.passed {
                    "passed"
                } else if record.checks > 0 {
                    "tried"
                } else {
                    "open"
                };
                let title = format!("{}: {} checks, {} hints", exercise.title, record.checks, record.hints);
                let _ = write!(
                    rows,
                    "<span class=\"{class}\" title=\"{}\">{}</span> ",
                    escaped(&title),
                    escaped(&exercise.id)
                );
            }
            let (have, all) = self.points(chapter);
            let _ = writeln!(rows, "</td><td>{have} of {all}</td></tr>");
        }
        let (have, all) = self.points(exercises);
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Progress</title>\n<style>\n\
             body {{ font-family: sans-serif; margin: 2em; color-scheme: light dark; }}\n\
             td, th {{ padding: .4em .8em; text-align: left; }}\n\
             span {{ display: inline-block; padding: .2em .6em; margin: .1em; border: 1px solid; border-radius: .3em; }}\n\
             .passed {{ background: #2a7; color: #fff; }} .tried {{ background: #c80; color: #000; }}\n\
             </style></head><body>\n<h1>{have} of {all} points</h1>\n<table>\n{rows}</table>\n</body></html>\n"
        )
    }

    fn points(&self, exercises: &[Exercise]) -> (u32, u32) {
        let points = |exercise: &Exercise| exercise.points;
        let passed = exercises.iter().filter(|exercise| self.record(&exercise.id).passed);
        (passed.map(points).sum(), exercises.iter().map(points).sum())
    }
}

fn chapters(exercises: &[Exercise]) -> impl Iterator<Item = &[Exercise]> {
    exercises.chunk_by(|one, other| one.number() == other.number())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
