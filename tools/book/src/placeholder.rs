//! Values that vary from run to run stand in the book as placeholders with a name: `[PID]`, `[DIGEST]`. Each matches what it
//! names and nothing else, so a line is never waved through as a whole.

/// A kind of value, and what it looks like.
type Shape = fn(&str) -> usize;

/// Each placeholder with a function that says how many bytes at the start of a text it covers.
const SHAPES: [(&str, Shape); 10] = [
    ("[PID]", |text| run(text, |c| c.is_ascii_digit())),
    ("[UID]", |text| run(text, |c| c.is_ascii_digit())),
    ("[INODE]", |text| run(text, |c| c.is_ascii_digit())),
    ("[BYTES]", |text| run(text, |c| c.is_ascii_digit())),
    ("[COUNT]", |text| run(text, |c| c.is_ascii_digit())),
    ("[MS]", |text| run(text, |c| c.is_ascii_digit())),
    ("[SECONDS]", |text| run(text, |c| c.is_ascii_digit() || c == '.')),
    ("[ID]", |text| run(text, |c| c.is_ascii_hexdigit())),
    ("[DIGEST]", digest),
    ("[KERNEL]", |text| run(text, |c| !c.is_whitespace())),
];

fn run(text: &str, belongs: fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn digest(text: &str) -> usize {
    let hex = text.strip_prefix("sha256:").map(|rest| run(rest, |c| c.is_ascii_hexdigit()));
    if hex == Some(64) { 71 } else { 0 }
}

/// Whether a line that was printed is the line that the book shows.
pub fn matches(shown: &str, printed: &str) -> bool {
    let Some((at, (name, shape))) = first(shown) else { return shown == printed };
    let Some(rest) = printed.strip_prefix(&shown[..at]) else { return false };
    match shape(rest) {
        0 => false,
        covered => matches(&shown[at + name.len()..], &rest[covered..]),
    }
}

fn first(shown: &str) -> Option<(usize, (&'static str, Shape))> {
    SHAPES.into_iter().filter_map(|(name, shape)| Some((shown.find(name)?, (name, shape)))).min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_matches_what_it_names() {
        assert!(matches("pid [PID] in [INODE].", "pid 42 in 4026531836."));
        assert!(!matches("pid [PID]", "pid none"));
        assert!(!matches("pid [PID]", "pid 42 and more"));
        assert!(!matches("[DIGEST]", "sha256:12"));
        assert!(matches("a [b] c", "a [b] c"));
    }
}
