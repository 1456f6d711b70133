//! Spelling: every word of the prose stands in the dictionary, or in the book's own list.
//!
//! The dictionary is Debian's British one, `/usr/share/dict/british-english`. What it does not know and what is right all the
//! same, the words of the field, stands in `book/words.txt`: one a line, in order. Code is not prose: blocks, `spans`,
//! links' targets and words in capitals are left alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::pages::{House, Page};

const DICTIONARY: &str = "/usr/share/dict/british-english";
/// The Debian package that it is in.
pub const PACKAGE: &str = "wbritish";

/// The dictionary and the book's own words.
#[derive(Debug)]
pub struct Speller {
    dictionary: HashSet<String>,
    own: Vec<String>,
    used: BTreeSet<String>,
}

impl Speller {
    /// The speller of this machine; `None` if it has no dictionary.
    ///
    /// # Errors
    /// A list is there and cannot be read.
    pub fn find(house: &House) -> Result<Option<Self>> {
        if !Path::new(DICTIONARY).exists() {
            return Ok(None);
        }
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Some(Self::new(&read(Path::new(DICTIONARY))?, &read(&house.book().join("words.txt"))?)))
    }

    fn new(dictionary: &str, own: &str) -> Self {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Self { dictionary: lines(dictionary).into_iter().collect(), own: lines(own), used: BTreeSet::new() }
    }

    /// What is misspelt on a page, with its lines.
    pub fn misspelt(&mut self, page: &Page) -> Vec<String> {
        let mut wrong = BTreeMap::new();
        for (line, word) in words(&page.text) {
            if !self.knows(&word) {
                wrong.entry(word).or_insert(line);
            }
        }
        let told = wrong.into_iter().map(|(word, line)| {
            format!("{}:{line}: no dictionary knows {word:?}: mend it, or add it to book/words.txt", page.name)
        });
        told.collect()
    }

    /// What is wrong with the book's own list, once every page was read: words that nobody needs, and their order.
    pub fn stale(&self) -> Vec<String> {
        let idle = self.own.iter().filter(|word| !self.used.contains(*word));
        let mut wrong: Vec<String> =
            idle.map(|word| format!("words.txt: no page needs {word:?}: take it out")).collect();
        if let Some(pair) = self.own.windows(2).find(|pair| pair[0] >= pair[1]) {
            wrong.push(format!("words.txt: {:?} stands before {:?}", pair[0], pair[1]));
        }
        wrong
    }

    fn knows(&mut self, word: &str) -> bool {
        let lower = word.to_lowercase();
        if self.dictionary.contains(word) || self.dictionary.contains(&lower) {
            return true;
        }
        // `Docker` may be `docker` nowhere, and `Namespaces` begins a sentence.
        for form in [word, &lower] {
            if self.own.iter().any(|own| own == form) {
                self.used.insert(form.to_owned());
                return true;
            }
        }
        false
    }
}

/// The words of a page's prose, with their lines from 1.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut code = false;
    for (event, range) in Parser::new_ext(text, Options::all() - Options::ENABLE_SMART_PUNCTUATION).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(TagEnd::CodeBlock) => code = false,
            Event::Text(prose) if !code => {
                let line = text[..range.start].matches('\n').count() + 1;
                found.extend(split(&prose).map(|word| (line, word)));
            }
            _ => {}
        }
    }
    found
}

/// Words of letters and apostrophes; without the 's of a possessive, and without what is code or a name: digits, underscores,
/// capitals inside, directives.
fn split(prose: &str) -> impl Iterator<Item = String> {
    let pieces = prose.split(|c: char| !(c.is_alphanumeric() || "'\u{2019}_#{}/.@$".contains(c)));
    let words = pieces.filter_map(|piece| {
        let word = piece.trim_matches(|c: char| !c.is_alphabetic()).replace('\u{2019}', "'");
        let word = word.strip_suffix("'s").unwrap_or(&word).to_owned();
        let letters = word.chars().all(|c| c.is_ascii_alphabetic() || c == '\'');
        let capitals = word.chars().skip(1).any(|c| c.is_ascii_uppercase());
        (word.len() > 1 && letters && !capitals && !piece.contains(['#', '{', '$'])).then_some(word)
    });
    words.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "/nonexistent/p.md".into(), name: "p.md".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_misspelt_word_is_found_with_its_line_and_code_is_left_alone() {
        let mut speller = Speller::new("a\nand\nprocess\nthe\n", "cgroup\n");
        let text = "# The cgroup's process\n\nA `proces` and **a\nproccess** [the](reciept.md) AND RunC2 mount_setattr {{#item x}}\n\n\
                    ```text\nteh\n```\n\n    indented teh\n";
        let wrong = speller.misspelt(&page(text));
        assert_eq!(wrong, ["p.md:4: no dictionary knows \"proccess\": mend it, or add it to book/words.txt"]);
        assert!(speller.stale().is_empty());
    }

    #[test]
    fn a_list_of_words_that_nobody_needs_is_noticed() {
        let mut speller = Speller::new("a\n", "podman\ncgroup\nveth\n");
        assert!(speller.misspelt(&page("a Veth cgroup\n")).is_empty());
        let expected =
            ["words.txt: no page needs \"podman\": take it out", "words.txt: \"podman\" stands before \"cgroup\""];
        assert_eq!(speller.stale(), expected);
    }
}
