//! `${VARIABLES}` in a compose file.
//!
//! Values are filled in after YAML is read and before anything is understood, so a variable can
//! never change the document's structure: whatever it holds, it is one string in one place. Keys
//! are not touched.
//!
//! | written | means |
//! |---|---|
//! | `$V`, `${V}` | its value, or nothing (and a warning) |
//! | `${V:-word}`, `${V-word}` | its value, or else the word (with `:` an empty value counts as none) |
//! | `${V:?words}`, `${V?words}` | its value, or the project is refused with the words |
//! | `${V:+word}`, `${V+word}` | the word if it has a value, else nothing |
//! | `$$` | a dollar sign |
//!
//! # References
//! <https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md>

use serde_json::Value;

/// How deep words may nest: `${A:-${B:-...}}`.
const MAX_DEPTH: usize = 32;

/// How long one filled-in value may get, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// Where variables come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills in every string of `value`. Names without a value are added to `unset`.
///
/// # Errors
/// Where in the document (`services.web.image`), and what is wrong there.
pub fn interpolate(value: &mut Value, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<(), (String, String)> {
    walk(value, "", lookup, unset)
}

fn walk(value: &mut Value, path: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<(), (String, String)> {
    match value {
        Value::String(text) => {
            *text = substitute(text, lookup, unset).map_err(|message| (path.to_owned(), message))?;
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), lookup, unset)?;
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                walk(field, &format!("{path}{dot}{name}"), lookup, unset)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Fills in one string.
///
/// # Errors
/// A form that is none, and a required variable that is not set.
pub fn substitute(text: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<String, String> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, text, lookup, unset };
    reader.read(false, 0)
}

struct Reader<'a> {
    chars: Vec<char>,
    at: usize,
    text: &'a str,
    lookup: Lookup<'a>,
    unset: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn invalid(&self) -> String {
        format!("invalid interpolation format in {:?}; a literal $ is written $$", self.text)
    }

    /// Reads to the end, or inside braces to the closing one, which stays unread.
    fn read(&mut self, in_braces: bool, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("variables nested deeper than {MAX_DEPTH}"));
        }
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if in_braces && c == '}' {
                break;
            }
            self.at += 1;
            match (c, self.peek()) {
                ('$', Some('$')) => {
                    self.at += 1;
                    out.push('$');
                }
                ('$', Some('{')) => {
                    self.at += 1;
                    out.push_str(&self.braced(depth)?);
                }
                ('$', _) => {
                    let name = self.name()?;
                    out.push_str(&self.value(&name));
                }
                _ => out.push(c),
            }
            if out.len() > MAX_LENGTH {
                return Err(format!("more than {MAX_LENGTH} bytes when filled in"));
            }
        }
        Ok(out)
    }

    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            if name.is_empty() && c.is_ascii_digit() {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        if name.is_empty() { Err(self.invalid()) } else { Ok(name) }
    }

    fn value(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            if !self.unset.iter().any(|known| known == name) {
                self.unset.push(name.to_owned());
            }
            String::new()
        })
    }

    /// Reads what follows `${`, and the closing brace.
    fn braced(&mut self, depth: usize) -> Result<String, String> {
        let name = self.name()?;
        let colon = self.peek() == Some(':');
        if colon {
            self.at += 1;
        }
        let operator = self.peek().ok_or_else(|| self.invalid())?;
        self.at += 1;
        if operator == '}' && !colon {
            return Ok(self.value(&name));
        }
        if !matches!(operator, '-' | '+' | '?') {
            return Err(self.invalid());
        }
        let word = self.read(true, depth + 1)?;
        if self.peek() != Some('}') {
            return Err(self.invalid());
        }
        self.at += 1;
        let value = (self.lookup)(&name).filter(|value| !colon || !value.is_empty());
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) if word.is_empty() => Err(format!("required variable {name} is missing a value")),
            (_, None) => Err(format!("required variable {name} is missing a value: {word}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "NASTY" => Some("x: y\n- $A".to_owned()),
            _ => None,
        }
    }

    fn filled(text: &str) -> Result<String, String> {
        substitute(text, &lookup, &mut Vec::new())
    }

    #[test]
    fn variables_mean_what_the_specification_says() {
        for (written, means) in [
            ("$A-${A}", "a-a"),
            ("$$A $${A}", "$A ${A}"),
            ("${NONE}", ""),
            ("${NONE:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NONE:-${A}}", "a"),
            ("${NONE-a:b}", "a:b"),
            ("${A:+x}", "x"),
            ("${EMPTY:+x}", ""),
            ("${EMPTY+x}", "x"),
            ("${A:?no}", "a"),
            ("$NASTY", "x: y\n- $A"),
        ] {
            assert_eq!(filled(written).as_deref(), Ok(means), "{written}");
        }
        for (written, says) in [
            ("$", "invalid"),
            ("$1", "invalid"),
            ("${A", "invalid"),
            ("${A:x}", "invalid"),
            ("${NONE:-x", "invalid"),
            ("${}", "invalid"),
            ("${NONE:?set it}", "required variable NONE is missing a value: set it"),
        ] {
            assert!(filled(written).unwrap_err().contains(says), "{written}");
        }
        assert!(filled(&"${N:-".repeat(50)).unwrap_err().contains("nested"));
    }

    #[test]
    fn errors_and_warnings_know_where() {
        let mut unset = Vec::new();
        let mut value = json!({"services": {"$A": {"image": "x:$TAG", "ports": ["1", "${"]}}});
        let error = interpolate(&mut value, &lookup, &mut unset).unwrap_err();
        assert_eq!(error.0, "services.$A.ports[1]");
        assert_eq!(unset, ["TAG"]);
        assert_eq!(value["services"]["$A"]["image"], "x:");
    }
}
