//! Words, quotes and variables, as a Dockerfile has them.
//!
//! A Dockerfile is no shell script, but its words look like one's. The rules are a shell's in
//! small: single quotes keep everything, double quotes keep blanks but let variables through,
//! the escape character keeps the next character. Two operations are all there is:
//!
//! - [`split`] cuts a line into words at unquoted blanks and *keeps* quotes and escapes;
//! - [`expand`] replaces variables in one word and *removes* quotes and escapes.
//!
//! | written | means |
//! |---|---|
//! | `$v`, `${v}` | its value, or nothing |
//! | `${v:-word}`, `${v-word}` | its value, or else the word (with `:`, an empty value counts as none) |
//! | `${v:+word}`, `${v+word}` | the word if it has a value, else nothing |
//! | `${v:?word}`, `${v?word}` | its value, or else the build fails with the word as message |
//! | `${v#p}` `${v##p}` `${v%p}` `${v%%p}` | its value less the shortest (longest) beginning (end) that `p` matches |
//! | `${v/p/word}` `${v//p/word}` | its value with the first (each) match of `p` replaced |
//! | `\$v`, `'$v'` | no variable |
//!
//! The words inside braces are expanded themselves; how deep that may go is bounded.
//!
//! # References
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>, POSIX shell 2.6.2

use crate::pattern;

/// How deep `${a:-${b:-${c...}}}` may nest.
const MAX_DEPTH: usize = 32;

/// How long an expanded word may get, in bytes: a chain of `ENV a=$a$a` doubles each time.
const MAX_LENGTH: usize = 1 << 20;

/// Cuts a line into words at blanks outside quotes; the words keep quotes and escapes.
pub fn split(line: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Expands one word: variables replaced by what `lookup` knows, quotes and escapes removed.
///
/// # Errors
/// A message (without a place: the caller knows it) for an unknown form, a missing brace,
/// a `:?` that fails, and an expansion that grows beyond bounds.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    read_all(word, escape, Quotes::Removed, lookup)
}

/// Expands the text of a here-document: variables as in [`expand`], but quotes are just text, and
/// the escape character escapes only a `$` and itself.
///
/// # Errors
/// As [`expand`].
pub fn expand_text(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    read_all(text, escape, Quotes::Kept, lookup)
}

fn read_all(
    text: &str,
    escape: char,
    quotes: Quotes,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, escape, quotes, lookup };
    let mut out = String::new();
    reader.read(&mut out, None, 0)?;
    Ok(out)
}

/// What quotes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// Marks, which expansion takes away.
    Removed,
    /// Text.
    Kept,
}

/// A cursor over one word's characters.
struct Reader<'a> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    quotes: Quotes,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Reads up to `end` (which stays unread) or the end of the word.
    fn read(&mut self, out: &mut String, end: Option<&[char]>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("variables nested deeper than {MAX_DEPTH}"));
        }
        while let Some(c) = self.peek() {
            if end.is_some_and(|end| end.contains(&c)) {
                return Ok(());
            }
            self.at += 1;
            match c {
                '\'' if self.quotes == Quotes::Removed => self.single_quoted(out)?,
                '"' if self.quotes == Quotes::Removed => self.double_quoted(out, depth)?,
                '$' => self.variable(out, depth)?,
                c if c == self.escape && self.quotes == Quotes::Kept => match self.peek() {
                    Some(next) if next == '$' || next == self.escape => out.extend(self.next()),
                    _ => out.push(c),
                },
                c if c == self.escape => match self.next() {
                    Some(next) => out.push(next),
                    // A lone escape at the very end stands for itself, as in BuildKit.
                    None => out.push(c),
                },
                c => out.push(c),
            }
            if out.len() > MAX_LENGTH {
                return Err(format!("expands to more than {MAX_LENGTH} bytes"));
            }
        }
        Ok(())
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
            }
        }
    }

    /// Inside double quotes the escape character escapes only what would else be special.
    fn double_quoted(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(out, depth)?,
                Some(c) if c == self.escape => match self.peek() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.push(next);
                        self.at += 1;
                    }
                    _ => out.push(c),
                },
                Some(c) => out.push(c),
                None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
            }
        }
    }

    /// Reads what follows a `$`.
    fn variable(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        if self.peek() == Some('{') {
            self.at += 1;
            return self.braced(out, depth);
        }
        let name = self.name();
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&(self.lookup)(&name).unwrap_or_default());
        }
        Ok(())
    }

    /// A name: letters, digits and `_`, or one digit (which is never set here).
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if !(c.is_ascii_alphanumeric() || c == '_') || (name.is_empty() && c.is_ascii_digit()) {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }

    /// Reads what follows a `${`, and the closing brace.
    fn braced(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        let name = self.name();
        if name.is_empty() {
            return Err("bad substitution: ${ needs a name".to_owned());
        }
        let value = (self.lookup)(&name);
        let operator = self.next().ok_or_else(|| format!("bad substitution: ${{{name} has no closing brace"))?;
        match operator {
            '}' => {
                out.push_str(&value.unwrap_or_default());
                return Ok(());
            }
            ':' | '-' | '+' | '?' => self.conditional(out, &name, value, operator, depth)?,
            '#' | '%' => {
                let longest = self.peek() == Some(operator) && self.next().is_some();
                let pattern = self.word_until(&['}'], depth)?;
                let value = value.unwrap_or_default();
                out.push_str(pattern::trim(&value, &pattern, operator == '#', longest)?);
            }
            '/' => {
                let all = self.peek() == Some('/') && self.next().is_some();
                let pattern = self.word_until(&['/', '}'], depth)?;
                let with = if self.peek() == Some('/') {
                    self.at += 1;
                    self.word_until(&['}'], depth)?
                } else {
                    String::new()
                };
                out.push_str(&pattern::replace(&value.unwrap_or_default(), &pattern, &with, all)?);
            }
            other => return Err(format!("unsupported modifier {other:?} in ${{{name}...}}")),
        }
        match self.next() {
            Some('}') => Ok(()),
            _ => Err(format!("bad substitution: ${{{name} has no closing brace")),
        }
    }

    /// `${v:-word}` and its kin; `operator` has been read.
    fn conditional(
        &mut self,
        out: &mut String,
        name: &str,
        value: Option<String>,
        operator: char,
        depth: usize,
    ) -> Result<(), String> {
        let (operator, value) = if operator == ':' {
            (self.next().unwrap_or(' '), value.filter(|value| !value.is_empty()))
        } else {
            (operator, value)
        };
        let word = self.word_until(&['}'], depth)?;
        match (operator, value) {
            ('-', value) => out.push_str(&value.unwrap_or(word)),
            ('+', Some(_)) => out.push_str(&word),
            ('+', None) => {}
            ('?', Some(value)) => out.push_str(&value),
            ('?', None) if word.is_empty() => return Err(format!("{name}: not allowed to be unset")),
            ('?', None) => return Err(format!("{name}: {word}")),
            (other, _) => return Err(format!("unsupported modifier {other:?} in ${{{name}:...}}")),
        }
        Ok(())
    }

    fn word_until(&mut self, end: &[char], depth: usize) -> Result<String, String> {
        let mut word = String::new();
        self.read(&mut word, Some(end), depth + 1)?;
        Ok(word)
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
