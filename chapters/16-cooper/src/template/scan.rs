//! From text to tokens.

use super::{Result, fail};

/// A longer template is nobody's honest wish, bytes.
const LONGEST: usize = 64 << 10;

/// What a template is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of `{{ }}`.
    Text(String),
    /// The words between `{{` and `}}`.
    Action(Vec<Word>),
}

/// What an action is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A string, in either kind of quotes.
    String(String),
    /// A number.
    Number(String),
    /// `name`, `.A.B`, `$x.A`, `.`, and after a bracket `.A`.
    Name(String),
    /// `(`, `)`, `|`, `,`, `:=`, `=`.
    Sign(&'static str),
}

/// Takes a template apart.
pub(super) fn scan(text: &str) -> Result<Vec<Token>> {
    if text.len() > LONGEST {
        return fail(format!("longer than {LONGEST} bytes"));
    }
    let (mut tokens, mut rest, mut trim) = (Vec::new(), text, false);
    while !rest.is_empty() {
        let (plain, action) = rest.split_once("{{").map_or((rest, None), |(plain, action)| (plain, Some(action)));
        let trims_left = action.is_some_and(|action| action.starts_with("- "));
        let plain = if trim { plain.trim_start() } else { plain };
        let plain = if trims_left { plain.trim_end() } else { plain };
        if !plain.is_empty() {
            tokens.push(Token::Text(plain.to_owned()));
        }
        let Some(action) = action else { break };
        let action = if trims_left { &action[1..] } else { action };
        if let Some(comment) = action.trim_start().strip_prefix("/*") {
            let Some((_, after)) = comment.split_once("*/") else { return fail("a comment without end") };
            let Some((between, after)) = after.split_once("}}") else { return fail("{{ without }}") };
            trim = between.trim_end().ends_with('-');
            rest = after;
            continue;
        }
        let (words, after) = words(action)?;
        trim = after.0;
        rest = after.1;
        tokens.push(Token::Action(words));
    }
    Ok(tokens)
}

/// The words up to `}}`; what follows, and whether white space is to be cut off it.
fn words(action: &str) -> Result<(Vec<Word>, (bool, &str))> {
    let (mut words, mut rest) = (Vec::new(), action);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((words, (false, after)));
        }
        if let Some(after) = rest.strip_prefix("-}}") {
            return Ok((words, (true, after)));
        }
        let Some(first) = rest.chars().next() else { return fail("{{ without }}") };
        let (word, after) = match first {
            '"' => quoted(rest)?,
            '`' => match rest[1..].split_once('`') {
                Some((text, after)) => (Word::String(text.to_owned()), after),
                None => return fail("a string without end"),
            },
            '(' | ')' | '|' | ',' | '=' => {
                let sign = match first {
                    '(' => "(",
                    ')' => ")",
                    '|' => "|",
                    ',' => ",",
                    _ => "=",
                };
                (Word::Sign(sign), &rest[1..])
            }
            ':' if rest.starts_with(":=") => (Word::Sign(":="), &rest[2..]),
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                let end =
                    rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '.').map_or(rest.len(), |end| end + 1);
                (Word::Number(rest[..end].to_owned()), &rest[end..])
            }
            c if c.is_alphabetic() || matches!(c, '_' | '.' | '$') => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '$'));
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                (Word::Name(name.to_owned()), after)
            }
            other => return fail(format!("unexpected {other:?} in an action")),
        };
        words.push(word);
        rest = after;
    }
}

/// A string in double quotes, with Go's escapes.
fn quoted(text: &str) -> Result<(Word, &str)> {
    let mut string = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Word::String(string), &text[at + 1..])),
            '\\' => string.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, same @ ('"' | '\\' | '\''))) => same,
                other => return fail(format!("no such escape: \\{}", other.map_or(' ', |(_, c)| c))),
            }),
            other => string.push(other),
        }
    }
    fail("a string without end")
}
