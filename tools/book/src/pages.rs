//! The book's pages: Markdown files below `book/src`, and where they point.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it lies.
    pub path: PathBuf,
    /// The path relative to the book's sources, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The workspace with the book.
#[derive(Debug, Clone)]
pub struct House {
    root: PathBuf,
}

impl House {
    /// The workspace at `start` or above it.
    ///
    /// # Errors
    /// There is no `book/book.toml` in sight.
    pub fn find(start: &Path) -> Result<Self> {
        let start = start.canonicalize().with_context(|| format!("cannot open {}", start.display()))?;
        let root = start.ancestors().find(|directory| directory.join("book/book.toml").is_file());
        let root = root.with_context(|| format!("no book/book.toml in {} or above it", start.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The workspace's directory: paths in `{{#item ...}}` are relative to it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory with `book.toml`.
    pub fn book(&self) -> PathBuf {
        self.root.join("book")
    }

    /// All pages, in the order of their names.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn pages(&self) -> Result<Vec<Page>> {
        let sources = self.book().join("src");
        let mut pages = Vec::new();
        walk(&sources, &sources, &mut pages)?;
        pages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pages)
    }
}

fn walk(directory: &Path, sources: &Path, pages: &mut Vec<Page>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, sources, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(sources)?.to_string_lossy().into_owned();
            pages.push(Page { path, name, text });
        }
    }
    Ok(())
}

/// What is wrong with a page's links: targets that are not there, and pictures or scripts from another host.
pub fn broken_links(page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let directory = page.path.parent().unwrap_or(Path::new("."));
    let mut fenced = false;
    for (index, line) in page.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let place = format!("{}:{}", page.name, index + 1);
        for (picture, target) in targets(line) {
            let remote = target.contains("://");
            if remote && picture {
                wrong.push(format!("{place}: a picture from another host: {target}"));
            }
            let file = target.split('#').next().unwrap_or_default();
            if !remote && !file.is_empty() && !target.starts_with("mailto:") && !directory.join(file).exists() {
                wrong.push(format!("{place}: nothing is at {target}"));
            }
        }
        for word in ["<script", "src=\"http", "@import", "<link"] {
            if line.contains(word) {
                wrong.push(format!("{place}: `{word}`: the book loads nothing from elsewhere"));
            }
        }
    }
    wrong
}

/// `[text](target)` and `![text](target)` in a line; whether it is a picture, and the target.
fn targets(line: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
        let picture = line[..at].rfind('[').is_some_and(|open| line[..open].ends_with('!'));
        found.push((picture, target));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_link_and_a_foreign_picture_are_found_with_their_lines() {
        let text = "[ok](https://kernel.org) [gone](nowhere.md#x)\n\n![far](https://example.org/a.svg)\n```\n[no](code)\n```\n";
        let page = Page { path: "/nonexistent/p.md".into(), name: "p.md".to_owned(), text: text.to_owned() };
        let wrong =
            ["p.md:1: nothing is at nowhere.md#x", "p.md:3: a picture from another host: https://example.org/a.svg"];
        assert_eq!(broken_links(&page), wrong);
    }
}
