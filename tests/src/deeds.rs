//! Deeds: lines for a host, done twice, once with a runtime that everybody knows and once with ours. What is to be seen of
//! both must be the same.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::engine::Said;

/// A deed: its name, and its lines. `NAME` is a name that differs from runtime to runtime. A line that begins with `until`
/// is repeated, for ten seconds at most, until it says what follows `is`.
pub type Deed = (&'static str, &'static [&'static str]);

/// Does all deeds with each runtime in turn; what differed, or nothing. `run` runs the words of a line with the runtime of
/// that name.
///
/// # Errors
/// Those of `run`.
pub fn compare(deeds: &[Deed], theirs: &str, run: impl Fn(&str, &[String]) -> Result<Said>) -> Result<String> {
    let mut differences = String::new();
    for (number, (deed, lines)) in deeds.iter().enumerate() {
        let expected = seen(lines, &format!("theirs{number}"), |words| run(theirs, words))?;
        let own = seen(lines, &format!("own{number}"), |words| run("cooper-runtime", words))?;
        if own != expected {
            let _ = writeln!(differences, "=== {deed}\n--- with {theirs}\n{expected}--- with cooper-runtime\n{own}");
        }
    }
    Ok(differences)
}

/// Does a deed, and tells what was to be seen of it.
fn seen(lines: &[&str], name: &str, run: impl Fn(&[String]) -> Result<Said>) -> Result<String> {
    let mut seen = String::new();
    for line in lines {
        let line = line.replace("NAME", name);
        let (line, wanted) = match line.strip_prefix("until ") {
            Some(line) => {
                let (line, wanted) = line.split_once(" is ").context("until what is what?")?;
                (line.to_owned(), Some(wanted.to_owned()))
            }
            None => (line, None),
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let said = loop {
            let said = run(&words(&line))?;
            let both = format!("{} {}", said.out, said.err);
            let enough = wanted.as_ref().is_none_or(|wanted| both.split_whitespace().eq(wanted.split_whitespace()));
            if enough || Instant::now() > deadline {
                break said;
            }
        };
        // What failed is told by the runtime in its own words; what a program says, and how it ends, must be the same.
        let told = if said.code < 125 { without_ids(&said.out) + &without_ids(&said.err) } else { String::new() };
        let _ = writeln!(seen, "$ {line}\n{told}[{}]", said.code);
    }
    Ok(seen.replace(name, "NAME"))
}

/// Words of a line, as a shell would read it: separated by spaces, single quotes around those that have some.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Ids of containers are nobody's fault, and what the host logs beside (`time="..." level=warning`) is about the machine.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line =
        |line: &str| line.split(' ').map(|word| if is_id(word) { "[ID]" } else { word }).collect::<Vec<_>>().join(" ");
    text.lines().filter(|text| !text.starts_with("time=\"")).map(|text| line(text) + "\n").collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_difference_is_seen_in_output_and_in_exit_codes() {
        let deeds: &[Deed] = &[("same", &["a NAME 'b c'"]), ("other", &["until d is d"])];
        let said = |code, out: &str| Said { code, out: out.to_owned(), err: String::new() };
        let alike = compare(deeds, "runc", |_, words| Ok(said(0, &words.join("|")))).unwrap();
        assert_eq!(alike, "");
        let code = |runtime: &str, _: &[String]| Ok(said(i32::from(runtime == "runc"), "d"));
        let differ = compare(deeds, "runc", code).unwrap();
        assert!(differ.contains("=== same") && differ.contains("=== other"), "{differ}");
    }
}
