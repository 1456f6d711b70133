//! What the book says about itself, made when it is built: the exercises of a chapter, and the blocks that nobody executes.
//!
//! - `{{#exercises 03-rootfs}}` becomes a table of the exercises in that chapter's `lab/lab.toml`;
//! - `{{#not-run}}` becomes the list of all console blocks that are not executed, with the reasons that stand above them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::console;
use crate::pages::House;

const EXERCISES: &str = "{{#exercises ";
const NOT_RUN: &str = "{{#not-run}}";

/// Replaces the directives of a page.
///
/// # Errors
/// A chapter has no exercises, or its `lab.toml` is malformed; the message names the page and the line.
pub fn expand(house: &House, page: &str, text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{page}:{}", index + 1);
        match line.trim().strip_prefix(EXERCISES).and_then(|rest| rest.strip_suffix("}}")) {
            Some(chapter) => out.push_str(&exercises(house.root(), chapter.trim()).with_context(place)?),
            None if line.trim() == NOT_RUN => out.push_str(&not_run(house).with_context(place)?),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    Ok(out)
}

/// What the book needs of `lab.toml`.
#[derive(Deserialize)]
struct File {
    exercise: Vec<Exercise>,
}

#[derive(Deserialize)]
struct Exercise {
    id: String,
    title: String,
    file: String,
    points: u32,
    minutes: u32,
}

fn exercises(root: &Path, chapter: &str) -> Result<String> {
    ensure!(chapter.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{chapter:?} is no chapter's directory");
    let path = root.join("chapters").join(chapter).join("lab/lab.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    let mut table = "| exercise | what you write | where | points | minutes |\n|---|---|---|---|---|\n".to_owned();
    for Exercise { id, title, file, points, minutes } in &file.exercise {
        // Writing into a string cannot fail.
        let _ = writeln!(table, "| `{id}` | {title} | `{file}` | {points} | {minutes} |");
    }
    Ok(table)
}

fn not_run(house: &House) -> Result<String> {
    let mut list = String::new();
    for page in house.pages()? {
        for block in console::blocks(&page.name, &page.text)? {
            if let (Some(reason), Some(first)) = (&block.not_run, block.commands.first()) {
                let _ = writeln!(list, "- [`{}`]({}): `{}` is not run: {reason}.", page.name, page.name, first.command);
            }
        }
    }
    Ok(list)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chapters_exercises_and_the_blocks_that_are_not_run_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("book/book.toml", "");
        write("book/src/a.md", "<!-- not run: a picture -->\n```console\n$ reboot\n```\n");
        write(
            "chapters/03-x/lab/lab.toml",
            "[[exercise]]\nid = \"one\"\ntitle = \"One\"\nfile = \"src/a.rs\"\npoints = 2\nminutes = 9\nmore = 1\n",
        );
        let house = House::find(root.path()).unwrap();
        let text = expand(&house, "p.md", "{{#exercises 03-x}}\n{{#not-run}}\n").unwrap();
        assert!(text.contains("| `one` | One | `src/a.rs` | 2 | 9 |\n"), "{text}");
        assert!(text.contains("- [`a.md`](a.md): `reboot` is not run: a picture.\n"), "{text}");
        let error = expand(&house, "p.md", "\n{{#exercises 04-y}}\n").unwrap_err();
        assert!(format!("{error:#}").starts_with("p.md:2: cannot read "), "{error:#}");
    }
}
