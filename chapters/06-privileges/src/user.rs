//! `USER[:GROUP]`, as people write it: one strict reading for every place where it is written.
//!
//! The text comes from an image's author or a command line. Other engines have read `-1` as "leave it" (root),
//! `4294967296` as 0 (root), `1:` and `:1` as something with root in it (CVE-2024-40635, CVE-2026-30892). So: a half is a
//! plain decimal number below 2^32 - 1, or a name that nothing could take for a number; no half is empty; and a number
//! is a number even where an image calls an account by it, for else `1000` could be that image's name for root.

use std::str::FromStr;

use crate::Error;

/// One half of a `USER[:GROUP]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A number.
    Id(u32),
    /// A name, to be looked up in the container's own files.
    Name(String),
}

/// A `USER[:GROUP]`. The empty text is root, as in an image that says nothing.
///
/// ```
/// # use privileges::UserSpec;
/// assert!("web:33".parse::<UserSpec>().is_ok());
/// assert!("1:".parse::<UserSpec>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The user.
    pub user: Who,
    /// The group, if one is given.
    pub group: Option<Who>,
}

/// Longer names than this no account has.
const LONGEST_NAME: usize = 256;

impl FromStr for UserSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::User { spec: text.to_owned(), reason };
        let (user, group) = match text.split_once(':') {
            _ if text.is_empty() => ("0", None),
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(str::is_empty) {
            return Err(refuse("a half is empty".to_owned()));
        }
        let half = |kind: &str, half: &str| Who::parse(half).map_err(|reason| refuse(format!("{kind} {reason}")));
        Ok(Self { user: half("user", user)?, group: group.map(|group| half("group", group)).transpose()? })
    }
}

impl Who {
    /// Reads one half; the error is the reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(text).map(Self::Id).map_err(|reason| format!("{text:?}: {reason}"));
        }
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '/' | ',');
        if text.len() > LONGEST_NAME || !text.chars().all(plain) {
            return Err(format!("{text:?}: not a name"));
        }
        if text.starts_with(['-', '+']) || has_base(text) || text.chars().all(char::is_numeric) {
            return Err(format!("{text:?}: not a plain decimal number, and no name that could not be taken for one"));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// A user or group id in plain decimal. 2^32 - 1 is `(uid_t) -1`, which the kernel reads as "do not change".
pub(crate) fn number(text: &str) -> Result<u32, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a plain decimal number");
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("a leading zero makes it octal to some");
    }
    match text.parse::<u32>() {
        Ok(u32::MAX) | Err(_) => Err("out of range (0 to 4294967294)"),
        Ok(number) => Ok(number),
    }
}

/// `0x0`, `0b1`, `0o7`: numbers to some parsers.
fn has_base(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digits = ["0x", "0b", "0o"].iter().find_map(|base| lower.strip_prefix(base));
    digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit() || c == '_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(user: Who, group: Option<Who>) -> UserSpec {
        UserSpec { user, group }
    }

    #[test]
    fn names_and_numbers_are_told_apart_by_their_digits() {
        let read = |text: &str| text.parse::<UserSpec>().unwrap();
        assert_eq!(read(""), spec(Who::Id(0), None));
        assert_eq!(read("0:4294967294"), spec(Who::Id(0), Some(Who::Id(4_294_967_294))));
        assert_eq!(read("3proxy:web.ci"), spec(Who::Name("3proxy".into()), Some(Who::Name("web.ci".into()))));
    }

    #[test]
    fn the_refusal_says_what_and_why() {
        let said = |text: &str| text.parse::<UserSpec>().unwrap_err().to_string();
        let forms = ["1:", "-1", "4294967296", "010", "0x0", "a b", "1:2:3"];
        insta::assert_snapshot!(forms.map(said).join("\n"));
    }
}
