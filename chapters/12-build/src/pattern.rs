//! Patterns over paths, in the three dialects that a build meets.
//!
//! They look alike and are not:
//!
//! | where | dialect | `*` crosses `/` | `**` | `[a-z]`, `[^a]` | escape |
//! |---|---|---|---|---|---|
//! | `COPY *.py /` | Go's `filepath.Match` ([`Dialect::Go`]) | no | as `*` | yes | `\` |
//! | `.dockerignore` | moby's patternmatcher ([`Dialect::Ignore`]) | no | any depth, also none | yes | `\` |
//! | `${v#p}` | the shell's ([`trim`], [`replace`]) | yes | as `*` | no | `\` |
//!
//! One small matcher serves all three. It compiles a pattern into tokens and runs them as a
//! set of states over the text, one pass, so that no pattern, however hostile, takes more than
//! (length of pattern) x (length of text) steps; backtracking matchers take exponentially many.
//!
//! # References
//! <https://pkg.go.dev/path/filepath#Match>, <https://docs.docker.com/build/concepts/context/#syntax>

/// One unit of a compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Exactly this character.
    Literal(char),
    /// `?`: any one character, but a slash only in the shell's dialect.
    Any,
    /// `*`: any number of characters, but no slash except in the shell's dialect.
    Star,
    /// `[a-z]`: one of these ranges, or with `^` none of them, and never a slash.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `**/`: nothing at all (then the next token too is skipped), or what the next token reads.
    Directories,
    /// The inside of `**/`: anything that ends in a slash.
    Inside,
    /// `**` at the end: anything, slashes too.
    Everything,
}

/// Which of the dialects a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Go's `filepath.Match`.
    Go,
    /// `.dockerignore`, where `**` crosses directories.
    Ignore,
    /// The shell's, in `${v#pattern}`.
    Shell,
}

/// The longest value that `${v/pattern/word}` works on, in characters.
const MAX_REPLACED: usize = 16 * 1024;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    tokens: Vec<Token>,
    dialect: Dialect,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A message for an unclosed or empty class and for a trailing escape.
    pub fn new(pattern: &str, dialect: Dialect) -> Result<Pattern, String> {
        Ok(Pattern { tokens: compile(pattern, dialect)?, dialect })
    }

    /// Whether the pattern matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let length = text.chars().count();
        self.prefixes(text.chars()).last() == Some(&length)
    }

    /// The lengths, in characters and ascending, of the beginnings that the pattern matches.
    fn prefixes(&self, text: impl Iterator<Item = char>) -> Vec<usize> {
        let end = self.tokens.len();
        let mut states = vec![false; end + 1];
        states[0] = true;
        self.skip(&mut states);
        let mut found = Vec::new();
        if states[end] {
            found.push(0);
        }
        for (index, c) in text.enumerate() {
            let mut after = vec![false; end + 1];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
                match token {
                    Token::Star => after[at] |= self.crosses(c),
                    Token::Everything => after[at] = true,
                    Token::Inside => {
                        after[at] = true;
                        after[at + 1] |= c == '/';
                    }
                    single => after[at + 1] |= self.accepts(single, c),
                }
            }
            self.skip(&mut after);
            if after[end] {
                found.push(index + 1);
            }
            if !after.contains(&true) {
                break;
            }
            states = after;
        }
        found
    }

    /// Lets states through the tokens that may match nothing.
    fn skip(&self, states: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Star | Token::Everything if states[at] => states[at + 1] = true,
                Token::Directories if states[at] => {
                    states[at + 1] = true;
                    states[at + 2] = true;
                }
                _ => {}
            }
        }
    }

    fn crosses(&self, c: char) -> bool {
        c != '/' || self.dialect == Dialect::Shell
    }

    /// Whether a one-character token accepts `c`.
    fn accepts(&self, token: &Token, c: char) -> bool {
        match token {
            Token::Literal(literal) => *literal == c,
            Token::Any => self.crosses(c),
            Token::Class { negated, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            Token::Star | Token::Directories | Token::Inside | Token::Everything => false,
        }
    }
}

/// Whether `text` has a character that is special in a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`: the value without its matching beginning or end.
///
/// # Errors
/// As [`Pattern::new`].
pub fn trim<'v>(value: &'v str, pattern: &str, from_start: bool, longest: bool) -> Result<&'v str, String> {
    let mut pattern = Pattern::new(pattern, Dialect::Shell)?;
    let pick = |found: Vec<usize>| if longest { found.last().copied() } else { found.first().copied() };
    if from_start {
        let cut = pick(pattern.prefixes(value.chars())).unwrap_or(0);
        return Ok(&value[offset(value, cut)..]);
    }
    // The end of a text is the beginning of the text read backwards.
    pattern.tokens.reverse();
    let cut = pick(pattern.prefixes(value.chars().rev())).unwrap_or(0);
    Ok(&value[..offset(value, value.chars().count() - cut)])
}

/// `${v/p/word}` and `${v//p/word}`: the value with the first, or each, longest match replaced.
///
/// # Errors
/// As [`Pattern::new`], and a value that is too long to be searched at each of its places.
pub fn replace(value: &str, pattern: &str, with: &str, all: bool) -> Result<String, String> {
    let pattern = Pattern::new(pattern, Dialect::Shell)?;
    let chars: Vec<char> = value.chars().collect();
    if chars.len() > MAX_REPLACED {
        return Err(format!("a value of more than {MAX_REPLACED} characters is too long to replace in"));
    }
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at < chars.len() {
        match pattern.prefixes(chars[at..].iter().copied()).last() {
            Some(&length) if length > 0 && !done => {
                out.push_str(with);
                at += length;
                done = !all;
            }
            _ => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The byte offset of the character at `index`.
fn offset(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(offset, _)| offset)
}

/// Compiles a pattern to tokens.
fn compile(pattern: &str, dialect: Dialect) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '*' if dialect == Dialect::Ignore && chars.get(at) == Some(&'*') => {
                at += 1;
                // moby eats one slash after `**`, so `a/**b` and `a/**/b` mean the same.
                if chars.get(at) == Some(&'/') {
                    at += 1;
                }
                if at == chars.len() {
                    tokens.push(Token::Everything);
                } else {
                    tokens.extend([Token::Directories, Token::Inside]);
                }
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '[' if dialect != Dialect::Shell => tokens.push(class(pattern, &chars, &mut at)?),
            '\\' => {
                let escaped =
                    chars.get(at).ok_or_else(|| format!("syntax error in pattern {pattern:?}: it ends in \\"))?;
                tokens.push(Token::Literal(*escaped));
                at += 1;
            }
            c => tokens.push(Token::Literal(c)),
        }
    }
    Ok(tokens)
}

/// Reads a class; `at` stands behind the `[`.
fn class(pattern: &str, chars: &[char], at: &mut usize) -> Result<Token, String> {
    let wrong = || format!("syntax error in pattern {pattern:?}: a [ has no proper ]");
    let negated = chars.get(*at) == Some(&'^');
    if negated {
        *at += 1;
    }
    // A raw `-` or `]` where a character is due is an error in Go; so it is here.
    let take = |at: &mut usize| -> Result<char, String> {
        let mut c = *chars.get(*at).filter(|c| !matches!(c, '-' | ']')).ok_or_else(wrong)?;
        *at += 1;
        if c == '\\' {
            c = *chars.get(*at).ok_or_else(wrong)?;
            *at += 1;
        }
        Ok(c)
    };
    let mut ranges = Vec::new();
    loop {
        if chars.get(*at) == Some(&']') && !ranges.is_empty() {
            *at += 1;
            return Ok(Token::Class { negated, ranges });
        }
        let low = take(at)?;
        let mut high = low;
        if chars.get(*at) == Some(&'-') {
            *at += 1;
            high = take(at)?;
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn go(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, Dialect::Go).unwrap().matches(text)
    }

    fn ignore(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, Dialect::Ignore).unwrap().matches(text)
    }

    #[test]
    fn copy_patterns_match_as_go_does() {
        // The table of Go's own path/filepath/match_test.go, shortened.
        for (pattern, text, matches) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
        ] {
            assert_eq!(go(pattern, text), matches, "{pattern} on {text}");
        }
        for bad in ["[]a]", "[", "[^", "[^bc", "a[", "[a-]", "\\"] {
            assert!(Pattern::new(bad, Dialect::Go).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_stars_cross_directories_in_an_ignore_file_only() {
        for (pattern, text, matches) in [
            ("**", "a/b", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "ax", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("*", "a/b", false),
        ] {
            assert_eq!(ignore(pattern, text), matches, "{pattern} on {text}");
        }
        assert!(!go("**/x", "a/b/x"));
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        assert!(!go(&("a*".repeat(60) + "b"), &"a".repeat(5000)));
        assert!(!ignore(&("**/".repeat(60) + "b"), &"a/".repeat(2000)));
    }
}
