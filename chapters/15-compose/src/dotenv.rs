//! `.env` and `env_file`: one `NAME=VALUE` a line.
//!
//! The format has no specification but its habits, and these are the ones that everybody shares:
//! blank lines and `#` lines are skipped, `export` in front is allowed, single quotes keep
//! everything, double quotes know `\n`, `\t`, `\"`, `\\` and `$`, and without quotes a blank and a
//! `#` begin a comment. Values may use variables that were set before.

use std::path::Path;

use crate::error::Error;
use crate::interpolation::{Lookup, substitute};
use crate::yaml;

/// Reads a file. Its variables see those above them, and then what `lookup` knows.
///
/// # Errors
/// A file that cannot be read, and a line that is none, with its number.
pub fn read(file: &Path, lookup: Lookup<'_>) -> Result<Vec<(String, String)>, Error> {
    parse(&yaml::read(file)?, lookup).map_err(|message| Error::text(file, message))
}

/// Reads a text.
///
/// # Errors
/// The line's number, and what is wrong with it.
pub fn parse(text: &str, lookup: Lookup<'_>) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let wrong = |message: &str| format!("line {}: {message}", index + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (line, None),
        };
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains(['\'', '"']) {
            return Err(wrong(&format!("{name:?} is no variable's name")));
        }
        let known = |wanted: &str| {
            let above = pairs.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            lookup(wanted).or(above)
        };
        match value {
            // A bare name passes on what the environment has, if it has it.
            None => pairs.extend(lookup(name).map(|value| (name.to_owned(), value))),
            Some(value) => {
                let value = unquote(value, &known).map_err(|message| wrong(&message))?;
                pairs.push((name.to_owned(), value));
            }
        }
    }
    Ok(pairs)
}

/// Takes quotes and comments away and fills variables in.
fn unquote(value: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let quoted = |quote: char| -> Option<Result<&str, String>> {
        let rest = value.strip_prefix(quote)?;
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped && quote == '"';
            ends
        });
        Some(match end {
            None => Err(format!("unterminated quoted value {value}")),
            Some((end, _)) if !matches!(rest[end + 1..].trim_start().chars().next(), None | Some('#')) => {
                Err(format!("unexpected characters behind the quoted value {value}"))
            }
            Some((end, _)) => Ok(&rest[..end]),
        })
    };
    if let Some(text) = quoted('\'') {
        return text.map(str::to_owned);
    }
    if let Some(text) = quoted('"') {
        return substitute(&unescape(text?), lookup, &mut Vec::new());
    }
    let end = value.find(" #").unwrap_or(value.len());
    substitute(value[..end].trim_end(), lookup, &mut Vec::new())
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => out.push(c),
            _ => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some('$') => out.push_str("$$"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        parse(text, &|name| (name == "HOME").then(|| "/home".to_owned()))
    }

    #[test]
    fn lines_mean_what_everybody_expects() {
        let text = "# c\n\nA=1\nexport B = two words # c\nC='$A #'\nD=\"x\\ny $A \\$A\" # c\nE=$HOME/$A\nHOME\nNOPE\nF=\nG=a#b\n";
        let read = pairs(text).unwrap();
        let read: Vec<String> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read, ["A=1", "B=two words", "C=$A #", "D=x\ny 1 $A", "E=/home/1", "HOME=/home", "F=", "G=a#b"]);
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        for (text, says) in [
            ("A=1\n=2", "line 2"),
            ("A='x", "line 1: unterminated"),
            ("a b=1", "no variable's name"),
            ("A=\"x\" y", "unexpected"),
        ] {
            assert!(pairs(text).unwrap_err().contains(says), "{text}");
        }
    }
}
