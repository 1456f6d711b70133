//! `command` and `entrypoint`: a list, or a line that is cut into words.
//!
//! The line is cut as a shell would cut it, but no shell runs: `$`, `*` and `;` are letters like any
//! other. Who wants a shell says so: `sh -c "..."`.

use crate::field::{Field, Wrong};

/// The words of a command.
///
/// # Errors
/// An open quote, and what is neither string nor list.
pub(crate) fn words(field: &Field<'_>) -> Result<Vec<String>, Wrong> {
    if field.is_list() {
        return field.texts();
    }
    split(&field.text()?).map_err(|message| field.wrong(message))
}

/// Cuts a line into words: single quotes keep everything, double quotes let `\"` and `\\` through, a
/// backslash keeps the next character.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("unterminated {c} in {line:?}")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' && matches!(chars.peek(), Some('"' | '\\')) => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_as_a_shell_would() {
        for (line, words) in [
            ("a b  c", vec!["a", "b", "c"]),
            ("sh -c 'echo $A; ls *'", vec!["sh", "-c", "echo $A; ls *"]),
            (r#"a "b \"c\" \n" d\ e """#, vec!["a", "b \"c\" \\n", "d e", ""]),
            ("  ", vec![]),
        ] {
            assert_eq!(split(line), Ok(words.into_iter().map(str::to_owned).collect()), "{line}");
        }
        assert!(split("a 'b").is_err());
    }
}
