//! From a file's text to its instructions' lines.
//!
//! Below the instructions, a Dockerfile is a text of *physical* lines, and an instruction may
//! span many of them. This module does what BuildKit's parser does, in its order, because the
//! order shows: a comment is dropped *before* continuations are joined, so a comment line in
//! the middle of a long `RUN` vanishes and the instruction goes on below it.
//!
//! ```text
//!  # escape=`            directive: only at the very top, before anything else
//!  # a comment           dropped
//!  RUN apt-get update && \      a continuation: the escape character, then blanks, then the end
//!      # why not          dropped, although in the middle of an instruction
//!                         dropped too (BuildKit warns)
//!      apt-get upgrade    joined: "RUN apt-get update &&     apt-get upgrade"
//! ```
//!
//! # References
//! <https://docs.docker.com/reference/dockerfile/#format>

use std::path::Path;

use crate::error::{Error, Place};

/// No Dockerfile of a person is longer, in bytes; a longer one is refused before it is parsed.
pub const MAX_SIZE: usize = 1 << 20;

/// One instruction's text, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The first physical line, from 1.
    pub number: usize,
    /// Continuations joined, comments gone, no blank at either end.
    pub text: String,
    /// The here-documents that the line opened, in order.
    pub heredocs: Vec<Heredoc>,
}

/// A here-document: the lines between `<<NAME` and a line that is just `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Its lines, each with its newline; leading tabs are gone if it was opened by `<<-`.
    pub content: String,
    /// Whether variables inside are expanded: not if the name was quoted.
    pub expand: bool,
}

/// The parser directives at the top of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directives {
    /// The escape character: a backslash, or a backtick for Windows paths' sake.
    pub escape: char,
}

/// Splits `text` into the directives and the lines of the instructions.
///
/// # Errors
/// An unknown escape character, a directive given twice, a here-document without an end, and
/// a text without any instruction.
pub fn split(file: &Path, text: &str) -> Result<(Directives, Vec<Line>), Error> {
    if text.len() > MAX_SIZE {
        let message = format!("{} bytes, and {MAX_SIZE} is the most that a Dockerfile may have", text.len());
        return Err(Error::File { file: file.to_owned(), message });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.lines().collect();
    let directives = directives(file, &physical)?;
    let mut lines = Vec::new();
    let mut at = 0;
    while at < physical.len() {
        let number = at + 1;
        let joined = join(&physical, &mut at, directives.escape);
        let text = joined.trim();
        if text.is_empty() {
            continue;
        }
        let heredocs = heredocs(file, number, text, &physical, &mut at)?;
        lines.push(Line { number, text: text.to_owned(), heredocs });
    }
    if lines.is_empty() {
        return Err(Error::File { file: file.to_owned(), message: "no instruction in it".to_owned() });
    }
    Ok((directives, lines))
}

/// Takes one instruction from `physical[*at..]`, joining its continuations, and moves `at`
/// behind it. Comments and blank lines inside and before it are dropped.
fn join(physical: &[&str], at: &mut usize, escape: char) -> String {
    let mut joined = String::new();
    let first = *at;
    while let Some(line) = physical.get(*at) {
        *at += 1;
        let bare = line.trim();
        if bare.starts_with('#') || bare.is_empty() {
            if *at == first + 1 {
                return joined;
            }
            continue;
        }
        match continued(line, escape) {
            Some(part) => joined.push_str(part),
            None => {
                joined.push_str(line);
                return joined;
            }
        }
    }
    joined
}

/// The line without its continuation mark, if it has one.
///
/// Two escape characters in a row are none: `echo \\` ends in a backslash and does not go on.
fn continued(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// Reads the `# key=value` lines at the top.
///
/// The first line that is no known directive ends them, be it a blank one: below it,
/// `# escape=...` is just a comment.
fn directives(file: &Path, physical: &[&str]) -> Result<Directives, Error> {
    let mut found = Directives { escape: '\\' };
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in physical.iter().enumerate() {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else { break };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if !matches!(key.as_str(), "syntax" | "escape" | "check") || value.is_empty() {
            break;
        }
        let place = Place::new(file, index + 1, *line);
        if seen.contains(&key) {
            return Err(Error::dockerfile(&place, format!("the directive {key:?} is given twice")));
        }
        match (key.as_str(), value) {
            ("escape", "\\" | "`") => found.escape = value.chars().next().unwrap_or('\\'),
            ("escape", _) => {
                return Err(Error::dockerfile(&place, format!("invalid escape {value:?}: it must be ` or \\")));
            }
            // `syntax` names an image with another parser, and `check` configures a linter.
            // There is one parser here, and the usual images (docker/dockerfile:1...) mean
            // just this language; anything else would be a language that we do not speak.
            ("syntax", image) if !speaks(image) => {
                let message =
                    format!("the syntax {image:?} is not supported: only docker/dockerfile, which is built in");
                return Err(Error::dockerfile(&place, message));
            }
            _ => {}
        }
        seen.push(key);
    }
    Ok(found)
}

/// Whether a `syntax` directive names the language of this parser.
fn speaks(image: &str) -> bool {
    let name = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

/// Takes the here-documents that `text` opens from the lines below it.
fn heredocs(file: &Path, number: usize, text: &str, physical: &[&str], at: &mut usize) -> Result<Vec<Heredoc>, Error> {
    let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let Some((name, expand, chomp)) = opening(word) else { continue };
        let mut content = String::new();
        loop {
            let Some(line) = physical.get(*at) else {
                let place = Place::new(file, number, text);
                return Err(Error::dockerfile(&place, format!("the here-document {name:?} has no end")));
            };
            *at += 1;
            let line = if chomp { line.trim_start_matches('\t') } else { line };
            if line == name {
                break;
            }
            content.push_str(line);
            content.push('\n');
        }
        found.push(Heredoc { name: name.to_owned(), content, expand });
    }
    Ok(found)
}

/// Reads `<<NAME`, `<<-NAME`, `<<"NAME"`, `0<<NAME`: (name, whether to expand, whether to drop tabs).
fn opening(word: &str) -> Option<(&str, bool, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let quoted = |q: char| rest.strip_prefix(q).and_then(|r| r.strip_suffix(q));
    let (name, expand) = match quoted('"').or_else(|| quoted('\'')) {
        Some(name) => (name, false),
        None => (rest, true),
    };
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    plain.then_some((name, expand, chomp))
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
